//! No descriptors, no address space, no memory: an error that says so, and nothing is left behind.
//! A full domain is the matter of `no_slot.rs`.

mod parcel;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use parcel::pack;
use procession_queue::{Sender, bounded, bounded_bytes};
use procession_shm::ShmError;
use procession_shm::domain::Domain;
use procession_testkit::{Role, counted, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `call` with a limit, which the call cannot raise.
fn limited<R>(resource: Resource, most: u64, call: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(most), maximum: before.maximum }).unwrap();
    let answer = call();
    setrlimit(resource, before).unwrap();
    answer
}

/// Holds all descriptors but so many that this process may have, while `call` runs.
fn with_descriptors_left<R>(n: usize, call: impl FnOnce() -> R) -> R {
    let mut held: Vec<File> =
        std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect();
    held.truncate(held.len() - n);
    call()
}

/// In a process of its own: limits and domains are the process's.
fn in_a_process_of_its_own(body: fn()) {
    match role() {
        Some(_) => body(),
        None => counted(|| drop(Role::new("poor").spawn().wait_with_output(LIMIT).expect_success())),
    }
}

fn is_too_many(error: &ShmError) -> bool {
    matches!(error, ShmError::Os(error) if error.errno() == Some(libc::EMFILE))
}

#[test]
fn without_descriptors_no_queue_is_made() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        let next = u64::try_from(File::open("/dev/null").unwrap().as_raw_fd()).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(next + 20), maximum: Some(next + 20) }).unwrap();
        counted(|| {
            for left in 0..6 {
                let made = with_descriptors_left(left, || bounded::<u8>(1));
                assert_eq!(made.is_ok(), left >= 3, "{left}: {made:?}");
                assert!(made.is_ok() || is_too_many(&made.unwrap_err()));
            }
            let (tx, rx) = bounded::<u8>(1).unwrap();
            with_descriptors_left(0, || {
                tx.send(1).unwrap();
                assert_eq!(rx.recv().unwrap(), 1);
            });
            let parcel = pack(&tx);
            // Nor does decoding need descriptors beyond those that came.
            with_descriptors_left(0, || drop(parcel.unpack::<Sender<u8>>()));
        });
    });
}

#[test]
fn without_address_space_no_queue_is_made() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        counted(|| {
            let made = limited(Resource::As, 1 << 33, || bounded_bytes::<u8>(1, 1 << 34));
            assert!(matches!(made, Err(ShmError::Os(_) | ShmError::OutOfMemory(_))), "{made:?}");
            drop(bounded_bytes::<u8>(1, 1 << 34).unwrap());
        });
    });
}

#[test]
fn without_memory_no_queue_is_made() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        counted(|| {
            let made = limited(Resource::Fsize, 64, || bounded::<u8>(1));
            assert!(matches!(made, Err(ShmError::Os(_) | ShmError::OutOfMemory(_))), "{made:?}");
            drop(bounded::<u8>(1).unwrap());
        });
    });
}
