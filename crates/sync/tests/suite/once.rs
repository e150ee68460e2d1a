//! Once and LazyShared: done by one, seen by all, and done again if its runner dies.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use procession_shm::Atomic;
use procession_sync::{LazyShared, Once, OnceError};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { once, $method, $type; { $($extra)* }
            it_is_done_once
            every_form_runs_it_and_gives_up
            a_panic_leaves_it_to_the_next
            a_runner_that_dies_is_followed
            who_waits_follows_a_runner_that_dies
            a_value_is_made_once
            a_value_whose_maker_dies_is_made_again
            within_itself
        }
    };
}
pub(crate) use contract;

fn run((once, n): (Once, Atomic<u32>)) -> bool {
    let ran = once.call_once(|| n.store(n.load() + 1)).unwrap();
    assert_eq!(n.load(), 1);
    ran
}

pub(crate) fn it_is_done_once<M: Method>() {
    let (once, n) = (Once::new().unwrap(), Atomic::new(0).unwrap());
    assert!(!once.is_done());
    let others = [(); 4].map(|()| M::start(run, (once.clone(), n.clone())));
    assert_eq!(others.map(Peer::join).into_iter().filter(|ran| *ran).count(), 1);
    assert!(once.is_done() && !run((once, n)));
}

/// Runs it until it is told to finish.
fn run_until_told((once, stage): (Once, Atomic<u32>)) {
    let ran = once.call_once(|| {
        stage.store(1);
        until(|| stage.load() == 2);
    });
    assert_eq!(ran, Ok(true));
}

pub(crate) fn every_form_runs_it_and_gives_up<M: Method>() {
    let (once, stage) = (Once::new().unwrap(), Atomic::new(0).unwrap());
    let runner = M::start(run_until_told, (once.clone(), stage.clone()));
    until(|| stage.load() == 1);
    let pid = once.runner().unwrap();
    assert_eq!(once.try_call_once(|| unreachable!()), Err(OnceError::WouldBlock { runner: Some(pid) }));
    let late = Err(OnceError::TimedOut { runner: Some(pid) });
    assert_eq!(once.call_once_timeout(SOON, || unreachable!()), late);
    assert_eq!(once.call_once_until(Instant::now() + SOON, || unreachable!()), late);
    stage.store(2);
    assert_eq!(once.call_once_timeout(FAR, || unreachable!()), Ok(false));
    runner.join();
    assert_eq!(once.try_call_once(|| unreachable!()), Ok(false));
    for form in [
        |once: &Once| once.try_call_once(|| ()),
        |once: &Once| once.call_once_timeout(SOON, || ()),
        |once: &Once| once.call_once_until(Instant::now(), || ()),
    ] {
        let once = Once::new().unwrap();
        assert_eq!((form(&once), form(&once), once.is_done()), (Ok(true), Ok(false), true));
    }
}

pub(crate) fn a_panic_leaves_it_to_the_next<M: Method>() {
    fn panic(once: Once) {
        let panics =
            catch_unwind(AssertUnwindSafe(|| once.call_once(|| resume_unwind(Box::new("on purpose")))));
        assert!(panics.is_err() && !once.is_done() && once.runner().is_none());
    }
    let once = Once::new().unwrap();
    M::start(panic, once.clone()).join();
    assert_eq!(once.try_call_once(|| ()), Ok(true));
}

/// Dies in the middle: a process where it runs it; a thread, which ends in good order, cannot.
fn die_running<M: Method>((once, stage): (Once, Atomic<u32>)) {
    let died = catch_unwind(AssertUnwindSafe(|| {
        once.call_once(|| {
            M::ready_to_die(&stage);
            resume_unwind(Box::new("a thread gives up"));
        })
    }));
    assert!(died.is_err());
}

pub(crate) fn a_runner_that_dies_is_followed<M: Method>() {
    let once = Once::new().unwrap();
    let victim = M::start_victim(die_running::<M>, once.clone()).ready();
    assert_eq!(once.runner().unwrap().pid(), victim.pid);
    victim.die();
    assert!(!once.is_done());
    // Where the kernel does not tell of a death, not at once.
    assert_eq!(once.call_once_timeout(FAR, || ()), Ok(true));
    assert!(once.is_done());
}

pub(crate) fn who_waits_follows_a_runner_that_dies<M: Method>() {
    fn follow((once, started): (Once, Atomic<u32>)) -> bool {
        started.fetch_add(1);
        once.call_once_timeout(FAR, || ()).unwrap()
    }
    let (once, started) = (Once::new().unwrap(), Atomic::new(0).unwrap());
    let victim = M::start_victim(die_running::<M>, once.clone()).ready();
    let others = [(); 3].map(|()| M::start(follow, (once.clone(), started.clone())));
    until(|| started.load() == 3);
    victim.die();
    assert_eq!(others.map(Peer::join).into_iter().filter(|ran| *ran).count(), 1);
}

type Key = [u64; 2];

fn key(n: u64) -> Key {
    [n, !n]
}

pub(crate) fn a_value_is_made_once<M: Method>() {
    fn get((lazy, n): (LazyShared<Key>, Atomic<u64>)) -> Key {
        lazy.get_or_init(|| key(n.fetch_add(1) + 1)).unwrap()
    }
    let (lazy, n) = (LazyShared::new().unwrap(), Atomic::new(0).unwrap());
    assert_eq!(lazy.get(), None);
    let others = [(); 4].map(|()| M::start(get, (lazy.clone(), n.clone())));
    assert_eq!(others.map(Peer::join), [key(1); 4]);
    assert_eq!((lazy.get(), n.load()), (Some(key(1)), 1));
    let forms = [
        lazy.try_get_or_init(|| key(2)),
        lazy.get_or_init_timeout(SOON, || key(2)),
        lazy.get_or_init_until(Instant::now(), || key(2)),
    ];
    assert_eq!(forms, [Ok(key(1)); 3]);
}

pub(crate) fn a_value_whose_maker_dies_is_made_again<M: Method>() {
    fn die<M: Method>((lazy, stage): (LazyShared<Key>, Atomic<u32>)) {
        let died = catch_unwind(AssertUnwindSafe(|| {
            lazy.get_or_init(|| {
                M::ready_to_die(&stage);
                resume_unwind(Box::new("a thread gives up"));
            })
        }));
        assert!(died.is_err());
    }
    let lazy = LazyShared::new().unwrap();
    let victim = M::start_victim(die::<M>, lazy.clone()).ready();
    assert_eq!((lazy.get(), lazy.try_get_or_init(|| key(1)).is_err()), (None, true));
    victim.die();
    assert_eq!((lazy.get_or_init_timeout(FAR, || key(2)), lazy.get()), (Ok(key(2)), Some(key(2))));
}

pub(crate) fn within_itself<M: Method>() {
    fn nest(once: Once) {
        let inner = |once: &Once| once.call_once(|| ());
        let mut nested = None;
        assert_eq!(once.call_once(|| nested = Some(inner(&once))), Ok(true));
        assert_eq!((nested, once.is_done()), (Some(Err(OnceError::Deadlock)), true));
    }
    M::start(nest, Once::new().unwrap()).join();
}
