//! Locks for readers: who has them together, in which order they are lent, and what is told of a death.

mod support;

use std::thread;
use std::time::Duration;

use procession_manager::{CallError, Failed, Manager, RwLock};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{End, Victim, await_waiting, here};

const SHORT: Duration = Duration::from_millis(3);

fn would_wait<G>(got: Result<G, Failed<G>>) {
    assert!(matches!(got, Err(Failed::Call(CallError::WouldWait))), "{:?}", got.err());
}

#[test]
fn many_read_together_and_one_writes_alone() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(vec![1_u32]).unwrap();
        let (one, other) = (lock.read().unwrap(), lock.try_read().unwrap());
        assert_eq!((&*one, &*other), (&vec![1], &vec![1]));
        would_wait(lock.try_write());
        let late = lock.write_timeout(SHORT);
        assert!(matches!(late, Err(Failed::Call(CallError::TimedOut))), "{late:?}");
        drop((one, other));
        let mut writes = lock.write().unwrap();
        would_wait(lock.try_read());
        would_wait(lock.try_write());
        writes.push(2);
        writes.commit().unwrap();
        assert_eq!(*lock.read_timeout(Duration::from_secs(20)).unwrap(), [1, 2]);
        lock.write().unwrap().push(3);
        assert_eq!(*lock.read().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn a_writer_that_waits_is_not_overtaken_by_readers() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(0_u32).unwrap();
        let first = lock.read().unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut guard = lock.write().unwrap();
                assert_eq!(*guard, 0);
                *guard = 1;
            });
            await_waiting(&manager, 1);
            would_wait(lock.try_read());
            let reader = scope.spawn(|| *lock.read().unwrap());
            await_waiting(&manager, 2);
            drop(first);
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), 1, "the reader came after the writer");
        });
    });
}

#[test]
fn one_that_writes_and_then_reads_lets_nobody_write_in_between() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(0_u32).unwrap();
        let mut writes = lock.write().unwrap();
        *writes = 1;
        thread::scope(|scope| {
            let writer = scope.spawn(|| *lock.write().unwrap() += 10);
            await_waiting(&manager, 1);
            let reads = writes.downgrade().unwrap();
            assert_eq!((*reads, manager.counts().unwrap().waiting), (1, 1));
            drop(reads);
            writer.join().unwrap();
        });
        assert_eq!(*lock.read().unwrap(), 11);
    });
}

#[test]
fn no_change_is_lost_and_no_reader_sees_half_of_one() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock((0_u64, 0_u64)).unwrap();
        let write = |lock: RwLock<(u64, u64)>| {
            for _ in 0..40 {
                let mut pair = lock.write().unwrap();
                pair.0 += 1;
                pair.1 += 1;
            }
        };
        let read = |lock: RwLock<(u64, u64)>| {
            for _ in 0..40 {
                let pair = lock.read().unwrap();
                assert_eq!(pair.0, pair.1);
            }
        };
        let tasks = [write, read, write, read];
        let children: Vec<_> = tasks.into_iter().map(|task| spawn(task, lock.clone()).unwrap()).collect();
        write(lock.clone());
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(*lock.read().unwrap(), (120, 120));
    });
}

fn write_and_die((lock, end): (RwLock<u32>, End)) {
    let mut guard = lock.write().unwrap();
    *guard = 99;
    here(&end);
}

fn read_and_die((lock, end): (RwLock<u32>, End)) {
    let _guard = lock.read().unwrap();
    here(&end);
}

#[test]
fn readers_are_told_of_a_dead_writer_until_one_who_writes_was() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(7_u32).unwrap();
        let victim = Victim::start(write_and_die, lock.clone()).arrived();
        would_wait(lock.try_read());
        thread::scope(|scope| {
            let reader = scope.spawn(|| match lock.read() {
                Err(Failed::OwnerDied { guard, pid }) => (*guard, pid),
                other => panic!("{other:?}"),
            });
            await_waiting(&manager, 1);
            victim.shoot();
            assert_eq!(reader.join().unwrap(), (7, victim.pid()));
        });
        assert!(matches!(lock.read(), Err(Failed::OwnerDied { .. })));
        match lock.write() {
            Err(Failed::OwnerDied { mut guard, pid }) => {
                assert_eq!((*guard, pid), (7, victim.pid()));
                *guard = 8;
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*lock.read().unwrap(), 8);
        assert_eq!(*lock.write().unwrap(), 8);
    });
}

#[test]
fn a_dead_reader_is_in_nobodys_way_and_nobody_is_told() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(7_u32).unwrap();
        let victim = Victim::start(read_and_die, lock.clone()).arrived();
        would_wait(lock.try_write());
        victim.kill(&manager);
        assert_eq!(*lock.try_write().unwrap(), 7);
    });
}

#[test]
fn a_writer_killed_while_it_waits_holds_up_nobody() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lock = manager.rwlock(7_u32).unwrap();
        let reads = lock.read().unwrap();
        let victim = Victim::start(write_and_die, lock.clone());
        await_waiting(&manager, 1);
        would_wait(lock.try_read());
        victim.kill(&manager);
        assert_eq!(*lock.try_read().unwrap(), 7);
        drop(reads);
        assert_eq!(*lock.try_write().unwrap(), 7);
    });
}

#[test]
fn many_permits_are_taken_at_once_or_not() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let seats = manager.semaphore(5).unwrap();
        let three = seats.acquire_many(3).unwrap();
        assert!(matches!(seats.try_acquire_many(3), Err(CallError::WouldWait)));
        assert!(matches!(seats.acquire_many_timeout(3, SHORT), Err(CallError::TimedOut)));
        for never in [0, 6] {
            assert!(matches!(seats.acquire_many(never), Err(CallError::Refused(_))));
        }
        assert_eq!(seats.available().unwrap(), 2);
        drop(three);
        assert_eq!(seats.available().unwrap(), 5);
    });
}
