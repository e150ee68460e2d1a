//! Shared memory: reserved, sealed, and sound to touch whatever others do.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::thread;

use procession_sys::memory::{Mapping, Memfd, Unsealed, available, grow};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;

fn unsealed(len: u64) -> OwnedFd {
    let fd = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    fd
}

fn why(refused: &procession_sys::OsError) -> Unsealed {
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
    let inner = refused.os_error().get_ref().unwrap();
    *inner.downcast_ref::<Unsealed>().unwrap()
}

#[test]
fn sealed_memory_neither_shrinks_nor_grows() {
    let memory = Memfd::sealed("fixed", 10_000).unwrap();
    for len in [0, 9_999, 10_001, 1 << 20] {
        assert_eq!(ftruncate(&memory, len), Err(Errno::PERM));
    }
    assert_eq!(rustix::io::pwrite(&memory, b"x", 10_000), Err(Errno::PERM));
    assert_eq!(fcntl_add_seals(&memory, SealFlags::WRITE), Err(Errno::PERM));
    assert_eq!(memory.len(), 10_000);
    assert!(!memory.is_frozen());
}

#[test]
fn memory_is_reserved_when_it_is_made() {
    let len = 40 << 20;
    let memory = Memfd::sealed("reserved", len).unwrap();
    let stat = rustix::fs::fstat(&memory).unwrap();
    assert!(stat.st_blocks as u64 * 512 >= len, "{} blocks", stat.st_blocks);
    assert_eq!(stat.st_size as u64, len);
    assert_eq!(memory.read_all().unwrap().len() as u64, len);
}

#[test]
fn frozen_bytes_stay() {
    let memory = Memfd::from_bytes("frozen", b"for ever").unwrap();
    assert!(memory.is_frozen());
    assert_eq!(rustix::io::pwrite(&memory, b"N", 0), Err(Errno::PERM));
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(fallocate(&memory, hole, 0, 4096), Err(Errno::PERM));
    assert_eq!(Mapping::shared(&memory).unwrap_err().kind(), ErrorKind::PermissionDenied);
    let mapping = Mapping::read_only(&memory).unwrap();
    drop(memory);
    assert_eq!(mapping.as_slice(), Some(&b"for ever"[..]));
    assert_eq!(mapping.read_vec(4, 4), b"ever");
}

#[test]
fn writers_before_the_seal_are_the_only_ones() {
    let memory = Memfd::sealable("published", 4096).unwrap();
    let writer = Mapping::shared(&memory).unwrap();
    assert!(memory.is_open_to_writers().unwrap());
    memory.close_to_writers().unwrap();
    memory.close_to_writers().unwrap();
    assert!(!memory.is_open_to_writers().unwrap());
    assert_eq!(Mapping::shared(&memory).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(rustix::io::pwrite(&memory, b"N", 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&memory, 0), Err(Errno::PERM));
    let reader = Mapping::read_only(&Memfd::adopt(memory.into_fd()).unwrap()).unwrap();
    writer.write(7, b"still");
    assert_eq!(reader.read_vec(7, 5), b"still");
    let closed = Memfd::sealed("for ever", 1).unwrap();
    assert_eq!(closed.close_to_writers().unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(closed.is_open_to_writers().unwrap());
}

#[test]
fn parts_follow_each_other() {
    let memory = Memfd::from_parts("parts", &[b"ab", b"", b"cde"]).unwrap();
    assert!(memory.is_frozen() && !memory.is_open_to_writers().unwrap());
    assert_eq!(memory.read_all().unwrap(), b"abcde");
}

#[test]
fn a_slice_is_given_only_where_nobody_can_write() {
    let memory = Memfd::sealed("open", 64).unwrap();
    let (shared, read_only) = (Mapping::shared(&memory).unwrap(), Mapping::read_only(&memory).unwrap());
    assert!(shared.as_slice().is_none());
    assert!(read_only.as_slice().is_none());
    let half = unsealed(64);
    fallocate(&half, FallocateFlags::empty(), 0, 64).unwrap();
    fcntl_add_seals(&half, SealFlags::SHRINK | SealFlags::FUTURE_WRITE).unwrap();
    assert!(Mapping::read_only(&Memfd::adopt(half).unwrap()).unwrap().as_slice().is_none());
}

#[test]
fn mappings_of_one_memory_see_each_other() {
    let memory = Memfd::sealed("both", 4096).unwrap();
    let again = memory.try_clone().unwrap();
    let (a, b) = (Mapping::shared(&memory).unwrap(), Mapping::shared(&again).unwrap());
    let observer = Mapping::read_only(&memory).unwrap();
    a.write(3, b"odd places");
    a.atomic_u64(4088).store(u64::MAX - 1, SeqCst);
    assert_eq!(b.read_vec(3, 10), b"odd places");
    assert_eq!(b.atomic_u64(4088).load(SeqCst), u64::MAX - 1);
    assert_eq!(observer.read_vec(2, 12), b"\0odd places\0");
    assert_eq!(memory.read_all().unwrap()[3..13], *b"odd places");
}

#[test]
fn racing_threads_see_old_or_new_bytes() {
    let mapping = Mapping::shared(&Memfd::sealed("race", 4096).unwrap()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..500_u32 {
                mapping.write(8, &[round as u8 % 2; 4000]);
            }
            mapping.atomic_u32(0).store(1, Relaxed);
        });
        while mapping.atomic_u32(0).load(Relaxed) == 0 {
            assert!(mapping.read_vec(8, 4000).iter().all(|byte| *byte < 2));
        }
    });
}

#[test]
fn wrong_offsets_are_the_callers_bug() {
    let memory = Memfd::sealed("small", 100).unwrap();
    let (mapping, read_only) = (Mapping::shared(&memory).unwrap(), Mapping::read_only(&memory).unwrap());
    let panics = |call: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    panics(&|| _ = mapping.atomic_u32(2).load(Relaxed));
    panics(&|| _ = mapping.atomic_u64(4).load(Relaxed));
    panics(&|| _ = mapping.atomic_u32(100).load(Relaxed));
    panics(&|| _ = mapping.atomic_u64(96).load(Relaxed));
    panics(&|| _ = mapping.read_vec(99, 2));
    panics(&|| _ = mapping.read_vec(usize::MAX, 2));
    panics(&|| mapping.write(100, b"x"));
    panics(&|| read_only.write(0, b"x"));
    panics(&|| _ = read_only.atomic_u32(0).load(Relaxed));
    mapping.write(100, b"");
    mapping.write(99, b"x");
    assert_eq!(mapping.atomic_u32(96).load(Relaxed).to_ne_bytes(), *b"\0\0\0x");
}

#[test]
fn nothing_is_a_length_too() {
    let memory = Memfd::from_bytes("empty", b"").unwrap();
    let mapping = Mapping::read_only(&memory).unwrap();
    assert!(memory.is_empty() && mapping.is_empty());
    assert_eq!(mapping.as_slice(), Some(&[][..]));
    assert_eq!(memory.read_all().unwrap(), b"");
    assert_eq!(Mapping::shared(&Memfd::sealed("empty", 0).unwrap()).unwrap().len(), 0);
}

#[test]
fn what_came_from_elsewhere_is_asked_what_it_is() {
    let memory = Memfd::sealed("sent", 5000).unwrap();
    let path = format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd());
    let reopened = File::options().read(true).write(true).open(path).unwrap();
    let adopted = Memfd::adopt(reopened.into()).unwrap();
    assert_eq!(adopted.len(), 5000);
    Mapping::shared(&memory).unwrap().write(0, b"same");
    assert_eq!(Mapping::shared(&adopted).unwrap().read_vec(0, 4), b"same");

    assert_eq!(why(&Memfd::adopt(unsealed(4096)).unwrap_err()), Unsealed::MayShrink);
    let only_grow = unsealed(4096);
    fcntl_add_seals(&only_grow, SealFlags::GROW).unwrap();
    assert_eq!(why(&Memfd::adopt(only_grow).unwrap_err()), Unsealed::MayShrink);
    let program = File::open("/proc/self/exe").unwrap();
    assert_eq!(why(&Memfd::adopt(program.into()).unwrap_err()), Unsealed::NotMemory);
    let (socket, _) = procession_sys::socket::pair().unwrap();
    assert_eq!(why(&Memfd::adopt(socket).unwrap_err()), Unsealed::NotMemory);
    let null = File::open("/dev/null").unwrap();
    let refused = Memfd::adopt(null.into()).unwrap_err();
    assert_eq!(why(&refused), Unsealed::NotMemory);
    assert!(refused.to_string().contains("adopting descriptor "), "{refused}");
}

#[test]
fn absurd_lengths_are_errors() {
    let refused = |len| Memfd::sealed("absurd", len).unwrap_err();
    assert_eq!(refused(u64::MAX).kind(), ErrorKind::FileTooLarge);
    assert_eq!(refused(isize::MAX as u64 + 1).kind(), ErrorKind::FileTooLarge);
    assert_eq!(refused(isize::MAX as u64).kind(), ErrorKind::OutOfMemory);
    let error = refused(1 << 50);
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(
        error.to_string().starts_with("reserving 1125899906842624 bytes of shared memory \"absurd\": "),
        "{error}"
    );
}

#[test]
fn a_length_is_no_proof_of_bytes() {
    let page = rustix::param::page_size() as u64;
    let sealed = |fd: OwnedFd| {
        fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
        Memfd::adopt(fd)
    };
    for len in [1, page, page + 1, 1 << 20, 1 << 40, i64::MAX as u64 & !(page - 1)] {
        let whole = len.next_multiple_of(page);
        let refused = sealed(unsealed(len)).unwrap_err();
        assert_eq!(why(&refused), Unsealed::NotReserved { reserved: 0, len: whole });
        let half = unsealed(len);
        fallocate(&half, FallocateFlags::empty(), 0, 1).unwrap();
        match sealed(half) {
            Ok(memory) => assert_eq!((memory.len(), whole), (len, page), "all of it is reserved"),
            Err(refused) => {
                assert_eq!(why(&refused), Unsealed::NotReserved { reserved: page, len: whole });
            }
        }
    }
    let refused = sealed(unsealed(5000)).unwrap_err();
    let text = "only 0 of 8192 bytes are reserved: its maker must fallocate all of it";
    assert!(page != 4096 || refused.to_string().ends_with(text), "{refused}");
    sealed(unsealed(0)).unwrap();
}

/// Touched or allocated, by whatever call, before or after the seals: all the same.
#[test]
fn what_is_there_counts_however_it_came() {
    let written = unsealed(10_000);
    assert_eq!(rustix::io::pwrite(&written, &[7; 10_000], 0), Ok(10_000));
    let late = unsealed(1 << 20);
    for fd in [&written, &late] {
        fcntl_add_seals(fd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    }
    fallocate(&late, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    assert_eq!([written, late].map(|fd| Memfd::adopt(fd).unwrap().len()), [10_000, 1 << 20]);
}

#[test]
fn a_hole_is_seen_and_who_cannot_write_makes_none() {
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let memory = Memfd::sealable("holes", 1 << 20).unwrap();
    let again = || memory.as_fd().try_clone_to_owned().unwrap();
    assert!(!Memfd::adopt(again()).unwrap().came_closed_to_writers());
    fallocate(&memory, hole, 0, 4096).unwrap();
    let refused = Memfd::adopt(again()).unwrap_err();
    assert_eq!(why(&refused), Unsealed::NotReserved { reserved: (1 << 20) - 4096, len: 1 << 20 });
    fallocate(&memory, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    let before = Memfd::adopt(again()).unwrap();
    memory.close_to_writers().unwrap();
    assert_eq!(fallocate(&memory, hole, 0, 4096), Err(Errno::PERM));
    let after = Memfd::adopt(again()).unwrap();
    assert!(!before.came_closed_to_writers() && after.came_closed_to_writers());
    assert!(Memfd::from_bytes("frozen", b"x").unwrap().came_closed_to_writers());
}

#[test]
fn there_is_room_or_an_error() {
    let mut items = vec![1_u64, 2];
    grow(&mut items, 1000).unwrap();
    assert!(items.capacity() >= 1002);
    for absurd in [1 << 46, isize::MAX as usize, usize::MAX] {
        let error = grow(&mut items, absurd).unwrap_err();
        assert_eq!((error.kind(), items.len()), (ErrorKind::OutOfMemory, 2));
    }
    grow(&mut vec![(); 5], usize::MAX - 5).unwrap();
    // What an allocator may promise, and nobody could touch.
    let everything = usize::try_from(available()).unwrap();
    assert_eq!(grow(&mut Vec::<u8>::new(), everything).unwrap_err().kind(), ErrorKind::OutOfMemory);
}

#[test]
fn names_the_kernel_refuses_are_errors() {
    assert_eq!(Memfd::sealed("a\0b", 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Memfd::sealed(&"long".repeat(100), 1).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn address_space_gets_memory_where_it_is_asked_for() {
    let memory = Memfd::sparse("space", 1 << 42).unwrap();
    assert_eq!((memory.len(), memory.reserved().unwrap()), (1 << 42, 0));
    memory.reserve_range(100, 1).unwrap();
    memory.reserve_range((1 << 42) - 1, 1).unwrap();
    assert_eq!(memory.reserved().unwrap(), 8192);
    assert!(memory.reserve_range(1 << 42, 1).is_err(), "beyond the end");
    assert_eq!(memory.reserve_range(0, 1 << 42).unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert_eq!(memory.reserved().unwrap(), 8192, "refused before anything was taken");
    let mapping = Mapping::shared(&memory).unwrap();
    mapping.write(0, &[7; 8192]);
    // Of pages that are given back in part, that part is zero, and the page stays.
    memory.release_range(1000, 4096).unwrap();
    let bytes = mapping.read_vec(0, 8192);
    assert!((0..8192).all(|at| bytes[at] == if (1000..5096).contains(&at) { 0 } else { 7 }));
    let fd = memory.try_clone().unwrap().into_fd();
    assert!(Memfd::adopt(fd).is_err(), "not all of it has memory");
    assert_eq!(Memfd::adopt_sparse(memory.into_fd()).unwrap().len(), 1 << 42);
    let (pipe, _other) = std::io::pipe().unwrap();
    assert!(Memfd::adopt_sparse(pipe.into()).is_err());
}
