//! Parts as handles: they move, once; what was not sent is still there; and what comes is believed only if the array says
//! the same.

mod parcel;

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use parcel::{Parcel, pack};
use procession_codec::handles::{self, HandleError};
use procession_codec::{Codec, DecodeError, EncodeError, Postcard};
use procession_shm::{Array, ArrayError, Part};
use procession_testkit::{Storm, counted, guarded};

fn array() -> Array<u64> {
    Array::from_fn(10, |i| i as u64).unwrap()
}

fn one(array: &Array<u64>) -> Part<u64> {
    array.split(2).next().unwrap()
}

#[test]
fn a_part_that_came_back_is_in_no_copy_of_the_message() {
    guarded(|| {
        for comes_back_first in [false, true] {
            let array = array();
            let mut part = one(&array);
            let mut bytes = Vec::new();
            let ((), outgoing) = handles::collect(|| Postcard::encode_into(&part, &mut bytes)).unwrap();
            let descriptors = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
            let copy = Parcel { bytes, descriptors };
            if comes_back_first {
                drop(outgoing);
                assert!(copy.unpack::<Part<u64>>().is_err(), "it is here");
                part[0] = 7;
            } else {
                let mut arrived: Part<u64> = copy.unpack().unwrap();
                drop(outgoing);
                assert!(part.is_moved(), "it is there");
                arrived[0] = 7;
            }
            drop(part);
            assert_eq!(array.read()[0], 7);
            assert!(array.is_consistent());
        }
    });
}

fn is_leased<T: procession_shm::Plain>(array: &Array<T>) -> bool {
    matches!(array.try_read(), Err(ArrayError::Leased { .. }))
}

fn refused(part: &Part<u64>) -> HandleError {
    match pack(part) {
        Err(EncodeError::Handle(error)) => error,
        other => panic!("{:?}", other.map(|parcel| parcel.bytes)),
    }
}

#[test]
fn an_array_travels_and_is_the_same_memory() {
    counted(|| {
        let array = array();
        let other: Array<u64> = pack(&array).unwrap().unpack().unwrap();
        other.write()[9] = 90;
        assert_eq!((array.read()[9], other.len()), (90, 10));
        let part = one(&other);
        assert!(is_leased(&array));
        drop(part);
        assert_eq!(array.read().len(), 10);
        assert!(pack(&array).unwrap().unpack::<Array<i64>>().is_err());
    });
}

#[test]
fn a_part_that_was_sent_is_the_receiver_s() {
    counted(|| {
        let array = array();
        let part = one(&array);
        let parcel = pack(&part).unwrap();
        assert!(part.is_moved());
        assert_eq!(refused(&part), HandleError::Moved);
        assert!(catch_unwind(AssertUnwindSafe(|| part[0])).is_err());
        let mut part = part;
        assert!(catch_unwind(AssertUnwindSafe(|| part[0] = 1)).is_err());
        drop(part);
        assert!(is_leased(&array), "the message has it");
        let mut part: Part<u64> = parcel.unpack().unwrap();
        assert_eq!((part.range(), part.len(), part.is_moved()), (0..5, 5, false));
        part.iter_mut().for_each(|item| *item *= 2);
        // From hand to hand, which changes nothing.
        for _ in 0..10 {
            part = pack(&part).unwrap().unpack().unwrap();
            assert!(is_leased(&array));
        }
        drop(part);
        assert_eq!(array.read()[..], [0, 2, 4, 6, 8, 5, 6, 7, 8, 9]);
        assert!(array.is_consistent());
    });
}

#[test]
fn a_part_cannot_be_in_a_message_twice() {
    guarded(|| {
        let array = array();
        let part = one(&array);
        assert!(matches!(pack(&[&part, &part].map(Twice)), Err(EncodeError::Handle(HandleError::Moved))));
        assert_eq!((part.is_moved(), part[4]), (false, 4), "and nothing was sent");
    });
}

struct Twice<'a>(&'a Part<u64>);

impl serde::Serialize for Twice<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Twice<'_> {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        unreachable!("is only sent")
    }
}

#[test]
fn what_was_not_sent_is_still_there() {
    counted(|| {
        let array = array();
        let mut part = one(&array);
        let mut bytes = Vec::new();
        let ((), outgoing) = handles::collect(|| Postcard::encode_into(&part, &mut bytes)).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| part[0])).is_err(), "it is about to leave");
        drop(outgoing);
        part[0] = 50;
        assert!(handles::refuse(|| Postcard::encode_into(&part, &mut bytes)).is_err());
        part[1] = 51;
        // Dropped while it is about to leave, and then it does not.
        let ((), outgoing) = handles::collect(|| Postcard::encode_into(&part, &mut bytes)).unwrap();
        drop(part);
        assert!(is_leased(&array));
        drop(outgoing);
        assert_eq!(array.read()[..3], [50, 51, 2]);
        assert!(array.is_consistent());
    });
}

#[test]
fn a_part_that_may_be_read_does_not_leave() {
    guarded(|| {
        let array = array();
        let mut part = one(&array);
        let first = &part[0];
        assert_eq!(refused(&part), HandleError::Busy);
        assert_eq!(*first, 0);
        assert_eq!(refused(&part), HandleError::Busy, "nobody knows whether there is still a slice");
        part.settle();
        let mut part: Part<u64> = pack(&part).unwrap().unpack().unwrap();
        assert_eq!(part.iter().sum::<u64>(), 10);
        part[0] = 1;
        assert_eq!(refused(&part), HandleError::Busy, "writing leaves the mark");
        part.settle();
        part.iter_mut().for_each(|item| *item += 1);
        pack(&part).map(drop).unwrap();
    });
}

#[test]
fn a_message_that_is_lost_gives_the_part_back() {
    counted(|| {
        let array = array();
        for part in array.split(3) {
            let parcel = pack(&part).unwrap();
            assert!(is_leased(&array));
            drop(parcel);
        }
        array.write()[0] += 1;
        assert!(array.is_consistent() && array.left_by().is_none(), "nobody was writing");
        // Sent on, by who received it and still has its memory mapped.
        let part: Part<u64> = pack(&one(&array)).unwrap().unpack().unwrap();
        drop(pack(&part).unwrap());
        drop(array.try_write().unwrap());
        assert!(part.is_moved());
        // A message that does not decode is lost, too.
        let parcel = pack(&(one(&array), 7_u8)).unwrap();
        assert!(parcel.unpack::<(Part<u64>, u64, u64)>().is_err());
        let parcel = pack(&one(&array)).unwrap();
        assert!(parcel.unpack::<Part<i64>>().is_err());
        drop(array.write());
        assert!(array.is_consistent());
    });
}

fn copy(parcel: &Parcel) -> Parcel {
    let duplicate = |fd: &OwnedFd| fd.as_fd().try_clone_to_owned().unwrap();
    Parcel { bytes: parcel.bytes.clone(), descriptors: parcel.descriptors.iter().map(duplicate).collect() }
}

#[test]
fn a_message_that_is_received_again_is_refused() {
    guarded(|| {
        let array = array();
        let parcel = pack(&one(&array)).unwrap();
        let again = copy(&parcel);
        let first: Part<u64> = parcel.unpack().unwrap();
        let text = |came: Result<Part<u64>, DecodeError>| came.expect_err("it is refused").to_string();
        assert!(text(copy(&again).unpack()).contains("no longer the sender's to give"));
        drop(first);
        assert!(text(copy(&again).unpack()).contains("no longer the sender's to give"));
        // The same lease, given again.
        let part = one(&array);
        assert!(text(again.unpack()).contains("no longer the sender's to give"));
        drop(part);
        drop(array.try_write().unwrap());
    });
}

/// Whatever a message says: the part is what the array says, or there is none; and the array can be had afterwards.
#[test]
fn a_message_with_a_wrong_byte_gives_no_other_part() {
    guarded(|| {
        let (array, mut storm) = (array(), Storm::seeded());
        for _ in 0..2000 {
            let part = array.split(3).nth(1).unwrap();
            let mut parcel = pack(&part).unwrap();
            let at = storm.below(parcel.bytes.len() as u64) as usize;
            parcel.bytes[at] ^= 1 << storm.below(8);
            match parcel.unpack::<Part<u64>>() {
                Ok(came) => assert_eq!(came.range(), part.range(), "byte {at}"),
                Err(_) => assert!(part.is_moved()),
            }
            drop(array.try_write().unwrap());
        }
    });
}

/// Everything before the items is written over while others use it: calls come back, and slices end where they should.
#[test]
fn garbage_in_the_head_hangs_nobody_and_leads_nowhere() {
    guarded(|| {
        let mut storm = Storm::seeded();
        for round in 0..300 {
            let array = array();
            let head = rustix::fs::fstat(&array).unwrap().st_size as usize - 64 - 80;
            let parts: Vec<_> = array.split(3).collect();
            let parcel = (round % 2 == 0).then(|| pack(&parts[0]).unwrap());
            // The words of the lock and the table, and of the first leases; now and then everything.
            let (states, records) = (64 + 16448 + 64, 64 + 16448 + 64 + 8192);
            let places = [(64, 12), (64 + 16448, 64), (states, 24), (records, 192), (64, head)];
            let (at, len) = *storm.pick(&places);
            let bytes: Vec<u8> = (0..len).map(|_| storm.bits() as u8).collect();
            assert_eq!(rustix::io::pwrite(array.as_fd(), &bytes, at as u64), Ok(len));
            if let Some(parcel) = parcel {
                let came = parcel.unpack::<Part<u64>>();
                assert!(came.is_err() || came.is_ok_and(|part| part.iter().count() == 4));
            }
            for mut part in parts.into_iter().filter(|part| !part.is_moved()) {
                part.iter_mut().for_each(|item| *item += 1);
            }
            let _ = array.try_read().map(|items| assert_eq!(items.len(), 10));
            let _ = array.try_write().map(|items| items.mark_consistent());
            let _ = array.try_split(2).map(|parts| parts.for_each(|part| assert_eq!(part.len(), 5)));
            let _ = (array.left_by(), array.is_consistent());
        }
    });
}
