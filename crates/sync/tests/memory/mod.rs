//! The memory of an object, to store anything there, and what to store.
#![allow(dead_code, reason = "no program uses all of it")]

use std::sync::atomic::Ordering;

use procession_codec::{Codec, Message, Postcard, handles};
use procession_raw::{Id, Owners};
use procession_shm::domain::Domain;
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::Storm;

/// Where the first word lies, behind the header of the object.
const WORDS_AT: usize = 64;

pub(crate) struct Memory(Mapping);

impl Memory {
    pub(crate) fn of<T: Message>(object: &T) -> Self {
        let mut bytes = Vec::new();
        let ((), outgoing) = handles::collect(|| Postcard::encode_into(object, &mut bytes)).unwrap();
        let fd = outgoing.descriptors().next().unwrap().try_clone_to_owned().unwrap();
        outgoing.commit();
        Self(Mapping::shared(&Memfd::adopt(fd).unwrap()).unwrap())
    }

    pub(crate) fn store(&self, number: usize, value: u32) {
        self.0.atomic_u32(WORDS_AT + number * 4).store(value, Ordering::SeqCst);
    }

    pub(crate) fn load(&self, number: usize) -> u32 {
        self.0.atomic_u32(WORDS_AT + number * 4).load(Ordering::SeqCst)
    }
}

/// Words of every kind: the bits that mean something, with ids that exist, existed, and never did.
pub(crate) fn garbage() -> Vec<u32> {
    let mut storm = Storm::seeded();
    let me = Domain::current().unwrap().me().unwrap();
    let ids = [me, Id::new(me.slot(), me.generation() + 1), Id::new(4095, 7), Id::new(0, 0)];
    let flags = (0..8).map(|flags| flags << 29);
    let mut words: Vec<u32> = flags.flat_map(|flags| ids.map(|id| flags | id.to_bits())).collect();
    words.extend((0..500).map(|_| storm.bits() as u32));
    words
}
