//! RLock: its holder comes back, and is out when it has gone as often.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use procession_shm::Atomic;
use procession_sync::{Failed, OrRepair, RLock};

use super::{FAR, Method, Peer, SOON};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { rlock, $method, $type; { $($extra)* }
            one_thread_at_a_time
            the_holder_comes_back_in_every_form
            guards_go_in_any_order
            who_dies_deep_inside
            a_panic_poisons_at_every_level
        }
    };
}
pub(crate) use contract;

const ROUNDS: u64 = 3_000;

fn count((lock, n): (RLock, Atomic<u64>)) {
    for _ in 0..ROUNDS {
        let _outer = lock.lock().unwrap();
        let before = n.load();
        let inner = lock.lock().unwrap();
        n.store(before + 1);
        drop(inner);
        assert_eq!(n.load(), before + 1);
    }
}

pub(crate) fn one_thread_at_a_time<M: Method>() {
    let both = (RLock::new().unwrap(), Atomic::new(0).unwrap());
    let others = [(); 3].map(|()| M::start(count, both.clone()));
    count(both.clone());
    others.into_iter().for_each(Peer::join);
    assert_eq!(both.1.load(), 4 * ROUNDS);
}

fn give_up((lock, pid): (RLock, u32)) {
    assert!(lock.is_locked() && lock.holder().unwrap().pid() == pid);
    let would_block =
        |failed| matches!(failed, Err(Failed::WouldBlock { holder: Some(h) }) if h.pid() == pid);
    let timed_out = |failed| matches!(failed, Err(Failed::TimedOut { holder: Some(h) }) if h.pid() == pid);
    assert!(would_block(lock.try_lock()));
    assert!(timed_out(lock.lock_timeout(SOON)));
    assert!(timed_out(lock.lock_until(Instant::now())));
}

pub(crate) fn the_holder_comes_back_in_every_form<M: Method>() {
    let lock = RLock::new().unwrap();
    let inside = [lock.lock(), lock.try_lock(), lock.lock_timeout(FAR), lock.lock_until(Instant::now())];
    let inside = inside.map(Result::unwrap);
    for guard in inside {
        M::start(give_up, (lock.clone(), std::process::id())).join();
        drop(guard);
    }
    assert!(!lock.is_locked() && lock.holder().is_none());
    fn take(lock: RLock) {
        drop(lock.try_lock().unwrap());
    }
    M::start(take, lock.clone()).join();
}

pub(crate) fn guards_go_in_any_order<M: Method>() {
    fn any_order(lock: RLock) {
        let [a, b, c] = [(); 3].map(|()| lock.lock().unwrap());
        drop(a);
        drop(c);
        let d = lock.lock().unwrap();
        drop(b);
        assert!(lock.is_locked());
        drop(d);
        assert!(!lock.is_locked());
    }
    M::start(any_order, RLock::new().unwrap()).join();
}

fn die_inside<M: Method>((lock, stage): (RLock, Atomic<u32>)) {
    for _ in 0..3 {
        mem::forget(lock.lock().unwrap());
    }
    M::ready_to_die(&stage);
}

pub(crate) fn who_dies_deep_inside<M: Method>() {
    let lock = RLock::new().unwrap();
    let pid = M::start_victim(die_inside::<M>, lock.clone()).ready().die();
    let mut told = 0;
    match lock.lock() {
        Err(Failed::OwnerDied(died)) => {
            assert!(matches!(lock.lock(), Err(Failed::Poisoned(_))), "nobody has repaired");
            drop(died.repair(|(), dead| told = dead.pid()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(told, pid);
    // How often the dead had taken it, is forgotten.
    assert!(!lock.is_locked());
    drop([lock.lock().unwrap(), lock.lock().unwrap()]);
    assert!(!lock.is_locked());
}

fn panic_inside(lock: RLock) {
    let _outer = lock.lock().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _inner = lock.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panic.is_err());
    assert!(matches!(lock.lock(), Err(Failed::Poisoned(_))));
}

pub(crate) fn a_panic_poisons_at_every_level<M: Method>() {
    let lock = RLock::new().unwrap();
    M::start(panic_inside, lock.clone()).join();
    drop(lock.lock().or_carry_on().unwrap());
    drop(lock.lock().unwrap());
}
