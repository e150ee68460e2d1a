//! What is lent: one has it at a time, in order, and it comes back, whoever is killed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use procession_manager::{CallError, LockFailed, Manager, Mutex, Permit, Semaphore};
use procession_pipe::{Duplex, pipe};
use procession_process::spawn;
use procession_testkit::guarded;

const SHORT: Duration = Duration::from_millis(3);

type End = Duplex<(), ()>;

/// Has the lock, changes its copy, and says so; never ends by itself.
fn hold((mutex, end): (Mutex<Vec<u32>>, End)) {
    let mut guard = mutex.lock().unwrap();
    guard.push(99);
    end.send(&()).unwrap();
    let _ = end.recv();
    guard.commit().unwrap();
}

#[test]
fn no_change_under_a_lock_is_lost() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let mutex = manager.mutex(0_u64).unwrap();
        let task = |mutex: Mutex<u64>| {
            for n in 0..60 {
                let mut guard = mutex.lock().unwrap();
                *guard += 1;
                if n % 2 == 0 {
                    guard.commit().unwrap();
                }
            }
        };
        let children: Vec<_> = (0..3).map(|_| spawn(task, mutex.clone()).unwrap()).collect();
        thread::scope(|scope| {
            for _ in 0..2 {
                let mutex = mutex.clone();
                scope.spawn(move || task(mutex));
            }
        });
        for child in children {
            child.join().unwrap();
        }
        assert_eq!(*mutex.lock().unwrap(), 300);
    });
}

#[test]
fn the_next_owner_is_told_once_of_one_that_was_killed_and_has_the_value_before() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let mutex = manager.mutex(vec![1_u32]).unwrap();
        let (ours, theirs) = pipe().unwrap();
        let child = spawn(hold, (mutex.clone(), theirs)).unwrap();
        ours.recv().unwrap();
        let held = mutex.try_lock();
        assert!(matches!(held, Err(LockFailed::Call(CallError::WouldWait))), "{held:?}");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| match mutex.lock() {
                Err(LockFailed::OwnerDied { guard, pid }) => (guard.clone(), pid),
                other => panic!("{other:?}"),
            });
            child.kill().unwrap();
            assert_eq!(waiting.join().unwrap(), (vec![1], child.pid()));
        });
        assert_eq!(*mutex.lock().unwrap(), [1]);
        assert!(child.join().is_err());
    });
}

#[test]
fn one_that_gives_up_is_not_lent_anything() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (mutex, semaphore) = (manager.mutex(vec![0_u32]).unwrap(), manager.semaphore(1).unwrap());
        let (ours, theirs) = pipe().unwrap();
        let child = spawn(hold, (mutex.clone(), theirs)).unwrap();
        ours.recv().unwrap();
        let permit = semaphore.acquire().unwrap();
        for _ in 0..3 {
            let late = mutex.lock_timeout(SHORT);
            assert!(matches!(late, Err(LockFailed::Call(CallError::TimedOut))), "{late:?}");
            assert!(matches!(semaphore.acquire_timeout(SHORT), Err(CallError::TimedOut)));
        }
        ours.send(&()).unwrap();
        drop(permit);
        child.join().unwrap();
        assert_eq!(*mutex.lock().unwrap(), [0, 99]);
        assert_eq!(semaphore.available().unwrap(), 1);
    });
}

/// Some give up at the very moment at which it is lent to them: it is never lost.
#[test]
fn limits_that_end_when_it_is_lent_lose_nothing() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let semaphore = manager.semaphore(1).unwrap();
        let n_got = AtomicU32::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (semaphore, n_got) = (&semaphore, &n_got);
                scope.spawn(move || {
                    for n in 0..50 {
                        let got = semaphore.acquire_timeout(Duration::from_micros(20 + thread * 7 + n));
                        match got {
                            Ok(permit) => drop((permit, n_got.fetch_add(1, Ordering::Relaxed))),
                            Err(error) => assert!(matches!(error, CallError::TimedOut), "{error:?}"),
                        }
                    }
                });
            }
        });
        assert_eq!(semaphore.available().unwrap(), 1, "after {n_got:?} that got it");
    });
}

#[test]
fn permits_of_a_killed_client_are_free() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let semaphore = manager.semaphore(3).unwrap();
        let (ours, theirs) = pipe().unwrap();
        let task = |(semaphore, end): (Semaphore, End)| {
            let permits: Vec<Permit> = (0..3).map(|_| semaphore.acquire().unwrap()).collect();
            end.send(&()).unwrap();
            let _ = end.recv();
            drop(permits);
        };
        let child = spawn(task, (semaphore.clone(), theirs)).unwrap();
        ours.recv().unwrap();
        assert!(matches!(semaphore.try_acquire(), Err(CallError::WouldWait)));
        child.kill().unwrap();
        let permits: Vec<Permit> = (0..3).map(|_| semaphore.acquire().unwrap()).collect();
        drop(permits);
        assert_eq!(semaphore.available().unwrap(), 3);
        assert!(child.join().is_err());
    });
}

#[test]
fn a_thread_that_panics_under_a_lock_gives_it_back_without_its_change() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let mutex = manager.mutex(1_u8).unwrap();
        thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let mut guard = mutex.lock().unwrap();
                *guard = 2;
                panic!("on purpose");
            });
            assert!(panicking.join().is_err());
        });
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}
