//! What a thread has while it changes a value: the lock, and a copy.
//!
//! Invariant: what is in shared memory changes in the drop of the guard only, by one store.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread;

use super::Value;
use crate::place::Hold;
use crate::plain::{self, Plain};
use crate::twin;

/// A copy of a [`Value`], and its lock. Dropping it commits the copy, if it was borrowed mutably, and unlocks.
///
/// `Sync`, but not `Send`: the lock is its thread's.
/// ```compile_fail,E0277
/// let value = procession_shm::Value::new(1).unwrap();
/// let guard = value.lock().unwrap();
/// std::thread::scope(|scope| scope.spawn(move || drop(guard)).join().unwrap());
/// ```
///
/// A thread that begins to panic while it has the guard commits nothing: the value is the old one, so there is no poison
/// as of std's mutex. A guard that is forgotten commits nothing, and keeps the lock until its thread ends.
///
/// # If a peer dies
/// Killed with a guard, a thread leaves the old value, and the lock to the next who asks.
///
/// # Examples
/// ```
/// let value = procession_shm::Value::new([1, 2])?;
/// let mut guard = value.lock()?;
/// guard[0] = 10;
/// guard.discard();
/// value.lock()?[1] = 20;
/// assert_eq!(value.get(), [1, 20]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ValueGuard<'a, T: Plain> {
    value: &'a Value<T>,
    hold: Hold<'a>,
    copy: T,
    is_changed: bool,
    was_panicking: bool,
}

impl<'a, T: Plain> ValueGuard<'a, T> {
    #[inline]
    pub(super) fn new(value: &'a Value<T>, hold: Hold<'a>, copy: T) -> Self {
        Self { value, hold, copy, is_changed: false, was_panicking: thread::panicking() }
    }

    /// Unlocks and leaves the value as it was.
    #[inline]
    pub fn discard(mut self) {
        self.is_changed = false;
    }
}

impl<T: Plain> Deref for ValueGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Plain> DerefMut for ValueGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.copy
    }
}

impl<T: Plain> Drop for ValueGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let has_panicked = !self.was_panicking && thread::panicking();
        if self.is_changed && !has_panicked {
            self.value.twin().commit(&self.hold, |words| twin::store(words, plain::bytes_of(&self.copy)));
        }
        // The drop of `hold` unlocks.
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.copy.fmt(f)
    }
}
