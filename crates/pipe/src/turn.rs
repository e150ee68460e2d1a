//! A value that threads use in turn, with a deadline on waiting for one's turn.
//!
//! A `Mutex` around the value would do, had it a timed lock: a thread may hold its turn as long as it blocks in the
//! kernel. So those who find it taken sleep on a condition beside it.
//!
//! Invariant: nobody sleeps while the value is free. A waiter counts itself, then tries, then sleeps; who gives the value
//! back frees it, then reads the count, with a change of it that changes nothing. Changes of one word have an order:
//! either the waiter's came first, and he is woken, or he sees what was freed before the other's.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use procession_sys::Deadline;

#[derive(Debug)]
pub(crate) struct Turn<T> {
    value: Mutex<T>,
    n_waiting: AtomicUsize,
    queue: Mutex<()>,
    free: Condvar,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            n_waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            free: Condvar::new(),
        }
    }

    /// Waits for the turn; `None` at the deadline.
    #[inline]
    pub(crate) fn take(&self, deadline: Deadline) -> Option<Taken<'_, T>> {
        self.try_take().or_else(|| self.wait(deadline))
    }

    /// The turn, if nobody has it and nobody waits for it.
    pub(crate) fn take_unwanted(&self) -> Option<Taken<'_, T>> {
        if self.n_waiting.load(Ordering::SeqCst) > 0 { None } else { self.try_take() }
    }

    #[inline]
    fn try_take(&self) -> Option<Taken<'_, T>> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            // A panic leaves what its call left, as an error does.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Taken { turn: self, value: Some(value) })
    }

    #[cold]
    fn wait(&self, deadline: Deadline) -> Option<Taken<'_, T>> {
        if deadline.has_passed() {
            return None;
        }
        let mut queue = self.queue();
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let taken = loop {
            let taken = self.try_take();
            let left = deadline.remaining();
            if taken.is_some() || left.is_some_and(|left| left.is_zero()) {
                break taken;
            }
            queue = match left {
                Some(left) => self.free.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.free.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        };
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        taken
    }

    #[cold]
    fn wake(&self) {
        // With the queue locked whoever counted himself sleeps, or has tried again.
        drop(self.queue());
        self.free.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, ()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn, and the value with it; passed on when dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a, T> {
    turn: &'a Turn<T>,
    /// `Some` until the drop.
    value: Option<MutexGuard<'a, T>>,
}

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let Some(value) = &self.value else { unreachable!("a turn is passed on only by its drop") };
        value
    }
}

impl<T> DerefMut for Taken<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let Some(value) = &mut self.value else { unreachable!("a turn is passed on only by its drop") };
        value
    }
}

impl<T> Drop for Taken<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.value = None;
        if self.turn.n_waiting.fetch_add(0, Ordering::SeqCst) > 0 {
            self.turn.wake();
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

    #[test]
    fn who_waits_is_wanted_and_gives_up_at_the_deadline() {
        procession_testkit::guarded(who_waits);
    }

    fn who_waits() {
        use std::time::Duration;
        let turn = Turn::new(());
        let held = turn.take(Deadline::NEVER).unwrap();
        std::thread::scope(|s| {
            assert!(turn.take(Deadline::after(Duration::from_millis(5))).is_none());
            let waiter = s.spawn(|| turn.take(Deadline::NEVER).map(drop));
            while turn.n_waiting.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            assert!(turn.take_unwanted().is_none());
            drop(held);
            assert!(waiter.join().unwrap().is_some());
        });
        assert!(turn.take_unwanted().is_some());
    }

    #[test]
    fn a_free_turn_that_somebody_wants_is_his() {
        let turn = Turn::new(());
        turn.n_waiting.fetch_add(1, Ordering::SeqCst);
        assert!(turn.take_unwanted().is_none());
        assert!(turn.take(Deadline::now()).is_some());
        turn.n_waiting.fetch_sub(1, Ordering::SeqCst);
        assert!(turn.take_unwanted().is_some());
    }
}
