//! A value that threads use in turn, with a deadline on waiting for one's turn.
//!
//! A `Mutex` around the value would do, had it a timed lock: a thread may hold its turn as long as it blocks in the
//! kernel. Invariant: the value is in its place exactly while nobody has the turn.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use procession_sys::Deadline;

#[derive(Debug)]
pub(crate) struct Turn<T> {
    place: Mutex<Place<T>>,
    free: Condvar,
}

#[derive(Debug)]
struct Place<T> {
    value: Option<T>,
    n_waiting: usize,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { place: Mutex::new(Place { value: Some(value), n_waiting: 0 }), free: Condvar::new() }
    }

    /// Waits for the turn; `None` at the deadline.
    pub(crate) fn take(&self, deadline: Deadline) -> Option<Taken<'_, T>> {
        let mut place = self.place();
        loop {
            if let Some(value) = place.value.take() {
                return Some(Taken { turn: self, value: Some(value) });
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            place.n_waiting += 1;
            place = match left {
                Some(left) => self.free.wait_timeout(place, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.free.wait(place).unwrap_or_else(PoisonError::into_inner),
            };
            place.n_waiting -= 1;
        }
    }

    /// The turn, if nobody has it and nobody waits for it.
    pub(crate) fn take_unwanted(&self) -> Option<Taken<'_, T>> {
        let mut place = self.place();
        let value = if place.n_waiting == 0 { place.value.take() } else { None };
        drop(place);
        value.map(|value| Taken { turn: self, value: Some(value) })
    }

    fn place(&self) -> MutexGuard<'_, Place<T>> {
        // No code of others runs under the lock: nothing can be half changed.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn, and the value with it; passed on when dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a, T> {
    turn: &'a Turn<T>,
    /// `Some` until the drop.
    value: Option<T>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        let Some(value) = &self.value else { unreachable!("a turn is passed on only by its drop") };
        value
    }
}

impl<T> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let Some(value) = &mut self.value else { unreachable!("a turn is passed on only by its drop") };
        value
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let mut place = self.turn.place();
        place.value = self.value.take();
        let wanted = place.n_waiting > 0;
        drop(place);
        if wanted {
            self.turn.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_given_back_by_a_panic() {
        let turn = Turn::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..1000 {
                        *turn.take(Deadline::NEVER).unwrap() += 1;
                    }
                });
            }
        });
        let held = turn.take(Deadline::NEVER).unwrap();
        assert_eq!(*held, 4000);
        assert!(turn.take(Deadline::now()).is_none());
        drop(held);
        let panicked = std::thread::scope(|s| {
            let holder = s.spawn(|| {
                let _held = turn.take(Deadline::NEVER);
                panic!("on purpose");
            });
            holder.join().is_err()
        });
        assert!(panicked && turn.take(Deadline::now()).is_some());
    }
}
