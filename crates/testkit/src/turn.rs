//! Turns: tests that count take the process for themselves, all others share it.
//!
//! libtest runs the tests of one binary in parallel threads of one process, so a test that compares the
//! process's descriptors would count those of its neighbours. A shared turn excludes an exclusive one.
//!
//! Invariants: a poisoned lock is as good as any other (a failed test must not fail its neighbours); a
//! thread holds at most one turn, because a second read lock behind a waiting writer would never be given.

use std::cell::Cell;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

static PROCESS: RwLock<()> = RwLock::new(());

thread_local! {
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// A test's share of the process: any number of tests may hold one at the same time.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub struct Shared {
    _lock: RwLockReadGuard<'static, ()>,
    _mark: Mark,
}

/// The process for one test alone.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub struct Exclusive {
    _lock: RwLockWriteGuard<'static, ()>,
    _mark: Mark,
}

/// Takes a share of the process; `None` when the calling thread has a turn already.
///
/// # Blocking
/// Until no test has the process for itself. That test is under its own watchdog.
pub fn shared() -> Option<Shared> {
    if HELD.get() {
        return None;
    }
    let lock = PROCESS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    Some(Shared { _lock: lock, _mark: Mark::set() })
}

/// Takes the whole process.
///
/// # Blocking
/// Until every other turn has ended. Each is under its own watchdog.
///
/// # Panics
/// When the calling thread has a turn already: it would wait for itself.
pub fn exclusive() -> Exclusive {
    assert!(!HELD.get(), "a test that counts cannot start inside another turn of the same thread");
    let lock = PROCESS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    Exclusive { _lock: lock, _mark: Mark::set() }
}

/// Takes a share of the process if no test has it, or waits to have it, for itself now.
pub fn try_shared() -> Option<Shared> {
    if HELD.get() {
        return None;
    }
    let lock = match PROCESS.try_read() {
        Ok(lock) => lock,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    Some(Shared { _lock: lock, _mark: Mark::set() })
}

/// Takes the whole process if no other test has a turn now.
pub fn try_exclusive() -> Option<Exclusive> {
    if HELD.get() {
        return None;
    }
    let lock = match PROCESS.try_write() {
        Ok(lock) => lock,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    Some(Exclusive { _lock: lock, _mark: Mark::set() })
}

/// Says, as long as it lives, that the thread has a turn.
#[derive(Debug)]
struct Mark;

impl Mark {
    fn set() -> Self {
        HELD.set(true);
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        HELD.set(false);
    }
}
