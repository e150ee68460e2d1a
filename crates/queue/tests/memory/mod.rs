//! The memory of a queue, to look at it and to store anything there.
#![allow(dead_code, reason = "no program uses all of it")]

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

use procession_codec::Message;
use procession_sys::memory::{Mapping, Memfd};

use crate::parcel::{Parcel, pack};

/// Where the words lie, behind the header of the object.
const WORDS_AT: usize = 64;
/// Where the bytes begin, behind the words.
const BYTES_AT: usize = 1344;

pub(crate) const N_EXTENTS: usize = 128;

/// Places of words.
pub(crate) const PRODUCERS: usize = 0;
pub(crate) const TAIL: usize = 128;
/// The copy of the newest message, of twelve words.
pub(crate) const MAIL: usize = 136;
pub(crate) const CONSUMERS: usize = 256;
pub(crate) const HEAD: usize = 384;
pub(crate) const NOT_EMPTY: usize = 512;
pub(crate) const CLOSED: usize = 516;
pub(crate) const NOT_FULL: usize = 640;
pub(crate) const BELL: usize = 768;
pub(crate) const EXTENTS: usize = 772;
/// Places of what is not words of the ring.
pub(crate) const LAYOUT: usize = BYTES_AT;
pub(crate) const MARKS: usize = BYTES_AT + 64;
pub(crate) const RECEIVED: usize = BYTES_AT + 80;
pub(crate) const LUGGAGE: usize = BYTES_AT + 96;
pub(crate) const PAGES: usize = BYTES_AT + 128;
pub(crate) const SLOTS: usize = BYTES_AT + 128 + 8 * N_EXTENTS;

pub(crate) struct Memory(Mapping);

/// The descriptor of the memory of a queue, which comes after that of the end.
pub(crate) fn descriptor<T: Message>(end: &T) -> OwnedFd {
    let Parcel { mut descriptors, .. } = pack(end);
    descriptors.remove(1)
}

impl Memory {
    pub(crate) fn of<T: Message>(end: &T) -> Self {
        Self(Mapping::shared(&Memfd::adopt_sparse(descriptor(end)).unwrap()).unwrap())
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        self.0.atomic_u32(WORDS_AT + at)
    }

    pub(crate) fn load(&self, at: usize) -> u32 {
        self.word(at).load(SeqCst)
    }

    pub(crate) fn store(&self, at: usize, value: u32) {
        self.word(at).store(value, SeqCst);
    }

    /// Pieces for large messages that a message is queued in.
    pub(crate) fn n_queued(&self) -> usize {
        (0..N_EXTENTS).filter(|n| self.load(EXTENTS + 4 * n) >> 30 == 2).count()
    }
}
