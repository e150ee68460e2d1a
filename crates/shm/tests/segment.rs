//! Segments: what is written is read, through every handle; nothing is read or written beyond them; nothing stays.

mod support;

use std::os::fd::AsFd;

use procession_codec::HandleError;
use procession_shm::{Atomic, ReadSegment, Segment, ShmError};
use procession_testkit::{counted, guarded};
use rustix::io::Errno;
use support::{pack, travel, unpack};

#[test]
fn all_handles_see_the_same_bytes() {
    counted(|| {
        let segment = Segment::new(10_000).unwrap();
        assert_eq!((segment.len(), segment.is_empty()), (10_000, false));
        assert_eq!(segment.read_vec(0, 10_000).unwrap(), [0; 10_000]);
        let (clone, sent) = (segment.clone(), travel(&segment));
        clone.write(9_995, b"last!").unwrap();
        sent.put(1, &0x0102_0304_u32).unwrap();
        let mut bytes = [0; 5];
        sent.read(9_995, &mut bytes).unwrap();
        assert_eq!(&bytes, b"last!");
        assert_eq!(segment.get::<u32>(1).unwrap(), 0x0102_0304);
        drop((segment, clone));
        assert_eq!(travel(&sent).get::<[u8; 2]>(1).unwrap(), [4, 3]);
    });
}

#[test]
fn many_handles_in_one_message() {
    counted(|| {
        let message = (Segment::new(1).unwrap(), vec![Atomic::new(1_u8).unwrap(), Atomic::new(2).unwrap()]);
        let (segment, atomics) = travel(&message);
        segment.write(0, b"x").unwrap();
        assert_eq!(message.0.read_vec(0, 1).unwrap(), b"x");
        assert_eq!((atomics[0].load(), atomics[1].load()), (1, 2));
    });
}

#[test]
fn beyond_the_end_is_an_error() {
    guarded(|| {
        let segment = Segment::new(10).unwrap();
        let out = |answer: Result<(), ShmError>, at, n| match answer {
            Err(ShmError::OutOfBounds { offset, len, size: 10 }) => assert_eq!((offset, len), (at, n)),
            other => panic!("{other:?}"),
        };
        out(segment.read(10, &mut [0]), 10, 1);
        out(segment.write(8, b"abc"), 8, 3);
        out(segment.write(usize::MAX, b"abc"), usize::MAX, 3);
        out(segment.read_vec(1, usize::MAX).map(drop), 1, usize::MAX);
        out(segment.get::<u64>(3).map(drop), 3, 8);
        out(segment.put(3, &0_u64), 3, 8);
        let reader = segment.read_only().unwrap();
        out(reader.read(11, &mut []), 11, 0);
        out(reader.read_vec(0, 11).map(drop), 0, 11);
        out(reader.get::<[u8; 11]>(0).map(drop), 0, 11);
        // Up to the end, and nothing at the end, is fine.
        segment.write(7, b"abc").unwrap();
        segment.write(10, b"").unwrap();
        assert_eq!(segment.read_vec(0, 10).unwrap(), b"\0\0\0\0\0\0\0abc");
    });
}

#[test]
fn nothing_is_a_length_too() {
    counted(|| {
        let segment = travel(&Segment::new(0).unwrap());
        assert!(segment.is_empty() && segment.write(0, b"x").is_err());
        let frozen = travel(&ReadSegment::from_bytes(b"").unwrap());
        assert_eq!((frozen.len(), frozen.is_empty(), frozen.as_slice()), (0, true, Some(&b""[..])));
    });
}

#[test]
fn too_much_is_an_error() {
    counted(|| {
        for len in [usize::MAX, usize::MAX - 63, isize::MAX as usize, 1 << 50] {
            assert!(matches!(Segment::new(len), Err(ShmError::OutOfMemory(_))), "{len}");
        }
    });
}

#[test]
fn readers_cannot_write() {
    counted(|| {
        let segment = Segment::new(4096).unwrap();
        let (clone, on_its_way) = (segment.clone(), pack(&segment).unwrap());
        let receiver_before = travel(&segment);
        let reader = travel(&segment.read_only().unwrap());
        // Writers from before go on.
        clone.write(0, b"news").unwrap();
        receiver_before.write(4, b"!").unwrap();
        assert_eq!(reader.read_vec(0, 5).unwrap(), b"news!");
        assert_eq!((reader.len(), reader.as_slice()), (4096, None));
        // There are no new ones.
        let fd = || reader.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(Segment::try_from(fd()), Err(ShmError::ReadOnly)));
        assert_eq!(rustix::io::pwrite(fd(), b"N", 64), Err(Errno::PERM));
        for text in [
            pack(&segment).map(drop).unwrap_err().to_string(),
            unpack::<Segment>(on_its_way).unwrap_err().to_string(),
        ] {
            assert!(text.contains("closed to new writers"), "{text}");
        }
        // And readers make readers; a second time is as good as the first.
        let again = travel(&travel(&reader));
        assert_eq!(segment.read_only().unwrap().get::<u8>(0).unwrap(), b'n');
        assert_eq!(again.get::<u8>(4).unwrap(), b'!');
    });
}

#[test]
fn frozen_bytes_are_seen_in_place() {
    counted(|| {
        let bytes: Vec<u8> = (0..9_999).map(|n| n as u8).collect();
        let frozen = ReadSegment::from_bytes(&bytes).unwrap();
        let received = travel(&frozen);
        assert_eq!(received.as_slice(), Some(&bytes[..]));
        assert_ne!(received.as_slice().unwrap().as_ptr(), frozen.as_slice().unwrap().as_ptr());
        drop(frozen);
        assert_eq!(received.clone().read_vec(9_000, 999).unwrap(), bytes[9_000..]);
        assert_eq!(rustix::io::pwrite(received.as_fd(), b"N", 64), Err(Errno::PERM));
    });
}

#[test]
fn without_a_table_it_does_not_travel() {
    guarded(|| {
        use procession_codec::{Codec, EncodeError, Postcard};
        let answer = Postcard::encode_into(&Segment::new(1).unwrap(), &mut Vec::new());
        assert_eq!(answer, Err(EncodeError::Handle(HandleError::NotCarried)));
    });
}
