//! Arenas: memory where it was asked for, nothing beyond the end, and what arrives is of the kind that is expected.

mod parcel;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;

use parcel::pack;
use procession_codec::{Codec, Postcard, handles};
use procession_raw::{Event, Tokens, Unguarded};
use procession_shm::{Arena, Fingerprint, ShmError};
use procession_testkit::counted;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const KIND: Fingerprint = Fingerprint::new("test", 0, 1);

/// An arena in a message.
struct Sent<W: Unguarded>(Arena<W>);

impl<W: Unguarded> Serialize for Sent<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.send(serializer)
    }
}

impl<'de, W: Unguarded> Deserialize<'de> for Sent<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arena::receive(deserializer, KIND).map(Self)
    }
}

/// How many bytes of memory it has.
fn memory<W: Unguarded>(arena: &Arena<W>) -> i64 {
    rustix::fs::fstat(arena.space().as_fd()).unwrap().st_blocks * 512
}

#[test]
fn memory_is_taken_where_it_is_asked_for() {
    counted(|| {
        let arena = Arena::<Event>::create(KIND, 1 << 40, 100).unwrap();
        assert!(arena.len() == 1 << 40 && !arena.is_empty() && memory(&arena) <= 8192);
        let before = memory(&arena);
        arena.reserve(1 << 39, 1 << 20).unwrap();
        let after = memory(&arena);
        assert!((1 << 20..=(1 << 20) + 4096).contains(&(after - before)));
        arena.write(1 << 39, b"there").unwrap();
        assert_eq!(memory(&arena), after, "it was there already");
        let mut bytes = [0; 5];
        arena.read(1 << 39, &mut bytes).unwrap();
        assert_eq!(&bytes, b"there");
        arena.release(1 << 39, 1 << 20).unwrap();
        arena.read(1 << 39, &mut bytes).unwrap();
        assert!(bytes == [0; 5] && memory(&arena) < after);
    });
}

#[test]
fn nothing_is_beyond_the_end() {
    counted(|| {
        let arena = Arena::<[Tokens; 3]>::create(KIND, 4096, 4096).unwrap();
        let last = 4096 - 8;
        arena.atomics(last, 1).unwrap()[0].store(7, SeqCst);
        let mut bytes = [0; 8];
        arena.read(last, &mut bytes).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 7);
        assert!(arena.address(last, 8).is_ok());
        for at in [last + 8, 4096, usize::MAX - 7] {
            let is_outside = |error| matches!(error, Err(ShmError::OutOfBounds { .. }));
            assert!(is_outside(arena.read(at, &mut bytes)) && is_outside(arena.write(at, &bytes)));
            assert!(
                is_outside(arena.atomics(at & !7, 2).map(drop)) && is_outside(arena.address(at, 8).map(drop))
            );
            assert!(is_outside(arena.reserve(at, 8)) && is_outside(arena.release(at, 8)));
        }
        assert!(arena.atomics(0, usize::MAX).is_err());
        let tokens: &Tokens = arena.words_at(last).unwrap();
        assert_eq!(tokens.count(), 7 / 2, "the same bytes, as words");
        assert!(arena.words_at::<[Tokens; 2]>(last).is_ok() && arena.words_at::<[Tokens; 3]>(last).is_err());
        assert!(arena.words_at::<Tokens>(4096).is_err() && arena.words_at::<Tokens>(usize::MAX - 7).is_err());
        assert_eq!(arena.words()[2].count(), 0, "the bytes lie behind the words");
    });
}

#[test]
fn it_arrives_as_what_it_is_or_not_at_all() {
    counted(|| {
        let arena = Arena::<Event>::create(KIND, 1 << 30, 0).unwrap();
        let parcel = pack(&Sent(arena.clone())).unwrap();
        let Sent(there): Sent<Event> = parcel.unpack().unwrap();
        there.write(100, b"hello").unwrap();
        let mut bytes = [0; 5];
        arena.read(100, &mut bytes).unwrap();
        assert_eq!((&bytes, there.len()), (b"hello", 1 << 30));
        assert!(pack(&Sent(arena.clone())).unwrap().unpack::<Sent<Tokens>>().is_err(), "other words");
        let other = Arena::<Event>::create(Fingerprint::new("other", 0, 1), 100, 0).unwrap();
        assert!(pack(&Sent(other)).unwrap().unpack::<Sent<Event>>().is_err(), "another kind");
        assert!(is_refused(&arena), "its carrier takes no handles");
    });
}

fn is_refused(arena: &Arena<Event>) -> bool {
    let mut bytes = Vec::new();
    handles::refuse(|| Postcard::encode_into(&Sent(arena.clone()), &mut bytes)).is_err()
}
