//! Semaphore: never more holders than permits, and those of the dead come back.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use procession_shm::{Atomic, Shared};
use procession_sync::{AcquireError, BoundedSemaphore, NotHeld, Semaphore};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { semaphore, $method, $type; { $($extra)* }
            never_more_holders_than_permits
            every_form_takes_and_gives_up
            permits_that_are_kept
            a_permit_given_back_twice
            permits_of_the_dead_come_back
            a_sleeper_takes_over_from_the_dead
            a_panic_gives_it_back
            how_many_there_can_be
        }
    };
}
pub(crate) use contract;

/// Works with a permit; says how many were at work at once.
fn work((permits, inside): (Semaphore, Atomic<u32>)) -> u32 {
    let mut most = 0;
    for _ in 0..2_000 {
        let permit = permits.acquire().unwrap();
        assert_eq!(permit.left_by(), None);
        most = most.max(inside.fetch_add(1) + 1);
        inside.fetch_sub(1);
    }
    most
}

pub(crate) fn never_more_holders_than_permits<M: Method>() {
    let (permits, inside) = (Semaphore::new(2).unwrap(), Atomic::new(0).unwrap());
    let others: Vec<_> = (0..4).map(|_| M::start(work, (permits.clone(), inside.clone()))).collect();
    let most = others.into_iter().map(Peer::join).max().unwrap();
    assert!((1..=2).contains(&most), "{most} at once");
    assert_eq!((permits.available(), permits.permits(), inside.load()), (2, 2, 0));
}

pub(crate) fn every_form_takes_and_gives_up<M: Method>() {
    fn each(permits: Semaphore) -> Vec<bool> {
        let by = Instant::now() + SOON;
        let all = [permits.try_acquire(), permits.acquire_timeout(SOON), permits.acquire_until(by)];
        all.iter().for_each(|a| assert!(a.is_ok() || matches!(a, Err(AcquireError::TimedOut))));
        all.iter().map(Result::is_ok).collect()
    }
    let permits = Semaphore::new(3).unwrap();
    for n in 0..=3 {
        let held: Vec<_> = (0..n).map(|_| permits.acquire().unwrap()).collect();
        assert_eq!((permits.available(), permits.holders().len()), (3 - n, n));
        let expected: Vec<_> = (0..3).map(|at| at + n < 3).collect();
        assert_eq!(M::start(each, permits.clone()).join(), expected);
        drop(held);
    }
    assert_eq!(permits.available(), 3);
}

pub(crate) fn permits_that_are_kept<M: Method>() {
    fn release(permits: Semaphore) -> bool {
        permits.release().is_ok()
    }
    let permits = BoundedSemaphore::new(2).unwrap();
    permits.acquire().unwrap().keep();
    permits.acquire().unwrap().keep();
    assert!(permits.holders().iter().all(|holder| holder.pid() == std::process::id()));
    assert!(!M::start(release, permits.clone()).join(), "it is not theirs");
    assert_eq!(permits.available(), 0);
    assert_eq!([permits.release(), permits.release(), permits.release()], [Ok(()), Ok(()), Err(NotHeld)]);
    assert_eq!(permits.available(), 2);
}

/// As many are given back as were taken, whoever names which.
pub(crate) fn a_permit_given_back_twice<M: Method>() {
    fn mixed(permits: Semaphore) {
        let guard = permits.acquire().unwrap();
        permits.acquire().unwrap().keep();
        permits.release().unwrap();
        assert_eq!(permits.available(), 2);
        drop(guard);
        assert_eq!(permits.available(), 3);
        let guard = permits.acquire().unwrap();
        permits.release().unwrap();
        drop(guard);
        assert_eq!((permits.available(), permits.release()), (3, Err(NotHeld)));
    }
    M::start(mixed, Semaphore::new(3).unwrap()).join();
}

/// Dies with all but one of the permits.
pub(crate) fn die_with_some<M: Method>((permits, stage): (Semaphore, Atomic<u32>)) {
    (1..permits.permits()).for_each(|_| mem::forget(permits.acquire().unwrap()));
    M::ready_to_die(&stage);
}

pub(crate) fn permits_of_the_dead_come_back<M: Method>() {
    let permits = Semaphore::new(3).unwrap();
    let victim = M::start_victim(die_with_some::<M>, permits.clone()).ready();
    assert_eq!((permits.available(), permits.holders().len()), (1, 2));
    let pid = victim.die();
    // Where the kernel does not tell of a death, not at once.
    until(|| permits.available() == 3);
    let taken = [(); 3].map(|()| permits.acquire_timeout(FAR).unwrap());
    let left = taken.each_ref().map(|permit| permit.left_by().map(|dead| dead.pid()));
    assert_eq!(left, [None, Some(pid), Some(pid)]);
    drop(taken);
    let again = [(); 3].map(|()| permits.try_acquire().unwrap());
    assert!(again.iter().all(|permit| permit.left_by().is_none()), "it is said once");
}

/// Dies with all of them.
fn die_with_all<M: Method>((permits, stage): (Semaphore, Atomic<u32>)) {
    (0..permits.permits()).for_each(|_| mem::forget(permits.acquire().unwrap()));
    M::ready_to_die(&stage);
}

fn take_over((permits, started): (Semaphore, Atomic<u32>)) -> Option<u32> {
    started.fetch_add(1);
    permits.acquire_timeout(FAR).unwrap().left_by().map(|dead| dead.pid())
}

pub(crate) fn a_sleeper_takes_over_from_the_dead<M: Method>() {
    let (permits, started) = (Semaphore::new(2).unwrap(), Atomic::new(0).unwrap());
    let victim = M::start_victim(die_with_all::<M>, permits.clone()).ready();
    let others = [(); 3].map(|()| M::start(take_over, (permits.clone(), started.clone())));
    until(|| started.load() == 3);
    let pid = victim.die();
    let mut told: Vec<_> = others.map(Peer::join).into_iter().flatten().collect();
    assert!(!told.is_empty() && permits.available() == 2);
    // The first may have given its one to the others, which left a dead one over.
    let rest = [(); 2].map(|()| permits.try_acquire().unwrap());
    told.extend(rest.iter().filter_map(|permit| permit.left_by().map(|dead| dead.pid())));
    assert_eq!(told, [pid; 2], "each is said once");
}

pub(crate) fn a_panic_gives_it_back<M: Method>() {
    fn panic(permits: Semaphore) {
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _permit = permits.acquire().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(panics.is_err());
    }
    let permits = Semaphore::new(1).unwrap();
    M::start(panic, permits.clone()).join();
    assert!(permits.try_acquire().unwrap().left_by().is_none());
}

pub(crate) fn how_many_there_can_be<M: Method>() {
    fn all(permits: Semaphore) -> usize {
        let held: Vec<_> = std::iter::from_fn(|| permits.try_acquire().ok()).collect();
        held.len()
    }
    let most = Semaphore::new(Semaphore::MAX).unwrap();
    assert_eq!(M::start(all, most).join(), 1024);
    for n in [0, 1025, usize::MAX] {
        assert!(catch_unwind(|| Semaphore::new(n)).is_err());
    }
    assert!(catch_unwind(|| Semaphore::create(0)).is_err());
}
