//! Words that somebody has stored over: every call comes back, with an error or with the lock, and none panics.

mod memory;

use std::time::{Duration, Instant};

use memory::{Memory, garbage};
use procession_raw::Id;
use procession_sync::{Condvar, Failed, Lock, LockError, Mutex, OrRepair, RLock};
use procession_testkit::guarded;

const SOON: Duration = Duration::from_millis(1);

#[test]
fn the_word_is_where_it_is_looked_for() {
    guarded(|| {
        let mutex = Mutex::new(7_u32).unwrap();
        let memory = Memory::of(&mutex);
        assert_eq!((memory.load(0), memory.load(1)), (0, 7));
        let guard = mutex.lock().unwrap();
        assert_ne!(memory.load(0), 0);
        drop(guard);
    });
}

#[test]
fn a_free_lock_with_a_word_of_garbage_is_taken_or_refused() {
    guarded(|| {
        let mutex = Mutex::new(7_u32).unwrap();
        let memory = Memory::of(&mutex);
        for word in garbage() {
            for form in 0..4 {
                memory.store(0, word);
                let taken = match form {
                    0 => mutex.lock(),
                    1 => mutex.try_lock(),
                    2 => mutex.lock_timeout(SOON),
                    _ => mutex.lock_until(Instant::now()),
                };
                // It names this thread, or somebody who died, or is free.
                assert!(
                    !matches!(taken, Err(Failed::TimedOut { .. } | Failed::WouldBlock { .. })),
                    "{word:#x}"
                );
                let deadlock = matches!(taken, Err(Failed::Deadlock));
                drop(taken.or_carry_on());
                let _ = (mutex.is_locked(), mutex.holder());
                assert_eq!(mutex.is_locked(), deadlock, "{word:#x}");
            }
        }
        memory.store(0, 0);
        assert_eq!(*mutex.lock().unwrap(), 7);
    });
}

#[test]
fn a_dead_holder_that_never_was_has_no_name() {
    guarded(|| {
        let lock = Lock::new().unwrap();
        Memory::of(&lock).store(0, 1 << 29 | Id::new(4095, 7).to_bits());
        match lock.lock() {
            Err(Failed::OwnerDied(died)) => {
                assert_eq!((died.dead().pid(), died.dead().participant()), (0, None));
                assert!(format!("{died:?} {}", died.dead()).contains("not known"));
            }
            other => panic!("{other:?}"),
        };
    });
}

#[test]
fn a_held_lock_that_is_stored_over() {
    guarded(|| {
        let (mutex, changed) = (Mutex::new(0_u32).unwrap(), Condvar::new().unwrap());
        let memory = Memory::of(&mutex);
        for word in garbage() {
            memory.store(0, 0);
            let guard = mutex.lock().unwrap();
            memory.store(0, word);
            guard.mark_consistent();
            drop(guard);
            memory.store(0, 0);
            let guard = mutex.lock().unwrap();
            memory.store(0, word);
            drop(changed.wait_timeout(guard, Duration::ZERO));
        }
    });
}

#[test]
fn a_recursive_lock_that_is_stored_over() {
    guarded(|| {
        let lock = RLock::new().unwrap();
        let memory = Memory::of(&lock);
        for word in garbage() {
            for depth in [0, 1, word, u32::MAX] {
                memory.store(0, word);
                memory.store(1, depth);
                drop((lock.lock().or_carry_on(), lock.try_lock(), lock.holder(), lock.is_locked()));
                memory.store(0, 0);
                let outer = lock.lock().unwrap();
                memory.store(1, depth);
                let inner = lock.lock();
                let too_deep = matches!(inner, Err(Failed::Corrupt));
                assert_eq!(too_deep, depth == u32::MAX);
                memory.store(0, word);
                drop((inner, outer));
            }
        }
        memory.store(0, 0);
        let _outer = lock.lock().unwrap();
        memory.store(1, u32::MAX);
        assert_eq!(LockError::from(lock.lock().unwrap_err()), LockError::Corrupt);
    });
}

#[test]
fn a_count_of_notifications_that_is_stored_over() {
    guarded(|| {
        let (mutex, changed) = (Mutex::new(0_u32).unwrap(), Condvar::new().unwrap());
        let memory = Memory::of(&changed);
        for word in garbage() {
            memory.store(0, word);
            changed.notify_one();
            memory.store(0, word);
            changed.notify_n(word);
            memory.store(0, word);
            changed.notify_all();
            memory.store(0, word);
            drop(changed.wait_timeout(mutex.lock().unwrap(), Duration::from_micros(10)).unwrap());
        }
        std::thread::scope(|s| {
            let waiter = s.spawn(|| changed.wait_while(mutex.lock().unwrap(), |n| *n == 0).map(drop).is_ok());
            for word in garbage() {
                memory.store(0, word);
            }
            *mutex.lock().unwrap() = 1;
            while !waiter.is_finished() {
                changed.notify_all();
            }
            assert!(waiter.join().unwrap());
        });
    });
}
