//! What comes from elsewhere may be anything: every descriptor that is no whole, sealed segment of the right type is a
//! typed error, whatever byte of it is wrong, and is closed.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use procession_shm::domain::Domain;
use procession_shm::{
    Atomic, Encoded, Fingerprint, List, Plain, ReadSegment, Refusal, Segment, ShmError, Value,
};
use procession_testkit::counted;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use support::{pack, travel, unpack};

const HEADER: usize = 64;

/// Memory with these bytes and seals.
fn memory(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    assert_eq!(rustix::io::pwrite(&fd, bytes, 0), Ok(bytes.len()));
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

fn sealed(bytes: &[u8]) -> OwnedFd {
    memory(bytes, SealFlags::SHRINK | SealFlags::GROW)
}

/// All bytes of a real object, its header included.
fn image(of: impl AsFd) -> Vec<u8> {
    let mut bytes = vec![0; rustix::fs::fstat(&of).unwrap().st_size as usize];
    assert_eq!(rustix::io::pread(of, &mut bytes, 0), Ok(bytes.len()));
    bytes
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ShmError>) -> Refusal {
    match answer {
        Err(ShmError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bit_of_the_header_counts() {
    counted(|| {
        let segment = Segment::new(100).unwrap();
        segment.write(0, &[7; 100]).unwrap();
        let image = image(&segment);
        assert_eq!(Segment::try_from(sealed(&image)).unwrap().get::<u8>(99).unwrap(), 7);
        for bit in 0..HEADER * 8 {
            let mut wrong = image.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let known = match refusal(Segment::try_from(sealed(&wrong))) {
                Refusal::Foreign => bit / 8 < 8,
                Refusal::Version { .. } => (8..12).contains(&(bit / 8)),
                Refusal::Damaged => bit / 8 >= 12,
                _ => false,
            };
            assert!(known, "bit {bit}");
        }
    });
}

#[test]
fn every_other_length_is_refused() {
    counted(|| {
        let image = image(Segment::new(10).unwrap());
        for len in 0..image.len() {
            let why = refusal(Segment::try_from(sealed(&image[..len])));
            match len {
                0..HEADER => assert_eq!(why, Refusal::Foreign),
                _ => assert_eq!(why, Refusal::Length { found: (len - HEADER) as u64, expected: 10 }),
            }
        }
        let longer = [&image[..], &[0]].concat();
        assert_eq!(refusal(Segment::try_from(sealed(&longer))), Refusal::Length { found: 11, expected: 10 });
    });
}

#[test]
fn unsealed_memory_is_refused() {
    counted(|| {
        let image = image(Segment::new(10).unwrap());
        let open = memory(&image, SealFlags::GROW);
        assert_eq!(refusal(Segment::try_from(open)), Refusal::MayShrink);
        assert_eq!(refusal(ReadSegment::try_from(sealed(&image))), Refusal::MayBeWritten);
        let read_only = memory(&image, SealFlags::SHRINK | SealFlags::FUTURE_WRITE);
        assert_eq!(ReadSegment::try_from(read_only).unwrap().len(), 10);
        let frozen = memory(&image, SealFlags::SHRINK | SealFlags::WRITE);
        assert!(matches!(Segment::try_from(frozen), Err(ShmError::ReadOnly)));
        // What may still grow is mapped as long as it was.
        let growing = memory(&image, SealFlags::SHRINK);
        let segment = Segment::try_from(growing.try_clone().unwrap()).unwrap();
        ftruncate(&growing, 1 << 20).unwrap();
        assert_eq!(segment.len(), 10);
    });
}

/// Touching what is not reserved may be death: where the machine, the control group or its accounting has no more.
#[test]
fn memory_that_is_not_there_is_refused() {
    counted(|| {
        const MIB: u64 = 1 << 20;
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A good header, and nothing behind it.
        let endless = memory(&header(MIB * MIB), SealFlags::empty());
        ftruncate(&endless, MIB * MIB).unwrap();
        let holed = memory(&header(MIB), SealFlags::empty());
        fallocate(&holed, FallocateFlags::empty(), 0, MIB).unwrap();
        fallocate(&holed, hole, MIB / 2, 4096).unwrap();
        let domain = Domain::create().unwrap().as_fd().try_clone_to_owned().unwrap();
        fallocate(&domain, hole, 4096, 4096).unwrap();
        for (fd, len, lacking) in [(&endless, MIB * MIB, MIB * MIB - 4096), (&holed, MIB, 4096)] {
            let again = || fd.try_clone().unwrap();
            fcntl_add_seals(fd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
            let expected = Refusal::NotReserved { reserved: len - lacking, len };
            assert_eq!(refusal(Segment::try_from(again())), expected);
            assert_eq!(refusal(Atomic::<u64>::try_from(again())), expected);
            assert_eq!(refusal(Value::<u64>::try_from(again())), expected);
            assert_eq!(refusal(Encoded::<u64>::try_from(again())), expected);
            assert_eq!(refusal(List::try_from(again())), expected);
            fcntl_add_seals(fd, SealFlags::FUTURE_WRITE).unwrap();
            assert_eq!(refusal(ReadSegment::try_from(again())), expected);
        }
        let refused = Domain::attach(domain).unwrap_err().to_string();
        assert!(refused.contains("bytes are reserved: its maker must fallocate all of it"), "{refused}");
        // Once all of it is there, the same memory is welcome.
        fallocate(&holed, FallocateFlags::empty(), 0, MIB).unwrap();
        assert_eq!(ReadSegment::try_from(holed).unwrap().len() as u64, MIB - HEADER as u64);
    });
}

/// Its own segment, sent with a hole by who may write it; closed to writers, it can have none.
#[test]
fn a_hole_in_a_segment_is_seen_by_the_next_receiver() {
    counted(|| {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let segment = Segment::new(100_000).unwrap();
        segment.write(50_000, &[7; 100]).unwrap();
        let receiver = travel(&segment);
        fallocate(&segment, hole, 49_152, 4096).unwrap();
        assert_eq!(receiver.read_vec(50_000, 100).unwrap(), [0; 100], "and the page is there again");
        fallocate(&segment, hole, 49_152, 4096).unwrap();
        let text = unpack::<Segment>(pack(&segment).unwrap()).unwrap_err().to_string();
        assert!(text.contains("bytes are reserved: its maker must fallocate all of it"), "{text}");
        segment.write(50_000, b"x").unwrap();
        let readers = segment.read_only().unwrap();
        assert_eq!(fallocate(&segment, hole, 0, 4096), Err(rustix::io::Errno::PERM));
        assert_eq!(travel(&readers).get::<u8>(50_000).unwrap(), b'x');
    });
}

#[test]
fn what_is_no_memory_is_refused() {
    counted(|| {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let descriptors: [OwnedFd; 4] = [
            File::open("/dev/zero").unwrap().into(),
            File::open("/proc/self/exe").unwrap().into(),
            std::io::pipe().unwrap().0.into(),
            socket.into(),
        ];
        for fd in descriptors {
            assert_eq!(refusal(Segment::try_from(fd)), Refusal::NotMemory);
        }
        assert_eq!(refusal(Segment::try_from(sealed(b""))), Refusal::Foreign);
        assert_eq!(refusal(Atomic::<u8>::try_from(sealed(&[0; 4096]))), Refusal::Foreign);
    });
}

#[test]
fn another_type_is_refused() {
    counted(|| {
        let number = Atomic::new(1_u64).unwrap();
        let fd = || number.as_fd().try_clone_to_owned().unwrap();
        let different = |why| matches!(why, Refusal::Type { found, expected } if found != expected);
        assert!(different(refusal(Atomic::<i64>::try_from(fd()))));
        assert!(different(refusal(Atomic::<f64>::try_from(fd()))));
        assert!(different(refusal(Atomic::<usize>::try_from(fd()))));
        assert!(different(refusal(Segment::try_from(fd()))));
        assert_eq!(Atomic::<u64>::try_from(fd()).unwrap().load(), 1);
        let text = unpack::<Segment>(pack(&number).unwrap()).unwrap_err().to_string();
        assert!(text.contains("type with fingerprint"), "{text}");
    });
}

/// A header is no secret: whoever writes a good one and lies about the data gets an error too.
#[test]
fn a_good_header_before_too_little_is_refused() {
    counted(|| {
        let mut image = image(Atomic::new(0_u64).unwrap());
        image.truncate(HEADER + 4);
        image[24] = 4;
        let hash = hash(&image[..56]);
        image[56..64].copy_from_slice(&hash.to_ne_bytes());
        assert_eq!(
            refusal(Atomic::<u64>::try_from(sealed(&image))),
            Refusal::Length { found: 4, expected: 8 }
        );
    });
}

/// The header of a segment that is so long with it.
fn header(len: u64) -> Vec<u8> {
    let mut header = image(Segment::new(0).unwrap());
    header[24..32].copy_from_slice(&(len - HEADER as u64).to_ne_bytes());
    let hash = hash(&header[..56]);
    header[56..].copy_from_slice(&hash.to_ne_bytes());
    header
}

/// FNV-1a, written again.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Headers are written once and believed once: later changes hurt nobody who has the segment, and the next receiver
/// hears of them.
#[test]
fn a_header_that_is_destroyed_later_hurts_nobody() {
    counted(|| {
        let segment = Segment::new(8).unwrap();
        let receiver = travel(&segment);
        assert_eq!(rustix::io::pwrite(segment.as_fd(), &[0xff; HEADER], 0), Ok(HEADER));
        segment.put(0, &5_u64).unwrap();
        assert_eq!(receiver.get::<u64>(0).unwrap(), 5);
        let fd = segment.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(refusal(Segment::try_from(fd)), Refusal::Foreign);
    });
}

#[test]
fn errors_say_what_is_wrong() {
    let (found, expected) = (Fingerprint::from_u64(1), u8::FINGERPRINT);
    for (error, text) in [
        (ShmError::OutOfBounds { offset: 3, len: 2, size: 4 }, "2 bytes at offset 3 do not lie in 4 bytes"),
        (Refusal::Foreign.into(), "the shared memory is refused: it is not a segment of procession"),
        (Refusal::Type { found, expected }.into(), "fingerprint 0000000000000001"),
        (
            Refusal::NotReserved { reserved: 4096, len: 8192 }.into(),
            "only 4096 of its 8192 bytes are reserved",
        ),
        (Refusal::Version { found: 2, expected: 1 }.into(), "version 2"),
    ] {
        assert!(error.to_string().contains(text), "{error}");
    }
}
