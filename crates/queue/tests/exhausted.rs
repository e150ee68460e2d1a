//! No descriptors, no address space, no memory: an error that says so, and nothing is left behind.
//! A full domain is the matter of `no_slot.rs`.

mod parcel;

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use parcel::pack;
use procession_codec::Descriptor;
use procession_queue::{Job, JobOptions, RecvError, SendFault, Sender, bounded, bounded_bytes, jobs};
use procession_shm::ShmError;
use procession_shm::domain::Domain;
use procession_testkit::{Role, counted, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

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

/// So many descriptors in each message.
const N: usize = 100;

fn handles() -> Vec<Descriptor> {
    vec![Descriptor::from(OwnedFd::from(File::open("/dev/null").unwrap())); N]
}

/// It stays queued until there are some.
#[test]
fn without_descriptors_no_handles_are_received() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        let next = u64::try_from(File::open("/dev/null").unwrap().as_raw_fd()).unwrap() + 500;
        setrlimit(Resource::Nofile, Rlimit { current: Some(next), maximum: Some(next) }).unwrap();
        counted(|| {
            let (tx, rx) = bounded::<(Vec<Descriptor>, Vec<u8>)>(8).unwrap();
            for len in [0, 20_000, 20_000, 0] {
                tx.send((handles(), vec![1; len])).unwrap();
            }
            for _ in 0..4 {
                for left in [0, 1, N - 1] {
                    let received = with_descriptors_left(left, || rx.recv().map(drop));
                    assert!(
                        matches!(&received, Err(RecvError::Memory(error)) if is_too_many(error)),
                        "{received:?}"
                    );
                    let received = with_descriptors_left(left, || rx.recv_many(&mut Vec::new(), 5));
                    assert!(matches!(&received, Err(RecvError::Memory(error)) if is_too_many(error)));
                }
                let (files, _) = with_descriptors_left(N, || rx.recv()).unwrap();
                assert_eq!(files.len(), N);
            }
            // More than a packet carries need a few descriptors to be sent, and are lost where they cannot be received.
            let value = ([handles(), handles(), handles()].concat(), vec![]);
            let error = with_descriptors_left(1, || tx.send(value)).unwrap_err();
            assert!(matches!(error.fault(), SendFault::Handles(_)), "{error}");
            tx.send(error.into_value()).unwrap();
            let lost = with_descriptors_left(299, || rx.recv().map(drop));
            assert!(matches!(lost, Err(RecvError::Decode(_))), "{lost:?}");
            assert!(rx.is_empty());
        });
    });
}

/// The system lets a user have as many on their way as it may have open.
#[test]
fn too_many_handles_on_their_way() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        let (tx, rx) = bounded::<Vec<Descriptor>>(1000).unwrap();
        // Who may do anything has no limit.
        rustix::thread::set_capabilities(None, NO_CAPABILITIES).unwrap();
        limited(Resource::Nofile, 4096, || {
            let n_sent = (0..).take_while(|_| tx.try_send(handles()).is_ok()).count();
            assert!(n_sent <= 4096 / N + 1, "{n_sent}");
            for error in [tx.try_send(handles()).unwrap_err(), tx.send(handles()).unwrap_err()] {
                let SendFault::Handles(why) = error.fault() else { panic!("{error}") };
                assert_eq!(why.errno(), Some(libc::ETOOMANYREFS));
                assert!(error.to_string().contains("raise the limit of open files"), "{error}");
                assert_eq!(error.into_value().len(), N);
            }
            tx.send(vec![]).unwrap();
            assert_eq!(rx.try_iter().count(), n_sent + 1);
            // Others of this user may have some on their way.
            tx.send(handles()).unwrap();
            assert_eq!(rx.recv().unwrap().len(), N);
        });
    });
}

/// A job stays where it is until there are some: queued, come back, or a dead letter.
#[test]
fn without_descriptors_no_job_with_handles_is_received() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        let next = u64::try_from(File::open("/dev/null").unwrap().as_raw_fd()).unwrap() + 700;
        setrlimit(Resource::Nofile, Rlimit { current: Some(next), maximum: Some(next) }).unwrap();
        counted(|| {
            let (tx, rx) = JobOptions::new(8).max_deliveries(2).create::<Vec<Descriptor>>().unwrap();
            tx.send(handles()).unwrap();
            tx.send(handles()).unwrap();
            let fails = |n_left, n_queued| {
                let received = with_descriptors_left(n_left, || rx.recv().map(drop));
                assert!(
                    matches!(&received, Err(RecvError::Memory(error)) if is_too_many(error)),
                    "{received:?}"
                );
                assert_eq!(tx.len(), n_queued);
            };
            [0, 1, N - 1].into_iter().for_each(|left| fails(left, 2));
            with_descriptors_left(N, || rx.recv()).unwrap().put_back();
            [0, 1, N - 1].into_iter().for_each(|left| fails(left, 1));
            with_descriptors_left(N, || rx.recv()).unwrap().put_back();
            for left in [0, 1, N - 1] {
                assert!(with_descriptors_left(left, || tx.dead_letters()).is_empty());
            }
            let [letter] = <[_; 1]>::try_from(with_descriptors_left(N, || tx.dead_letters())).unwrap();
            assert_eq!(letter.into_value().unwrap().len(), N);
            assert_eq!(rx.recv().unwrap().len(), N);
            // More than a packet carries: those that cannot be had make a dead letter of it, which has them all.
            tx.send([handles(), handles(), handles()].concat()).unwrap();
            let failed = with_descriptors_left(299, || rx.recv().map(drop));
            assert!(matches!(failed, Err(RecvError::Decode(_))), "{failed:?}");
            let [letter] = <[_; 1]>::try_from(tx.dead_letters()).unwrap();
            assert_eq!(letter.into_value().unwrap().len(), 3 * N);
        });
    });
}

/// Those that are kept until their jobs are done are on their way, too.
#[test]
fn too_many_handles_of_jobs() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        let (tx, rx) = jobs::<Vec<Descriptor>>(1000).unwrap();
        rustix::thread::set_capabilities(None, NO_CAPABILITIES).unwrap();
        limited(Resource::Nofile, 4096, || {
            // This process has room for those that it holds.
            let (others, _others) = bounded::<Vec<Descriptor>>(1000).unwrap();
            (0..30).for_each(|_| others.send(handles()).unwrap());
            let mut held = vec![];
            let error = loop {
                tx.send(handles()).unwrap();
                match rx.recv() {
                    Ok(job) => held.push(job),
                    Err(error) => break error,
                }
            };
            let RecvError::Memory(ShmError::Os(why)) = &error else { panic!("{error}") };
            assert_eq!(why.errno(), Some(libc::ETOOMANYREFS));
            assert_eq!((tx.len(), tx.unfinished()), (1, held.len() + 1));
            let error = (0..100).find_map(|_| tx.try_send(handles()).err()).unwrap();
            assert!(matches!(error.fault(), SendFault::Handles(_)), "{error}");
            assert_eq!(error.into_value().len(), N);
            // Nothing can be moved to get at those of the last, which stay; with the end of the first ones all go on.
            held.pop();
            assert!(matches!(rx.recv(), Err(RecvError::Memory(_))));
            held.drain(..held.len() / 2);
            while tx.unfinished() > held.len() {
                assert_eq!(rx.recv().unwrap().len(), N);
            }
            held.into_iter().for_each(Job::put_back);
            while tx.unfinished() > 0 {
                assert_eq!(rx.recv().unwrap().len(), N);
            }
        });
    });
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};
