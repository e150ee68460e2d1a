//! A forked child has copies of its parent's guards, and holds nothing: it commits nothing, gives nothing back, and has to
//! wait as everybody else.
//!
//! # Safety
//! The forks are made by libc's `fork`; each child runs one function and ends with `_exit`.
#![allow(unsafe_code, reason = "fork has no safe form")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use procession_raw::{Lock, LockError};
use procession_shm::{Cell, Encoded, Shared, Value, ValueError, Wait};
use procession_sys::Deadline;
use procession_testkit::guarded;

/// Forks, and says in the child that it is one: 0.
fn fork() -> i32 {
    // SAFETY: the child uses what was made before the fork and libc's allocator, which can be used after a fork; every
    // caller ends it with `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    pid
}

/// Waits for the child's end, which must be a good one.
fn reap(pid: i32) {
    let mut status = 0;
    // SAFETY: waits for a child, and writes one local variable.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((reaped, status), (pid, 0));
}

/// Runs `child` in a forked child and waits for its end.
fn forked(child: impl FnOnce()) {
    match fork() {
        0 => {
            let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
            procession_sys::child::end_now(i32::from(failed));
        }
        pid => reap(pid),
    }
}

#[test]
fn the_copy_of_a_value_s_guard_commits_nothing_and_unlocks_nothing() {
    guarded(|| {
        let value = Value::new(1).unwrap();
        let mut guard = Some(value.lock().unwrap());
        **guard.as_mut().unwrap() = 2;
        forked(|| {
            let mut copy = guard.take().unwrap();
            *copy = 3;
            drop(copy);
            assert_eq!(value.get(), 1);
            let error = value.set_timeout(4, Duration::from_millis(1)).unwrap_err();
            assert!(matches!(error, ValueError::TimedOut { holder: Some(_) }), "{error}");
        });
        assert_eq!((value.get(), value.set(5)), (1, Err(ValueError::Deadlock)));
        drop(guard);
        assert_eq!(value.get(), 2);
        // And the other way round: what the child locks is the child's.
        forked(|| value.update(|n| *n += 1).unwrap());
        assert_eq!(value.get(), 3);
    });
}

/// Both come out of the update; the child first.
#[test]
fn a_fork_in_the_middle_of_an_update_commits_once() {
    guarded(|| {
        let value = Value::new(1).unwrap();
        let pid = value.update(|n| match fork() {
            0 => (0, *n = 100).0,
            pid => {
                reap(pid);
                assert_eq!((value.get(), value.set(7)), (1, Err(ValueError::Deadlock)));
                (pid, *n = 2).0
            }
        });
        if pid == Ok(0) {
            procession_sys::child::end_now(i32::from(value.get() != 1));
        }
        assert_eq!((value.get(), value.try_update(|n| *n)), (2, Ok(2)));

        let text = Encoded::<String>::with_capacity(64, &"a".into()).unwrap();
        let pid = text.update(|text| match fork() {
            0 => (0, text.push('c')).0,
            pid => {
                reap(pid);
                (pid, text.push('b')).0
            }
        });
        if matches!(pid, Ok(0)) {
            procession_sys::child::end_now(i32::from(text.get().unwrap() != "a"));
        }
        assert_eq!(text.get().unwrap(), "ab");
    });
}

#[test]
fn the_copy_of_a_cell_s_guard_gives_nothing_back() {
    guarded(|| {
        let cell = Cell::<Lock, u64>::create(1).unwrap();
        let lock = |deadline| cell.lock(Wait(deadline)).map(|(guard, _)| guard);
        let mut guard = Some(lock(Deadline::NEVER).unwrap());
        let holder = cell.holder();
        forked(|| {
            drop(guard.take());
            assert_eq!(cell.holder(), holder);
            assert_eq!(lock(Deadline::now()).map(drop), Err(LockError::TimedOut(holder.unwrap())));
        });
        assert_eq!(cell.holder(), holder);
        drop(guard);
        assert_eq!(cell.holder(), None);
        assert_eq!(lock(Deadline::now()).map(|guard| *guard), Ok(1));
    });
}
