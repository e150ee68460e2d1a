//! No descriptors, no memory, and handles that come without their descriptors: an error that says so, from every object,
//! and nothing left behind. A full domain is the matter of `no_slot.rs`.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use procession_codec::{Codec, DecodeError, HandleError, Message, Postcard, handles};
use procession_shm::ShmError;
use procession_shm::domain::{Domain, DomainError};
use procession_sync::{
    Barrier, Condvar, Event, LazyShared, Lock, Mutex, Once, RLock, RwLock, Semaphore, SignalSemaphore,
};
use procession_testkit::{Role, counted, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: Duration = Duration::from_secs(60);

/// Makes an object of each kind and does something with it.
trait Each {
    fn one<T: Message>(&self, kind: &str, make: fn() -> Result<T, ShmError>);
}

fn each(what: &impl Each) {
    what.one("mutex", || Mutex::new(7_u32));
    what.one("lock", Lock::new);
    what.one("rlock", RLock::new);
    what.one("condvar", Condvar::new);
    what.one("rwlock", || RwLock::new(7_u32));
    what.one("event", Event::new);
    what.one("semaphore", || Semaphore::new(3));
    what.one("tokens", || SignalSemaphore::new(3));
    what.one("barrier", || Barrier::new(3));
    what.one("once", Once::new);
    what.one("lazy", LazyShared::<u32>::new);
}

/// Runs `call` with the soft limit of `resource` at `most`.
fn limited<R>(resource: Resource, most: u64, call: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(most), maximum: before.maximum }).unwrap();
    let answer = call();
    setrlimit(resource, before).unwrap();
    answer
}

/// Runs `call` with so many descriptors left.
fn with_descriptors_left<R>(n: u64, call: impl FnOnce() -> R) -> R {
    let free = File::open("/dev/null").unwrap();
    let next = u64::try_from(free.as_raw_fd()).unwrap();
    drop(free);
    limited(Resource::Nofile, next + n, call)
}

fn is_too_many(error: &ShmError) -> bool {
    match error {
        ShmError::Os(error) | ShmError::Domain(DomainError::Os(error)) => error.errno() == Some(libc::EMFILE),
        _ => false,
    }
}

struct WithoutDescriptors;

impl Each for WithoutDescriptors {
    fn one<T: Message>(&self, kind: &str, make: fn() -> Result<T, ShmError>) {
        let refused = |left| with_descriptors_left(left, || make().map(drop));
        let refused: Vec<_> = (0..4).map(refused).filter_map(Result::err).collect();
        assert!((1..4).contains(&refused.len()), "{kind}: {refused:?}");
        assert!(
            refused.iter().all(|e| matches!(e, ShmError::Os(_)) && is_too_many(e)),
            "{kind}: {refused:?}"
        );
    }
}

struct WithoutMemory;

impl Each for WithoutMemory {
    fn one<T: Message>(&self, kind: &str, make: fn() -> Result<T, ShmError>) {
        // Of address space even the heap would have too little.
        let refused = limited(Resource::Fsize, 64, || make().map(drop));
        assert!(matches!(refused, Err(ShmError::OutOfMemory(_))), "{kind}: {refused:?}");
        drop(make().unwrap());
    }
}

struct AlmostArrived;

impl Each for AlmostArrived {
    fn one<T: Message>(&self, kind: &str, make: fn() -> Result<T, ShmError>) {
        let object = make().unwrap();
        let mut bytes = Vec::new();
        let ((), outgoing) = handles::collect(|| Postcard::encode_into(&object, &mut bytes)).unwrap();
        let all = || outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
        let decode = |fds: Vec<OwnedFd>| handles::supply(fds, || Postcard::decode::<T>(&bytes)).map(drop);
        let n = all().count();
        assert_eq!(decode(all().collect()), Ok(()), "{kind}");
        for n_arrived in 0..n {
            let error = decode(all().take(n_arrived).collect()).unwrap_err();
            let DecodeError::Handle(HandleError::Missing { carried, .. }) = error else {
                panic!("{kind}: {error:?}")
            };
            assert_eq!(carried, n_arrived, "{kind}");
        }
        // What arrived is not what was sent, and a domain is no object.
        let mut reversed: Vec<_> = all().collect();
        reversed.reverse();
        let wrong = decode(reversed).unwrap_err();
        assert!(matches!(wrong, DecodeError::Malformed(_)), "{kind}: {wrong:?}");
        // Nor does decoding need descriptors beyond those that came.
        let fds = all().collect();
        assert_eq!(with_descriptors_left(0, || decode(fds)), Ok(()), "{kind}");
        outgoing.commit();
    }
}

/// In a process of its own: limits and domains are the process's.
fn in_a_process_of_its_own(body: fn()) {
    match role() {
        Some(_) => body(),
        None => counted(|| drop(Role::new("poor").spawn().wait_with_output(LIMIT).expect_success())),
    }
}

#[test]
fn without_descriptors_nothing_is_made() {
    in_a_process_of_its_own(|| {
        let error = with_descriptors_left(0, || Mutex::new(7_u32).map(drop)).unwrap_err();
        assert!(
            matches!(error, ShmError::Domain(_)) && is_too_many(&error),
            "there was no domain yet: {error:?}"
        );
        Domain::current().unwrap();
        counted(|| each(&WithoutDescriptors));
    });
}

#[test]
fn without_memory_nothing_is_made() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        counted(|| each(&WithoutMemory));
    });
}

#[test]
fn a_handle_without_its_descriptors_is_refused() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        counted(|| each(&AlmostArrived));
    });
}
