//! Mutex: one at a time, and what becomes of the data when its holder dies.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use procession_shm::{Atomic, Plain};
use procession_sync::{Failed, LockError, Mutex, OrRepair};

use super::{FAR, Method, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { mutex, $method, $type; { $($extra)* }
            one_at_a_time
            every_form_takes_a_free_one
            every_form_says_who_holds_it
            the_holder_is_told_of_its_deadlock
            the_next_is_told_of_a_dead_holder
            a_sleeper_is_told_of_a_dead_holder
            every_form_takes_over_from_a_dead_holder
            a_death_stays_announced_until_somebody_repairs
            who_takes_over_and_dies_is_announced_too
            a_panic_poisons
            a_panic_from_before_does_not_poison
            errors_travel
            who_carries_on_is_told_nothing
        }
    };
}
pub(crate) use contract;

#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
pub(crate) struct Pair {
    a: u64,
    b: u64,
}

const ROUNDS: u64 = 5_000;

/// Two counters that are equal for whoever holds the lock.
fn count(mutex: Mutex<Pair>) {
    for _ in 0..ROUNDS {
        let mut pair = mutex.lock().unwrap();
        assert_eq!(pair.a, pair.b);
        pair.a += 1;
        pair.b += 1;
    }
}

pub(crate) fn one_at_a_time<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    let others = [(); 3].map(|()| M::start(count, mutex.clone()));
    count(mutex.clone());
    others.into_iter().for_each(super::Peer::join);
    assert_eq!(*mutex.lock().unwrap(), Pair { a: 4 * ROUNDS, b: 4 * ROUNDS });
}

pub(crate) fn every_form_takes_a_free_one<M: Method>() {
    fn each(mutex: Mutex<u32>) {
        *mutex.lock().unwrap() += 1;
        *mutex.try_lock().unwrap() += 1;
        *mutex.lock_timeout(FAR).unwrap() += 1;
        *mutex.lock_until(Instant::now()).unwrap() += 1;
    }
    let mutex = Mutex::new(0).unwrap();
    M::start(each, mutex.clone()).join();
    each(mutex.clone());
    assert_eq!(*mutex.lock().unwrap(), 8);
    assert!(!mutex.is_locked() && mutex.holder().is_none());
}

fn give_up((mutex, pid): (Mutex<u32>, u32)) {
    assert!(mutex.is_locked());
    assert_eq!(mutex.holder().unwrap().pid(), pid);
    match mutex.try_lock() {
        Err(Failed::WouldBlock { holder }) => assert_eq!(holder.unwrap().pid(), pid),
        other => panic!("{other:?}"),
    }
    for timed in [mutex.lock_timeout(SOON), mutex.lock_until(Instant::now() + SOON)] {
        match timed {
            Err(Failed::TimedOut { holder }) => assert_eq!(holder.unwrap().pid(), pid),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn every_form_says_who_holds_it<M: Method>() {
    let mutex = Mutex::new(0).unwrap();
    let guard = mutex.lock().unwrap();
    M::start(give_up, (mutex.clone(), std::process::id())).join();
    drop(guard);
    drop(mutex.try_lock().unwrap());
}

pub(crate) fn the_holder_is_told_of_its_deadlock<M: Method>() {
    fn twice(mutex: Mutex<u32>) {
        let guard = mutex.lock().unwrap();
        let again =
            [mutex.lock(), mutex.try_lock(), mutex.lock_timeout(FAR), mutex.lock_until(Instant::now())];
        assert!(again.iter().all(|again| matches!(again, Err(Failed::Deadlock))), "{again:?}");
        drop(guard);
        drop(mutex.try_lock().unwrap());
    }
    M::start(twice, Mutex::new(0).unwrap()).join();
}

/// Dies between two halves of a change.
pub(crate) fn die_inside<M: Method>((mutex, stage): (Mutex<Pair>, Atomic<u32>)) {
    let mut pair = mutex.lock().or_carry_on().unwrap();
    pair.a += 1;
    mem::forget(pair);
    M::ready_to_die(&stage);
}

pub(crate) fn the_next_is_told_of_a_dead_holder<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    let pid = M::start_victim(die_inside::<M>, mutex.clone()).ready().die();
    match mutex.lock() {
        Err(Failed::OwnerDied(died)) => {
            assert_eq!((died.dead().pid(), died.dead().participant().unwrap().pid()), (pid, pid));
            assert_eq!(mutex.holder().unwrap().pid(), std::process::id());
            let pair = died.repair(|pair, dead| {
                assert_eq!((*pair, dead.pid()), (Pair { a: 1, b: 0 }, pid));
                pair.b = pair.a;
            });
            assert_eq!(*pair, Pair { a: 1, b: 1 });
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(*mutex.lock().unwrap(), Pair { a: 1, b: 1 });
}

fn take_over((mutex, started): (Mutex<Pair>, Atomic<u32>)) -> Result<u32, LockError> {
    started.fetch_add(1);
    let mut pid = 0;
    let mut pair = mutex.lock().or_repair(|pair, dead| {
        assert_eq!(*pair, Pair { a: 1, b: 0 });
        (pair.b, pid) = (1, dead.pid());
    })?;
    pair.a += 1;
    pair.b += 1;
    Ok(pid)
}

pub(crate) fn a_sleeper_is_told_of_a_dead_holder<M: Method>() {
    let (mutex, started) = (Mutex::new(Pair::default()).unwrap(), Atomic::new(0).unwrap());
    let victim = M::start_victim(die_inside::<M>, mutex.clone()).ready();
    let sleepers = [(); 3].map(|()| M::start(take_over, (mutex.clone(), started.clone())));
    until(|| started.load() == 3);
    assert!(matches!(mutex.lock_timeout(SOON), Err(Failed::TimedOut { .. })));
    let pid = victim.die();
    let mut told = sleepers.map(|sleeper| sleeper.join().unwrap());
    told.sort_unstable();
    assert_eq!(told, [0, 0, pid]);
    assert_eq!(*mutex.lock().unwrap(), Pair { a: 4, b: 4 });
}

pub(crate) fn every_form_takes_over_from_a_dead_holder<M: Method>() {
    for form in 0..4 {
        let mutex = Mutex::new(Pair::default()).unwrap();
        let pid = M::start_victim(die_inside::<M>, mutex.clone()).ready().die();
        // Where the kernel does not tell, who does not wait has to come back.
        let taken = loop {
            let taken = match form {
                0 => mutex.try_lock(),
                1 => mutex.lock_timeout(FAR),
                2 => mutex.lock_until(Instant::now()),
                _ => mutex.lock(),
            };
            match taken {
                Err(Failed::WouldBlock { .. } | Failed::TimedOut { .. }) => {}
                taken => break taken,
            }
        };
        assert!(matches!(&taken, Err(Failed::OwnerDied(died)) if died.dead().pid() == pid), "{taken:?}");
    }
}

pub(crate) fn a_death_stays_announced_until_somebody_repairs<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    let pid = M::start_victim(die_inside::<M>, mutex.clone()).ready().die();
    match LockError::from(mutex.lock().unwrap_err()) {
        LockError::OwnerDied(dead) => assert_eq!(dead.pid(), pid),
        other => panic!("{other:?}"),
    }
    match mutex.lock() {
        Err(Failed::Poisoned(poisoned)) => poisoned.into_inner().b = 1,
        other => panic!("{other:?}"),
    }
    fn mend(mutex: Mutex<Pair>) {
        match mutex.lock() {
            Err(Failed::Poisoned(poisoned)) => poisoned.into_inner().mark_consistent(),
            other => panic!("{other:?}"),
        }
    }
    M::start(mend, mutex.clone()).join();
    assert_eq!(*mutex.lock().unwrap(), Pair { a: 1, b: 1 });
}

pub(crate) fn who_takes_over_and_dies_is_announced_too<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    for n in 1..4 {
        let pid = M::start_victim(die_inside::<M>, mutex.clone()).ready().die();
        if n == 3 {
            let mut dead = 0;
            let pair = mutex.lock().or_repair(|_, d| dead = d.pid()).unwrap();
            assert_eq!((pair.a, dead), (3, pid));
        }
    }
    assert_eq!(mutex.lock().unwrap().a, 3);
}

/// Panics with the lock, and catches it.
fn panic_inside(mutex: Mutex<Pair>) {
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _pair = mutex.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panic.is_err());
}

pub(crate) fn a_panic_poisons<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    M::start(panic_inside, mutex.clone()).join();
    for _ in 0..2 {
        assert!(matches!(mutex.lock(), Err(Failed::Poisoned(_))));
        assert_eq!(LockError::from(mutex.try_lock().unwrap_err()), LockError::Poisoned);
    }
    let mut repaired = 0;
    let pair = mutex.lock().or_repair(|pair, dead| {
        assert_eq!((dead.pid(), dead.participant()), (0, None));
        (pair.a, repaired) = (7, 1);
    });
    assert_eq!((pair.unwrap().a, repaired), (7, 1));
    assert_eq!(mutex.lock().unwrap().a, 7);
}

pub(crate) fn a_panic_from_before_does_not_poison<M: Method>() {
    struct LocksWhenDropped<'a>(&'a Mutex<Pair>);

    impl Drop for LocksWhenDropped<'_> {
        fn drop(&mut self) {
            self.0.lock().unwrap().a += 1;
        }
    }

    fn unwind(mutex: Mutex<Pair>) {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _locks = LocksWhenDropped(&mutex);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panic.is_err());
    }
    let mutex = Mutex::new(Pair::default()).unwrap();
    M::start(unwind, mutex.clone()).join();
    assert_eq!(mutex.lock().unwrap().a, 1);
}

fn fail(mutex: Mutex<Pair>) -> Vec<LockError> {
    let guard = mutex.lock().or_carry_on();
    let deadlock = mutex.lock().map(drop).unwrap_err().into();
    drop(guard);
    vec![deadlock, LockError::TimedOut { holder: None }]
}

pub(crate) fn errors_travel<M: Method>() {
    let errors = M::start(fail, Mutex::new(Pair::default()).unwrap()).join();
    assert_eq!(errors, [LockError::Deadlock, LockError::TimedOut { holder: None }]);
}

pub(crate) fn who_carries_on_is_told_nothing<M: Method>() {
    let mutex = Mutex::new(Pair::default()).unwrap();
    let carrying_on = mutex.clone().carrying_on();
    for (form, a) in (0..4).zip(1..) {
        M::start_victim(die_inside::<M>, mutex.clone()).ready().die();
        let pair = loop {
            let taken = match form {
                0 => carrying_on.lock(),
                1 => carrying_on.try_lock(),
                2 => carrying_on.lock_timeout(FAR),
                _ => carrying_on.lock_until(Instant::now()),
            };
            match taken {
                Err(LockError::WouldBlock { .. } | LockError::TimedOut { .. }) => {}
                taken => break taken.unwrap(),
            }
        };
        assert_eq!(*pair, Pair { a, b: 0 });
        drop(pair);
        assert_eq!(carrying_on.mutex().lock().unwrap().a, a);
    }
    fn fail(mutex: procession_sync::CarryingOn<Pair>) {
        let _pair = mutex.lock().unwrap();
        assert_eq!(mutex.try_lock().map(drop), Err(LockError::Deadlock));
    }
    M::start(fail, carrying_on).join();
}
