//! Lock: a mutex without data; what is the same is not said again here.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use procession_shm::Atomic;
use procession_sync::{Failed, Lock, LockError, OrRepair};

use super::{FAR, Method, Peer, SOON};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { lock, $method, $type; { $($extra)* }
            one_at_a_time
            every_form
            a_dead_holder
            a_panic
        }
    };
}
pub(crate) use contract;

const ROUNDS: u64 = 5_000;

/// A load and a store with time between them.
fn count((lock, n): (Lock, Atomic<u64>)) {
    for _ in 0..ROUNDS {
        let _guard = lock.lock().unwrap();
        n.store(n.load() + 1);
    }
}

pub(crate) fn one_at_a_time<M: Method>() {
    let both = (Lock::new().unwrap(), Atomic::new(0).unwrap());
    let others = [(); 3].map(|()| M::start(count, both.clone()));
    count(both.clone());
    others.into_iter().for_each(Peer::join);
    assert_eq!(both.1.load(), 4 * ROUNDS);
}

fn give_up((lock, pid): (Lock, u32)) {
    assert!(lock.is_locked() && lock.holder().unwrap().pid() == pid);
    assert!(matches!(lock.try_lock(), Err(Failed::WouldBlock { holder: Some(_) })));
    assert!(matches!(lock.lock_timeout(SOON), Err(Failed::TimedOut { holder: Some(_) })));
    assert!(matches!(lock.lock_until(Instant::now()), Err(Failed::TimedOut { .. })));
}

pub(crate) fn every_form<M: Method>() {
    let lock = Lock::new().unwrap();
    for n in 0..4 {
        let guard = match n {
            0 => lock.lock(),
            1 => lock.try_lock(),
            2 => lock.lock_timeout(FAR),
            _ => lock.lock_until(Instant::now()),
        };
        let guard = guard.unwrap();
        assert!(matches!(lock.lock(), Err(Failed::Deadlock)));
        M::start(give_up, (lock.clone(), std::process::id())).join();
        drop(guard);
        assert!(!lock.is_locked() && lock.holder().is_none());
    }
}

fn die_inside<M: Method>((lock, stage): (Lock, Atomic<u32>)) {
    mem::forget(lock.lock().unwrap());
    M::ready_to_die(&stage);
}

pub(crate) fn a_dead_holder<M: Method>() {
    let lock = Lock::new().unwrap();
    let pid = M::start_victim(die_inside::<M>, lock.clone()).ready().die();
    match LockError::from(lock.lock().unwrap_err()) {
        LockError::OwnerDied(dead) => assert_eq!(dead.pid(), pid),
        other => panic!("{other:?}"),
    }
    drop(lock.lock().or_carry_on().unwrap());
    drop(lock.lock().unwrap());
}

fn panic_inside(lock: Lock) {
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panic.is_err());
}

pub(crate) fn a_panic<M: Method>() {
    let lock = Lock::new().unwrap();
    M::start(panic_inside, lock.clone()).join();
    match lock.lock() {
        Err(Failed::Poisoned(poisoned)) => poisoned.into_inner().mark_consistent(),
        other => panic!("{other:?}"),
    }
    drop(lock.lock().unwrap());
}
