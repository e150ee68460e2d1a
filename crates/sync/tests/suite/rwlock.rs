//! RwLock: many who read or one who writes, and what becomes of the data when a writer dies.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use procession_shm::{Atomic, Plain};
use procession_sync::{Failed, OrRepair, RwLock};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { rwlock, $method, $type; { $($extra)* }
            what_is_read_is_whole
            all_read_at_once
            every_form_waits_for_a_reader
            every_form_waits_for_a_writer
            a_writer_goes_first
            a_dead_writer_is_told_to_readers_and_writers
            a_dead_reader_is_nobodys_concern
            a_sleeper_follows_a_dead_writer
            a_panic_poisons_if_it_writes
            a_writer_goes_on_to_read
            deadlocks
        }
    };
}
pub(crate) use contract;

#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
pub(crate) struct Pair {
    pub(crate) a: u64,
    pub(crate) b: u64,
}

const ROUNDS: u64 = 2_000;

/// Two counters that are equal for whoever has the lock.
fn count(lock: RwLock<Pair>) {
    for _ in 0..ROUNDS {
        let pair = lock.read().unwrap();
        assert_eq!(pair.a, pair.b);
        drop(pair);
        let mut pair = lock.write().unwrap();
        pair.a += 1;
        assert_eq!(pair.a, pair.b + 1);
        pair.b += 1;
    }
}

pub(crate) fn what_is_read_is_whole<M: Method>() {
    let lock = RwLock::new(Pair::default()).unwrap();
    let others = [(); 3].map(|()| M::start(count, lock.clone()));
    count(lock.clone());
    others.into_iter().for_each(Peer::join);
    assert_eq!(*lock.read().unwrap(), Pair { a: 4 * ROUNDS, b: 4 * ROUNDS });
    assert!(lock.readers().is_empty() && lock.writer().is_none());
}

/// Reads until it is told to stop.
fn read_until_told((lock, stop): (RwLock<u32>, Atomic<u32>)) -> u32 {
    let n = lock.read().unwrap();
    let again = lock.read().unwrap();
    stop.fetch_add(1);
    until(|| stop.load() >= 100);
    *n + *again
}

fn reading<M: Method>(lock: &RwLock<u32>, n: u32) -> (Vec<Peer<u32>>, Atomic<u32>) {
    let stop = Atomic::new(0).unwrap();
    let all = (0..n).map(|_| M::start(read_until_told, (lock.clone(), stop.clone()))).collect();
    until(|| stop.load() == n);
    (all, stop)
}

pub(crate) fn all_read_at_once<M: Method>() {
    let lock = RwLock::new(4).unwrap();
    let (all, stop) = reading::<M>(&lock, 3);
    let ours = [lock.read().unwrap(), lock.try_read().unwrap(), lock.read_timeout(FAR).unwrap()];
    assert_eq!((lock.readers().len(), lock.writer()), (4, None));
    stop.store(100);
    assert!(all.into_iter().all(|reader| reader.join() == 8));
    assert_eq!(lock.readers()[0].pid(), std::process::id());
    drop(ours);
    assert!(lock.readers().is_empty());
}

pub(crate) fn every_form_waits_for_a_reader<M: Method>() {
    let lock = RwLock::new(0).unwrap();
    let (all, stop) = reading::<M>(&lock, 1);
    assert!(matches!(lock.try_write(), Err(Failed::WouldBlock { holder: Some(_) })));
    let by = Instant::now() + SOON;
    for timed in [lock.write_timeout(SOON), lock.write_until(by)] {
        match timed {
            Err(Failed::TimedOut { holder }) => assert_eq!(holder, lock.readers().first().copied()),
            other => panic!("{other:?}"),
        }
    }
    // Who gave up stands in nobody's way.
    drop(lock.try_read().unwrap());
    stop.store(100);
    *lock.write().unwrap() += 1;
    assert!(all.into_iter().all(|reader| reader.join() == 0));
    *lock.try_write().unwrap() += 1;
    *lock.write_timeout(FAR).unwrap() += 1;
    *lock.write_until(Instant::now()).unwrap() += 1;
    assert_eq!(*lock.read_until(Instant::now()).unwrap(), 4);
}

fn give_up((lock, pid): (RwLock<u32>, u32)) {
    assert_eq!(lock.writer().unwrap().pid(), pid);
    assert!(matches!(lock.try_read(), Err(Failed::WouldBlock { .. })));
    assert!(matches!(lock.try_write(), Err(Failed::WouldBlock { .. })));
    let by = Instant::now() + SOON;
    for timed in [lock.read_timeout(SOON), lock.read_until(by)] {
        match timed {
            Err(Failed::TimedOut { holder }) => assert_eq!(holder.unwrap().pid(), pid),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(lock.write_timeout(SOON), Err(Failed::TimedOut { .. })));
}

pub(crate) fn every_form_waits_for_a_writer<M: Method>() {
    let lock = RwLock::new(0).unwrap();
    let guard = lock.write().unwrap();
    M::start(give_up, (lock.clone(), std::process::id())).join();
    drop(guard);
    drop(lock.try_read().unwrap());
}

pub(crate) fn a_writer_goes_first<M: Method>() {
    fn write(lock: RwLock<u32>) {
        *lock.write().unwrap() += 1;
    }
    let lock = RwLock::new(0).unwrap();
    let (all, stop) = reading::<M>(&lock, 1);
    let ours = lock.read().unwrap();
    let writer = M::start(write, lock.clone());
    until(|| lock.writer().is_some());
    assert_eq!(*lock.try_read().unwrap(), 0, "who reads may read again");
    drop(ours);
    // Now a newcomer, and the writer still waits for the other reader.
    assert!(matches!(lock.try_read(), Err(Failed::WouldBlock { .. })));
    stop.store(100);
    assert_eq!(*lock.read().unwrap(), 1);
    writer.join();
    assert!(all.into_iter().all(|reader| reader.join() == 0));
}

/// Dies between two halves of a change.
pub(crate) fn die_writing<M: Method>((lock, stage): (RwLock<Pair>, Atomic<u32>)) {
    let mut pair = lock.write().or_carry_on().unwrap();
    pair.a += 1;
    mem::forget(pair);
    M::ready_to_die(&stage);
}

pub(crate) fn a_dead_writer_is_told_to_readers_and_writers<M: Method>() {
    let lock = RwLock::new(Pair::default()).unwrap();
    let pid = M::start_victim(die_writing::<M>, lock.clone()).ready().die();
    match lock.read() {
        Err(Failed::OwnerDied(died)) => {
            assert_eq!(died.dead().pid(), pid);
            assert_eq!(*died.into_inner(), Pair { a: 1, b: 0 });
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(lock.read(), Err(Failed::Poisoned(_))));
    let pair = lock.write().or_repair(|pair, _| pair.b = pair.a).unwrap();
    assert_eq!(*pair, Pair { a: 1, b: 1 });
    drop(pair);
    assert_eq!(*lock.read().unwrap(), Pair { a: 1, b: 1 });
    let pid = M::start_victim(die_writing::<M>, lock.clone()).ready().die();
    let mut told = 0;
    drop(lock.try_write().or_repair(|_, dead| told = dead.pid()).unwrap());
    assert_eq!(told, pid);
    assert!(lock.try_read().is_ok());
}

fn die_reading<M: Method>((lock, stage): (RwLock<Pair>, Atomic<u32>)) {
    mem::forget([lock.read().unwrap(), lock.read().unwrap()]);
    M::ready_to_die(&stage);
}

pub(crate) fn a_dead_reader_is_nobodys_concern<M: Method>() {
    for wait in [false, true] {
        let lock = RwLock::new(Pair::default()).unwrap();
        let victim = M::start_victim(die_reading::<M>, lock.clone()).ready();
        assert_eq!(lock.readers().len(), 1);
        let writer = wait.then(|| M::start(|lock: RwLock<Pair>| lock.write().unwrap().a = 9, lock.clone()));
        until(|| lock.writer().is_some() == wait);
        victim.die();
        writer.into_iter().for_each(Peer::join);
        until(|| lock.readers().is_empty());
        assert_eq!(lock.write_timeout(FAR).unwrap().a, if wait { 9 } else { 0 });
    }
}

fn follow((lock, started): (RwLock<Pair>, Atomic<u32>)) -> (u32, u64) {
    started.fetch_add(1);
    match lock.read_timeout(FAR) {
        Err(Failed::OwnerDied(died)) => (died.dead().pid(), died.into_inner().a),
        Err(Failed::Poisoned(poisoned)) => (0, poisoned.into_inner().a),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_sleeper_follows_a_dead_writer<M: Method>() {
    let (lock, started) = (RwLock::new(Pair::default()).unwrap(), Atomic::new(0).unwrap());
    let victim = M::start_victim(die_writing::<M>, lock.clone()).ready();
    let others = [(); 3].map(|()| M::start(follow, (lock.clone(), started.clone())));
    until(|| started.load() == 3);
    let pid = victim.die();
    let mut told = others.map(Peer::join);
    told.sort_unstable();
    assert_eq!(told, [(0, 1), (0, 1), (pid, 1)], "it is said to one");
}

pub(crate) fn a_panic_poisons_if_it_writes<M: Method>() {
    fn panic((lock, write): (RwLock<u32>, bool)) {
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _guards =
                if write { (None, Some(lock.write().unwrap())) } else { (Some(lock.read().unwrap()), None) };
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(panics.is_err());
    }
    let lock = RwLock::new(0).unwrap();
    M::start(panic, (lock.clone(), false)).join();
    drop(lock.read().unwrap());
    M::start(panic, (lock.clone(), true)).join();
    assert!(matches!(lock.read(), Err(Failed::Poisoned(_))));
    drop(lock.write().or_carry_on().unwrap());
    drop(lock.read().unwrap());
}

pub(crate) fn a_writer_goes_on_to_read<M: Method>() {
    fn read(lock: RwLock<u32>) -> u32 {
        *lock.read_timeout(FAR).unwrap()
    }
    let lock = RwLock::new(0).unwrap();
    let mut guard = lock.write().unwrap();
    *guard = 7;
    let other = M::start(read, lock.clone());
    let guard = guard.downgrade();
    assert_eq!((other.join(), *guard), (7, 7));
    assert_eq!((lock.writer(), lock.readers().len()), (None, 1));
    drop(guard);
    drop(lock.try_write().unwrap());
}

pub(crate) fn deadlocks<M: Method>() {
    fn twice(lock: RwLock<u32>) {
        let guard = lock.write().unwrap();
        assert!(
            matches!(lock.write(), Err(Failed::Deadlock)) && matches!(lock.read(), Err(Failed::Deadlock))
        );
        drop(guard);
        let guard = lock.read().unwrap();
        assert!(matches!(lock.write(), Err(Failed::Deadlock)));
        drop((lock.read().unwrap(), guard));
        drop(lock.try_write().unwrap());
    }
    M::start(twice, RwLock::new(0).unwrap()).join();
}
