//! A value that threads use in turn, with a deadline on waiting for one's turn.
//!
//! A `Mutex` around the value would do, had it a timed lock: a thread may hold its turn as long as it blocks in the
//! kernel. So those who find it taken sleep on a condition beside it.
//!
//! Invariant: nobody sleeps while the value is free. A waiter counts itself, then tries, then sleeps; who gives the value
//! back frees it, then reads the count, with a change of it that changes nothing. Changes of one word have an order:
//! either the waiter's came first, and he is woken, or he sees what was freed before the other's.
//!
//! A future waits as a thread does, with its waker in the place of the condition ([`Ticket`]), and keeps its turn between
//! two looks without a guard, which would bind it to a thread ([`Kept`]).

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;

use procession_sys::Deadline;

#[derive(Debug)]
pub(crate) struct Turn<T> {
    value: Mutex<T>,
    /// Somebody has it though it is not locked.
    is_kept: AtomicBool,
    n_waiting: AtomicUsize,
    queue: Mutex<Wakers>,
    free: Condvar,
}

/// The futures that wait.
#[derive(Debug, Default)]
struct Wakers {
    list: Vec<(u64, Waker)>,
    #[cfg(feature = "async")]
    next_id: u64,
}

impl<T> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            is_kept: AtomicBool::new(false),
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
        if self.is_kept.load(Ordering::SeqCst) {
            return None;
        }
        let taken = self.lock_if_free()?;
        // If it was kept meanwhile, it is given back as any turn is, because somebody may have found it locked by us.
        if self.is_kept.load(Ordering::SeqCst) { None } else { Some(taken) }
    }

    /// [`try_take`](Self::try_take) with the queue locked, in which nobody else finds anything.
    fn try_take_queued(&self) -> Option<Taken<'_, T>> {
        if self.is_kept.load(Ordering::SeqCst) {
            return None;
        }
        let mut taken = self.lock_if_free()?;
        if self.is_kept.load(Ordering::SeqCst) {
            taken.value = None;
            std::mem::forget(taken);
            return None;
        }
        Some(taken)
    }

    #[inline]
    fn lock_if_free(&self) -> Option<Taken<'_, T>> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            // A panic leaves what its call left, as an error does.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Taken { turn: self, value: Some(value) })
    }

    /// The turn for a future; `None` if it is not free, and then `waker` is woken when it may be.
    #[cfg(feature = "async")]
    pub(crate) fn take_or_wake<'a>(
        &'a self,
        ticket: &mut Option<Ticket<'a, T>>,
        waker: &Waker,
    ) -> Option<Taken<'a, T>> {
        if let Some(taken) = self.try_take() {
            *ticket = None;
            return Some(taken);
        }
        // The one before: its waker may be another.
        *ticket = None;
        let mut queue = self.queue();
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        if let Some(taken) = self.try_take_queued() {
            self.n_waiting.fetch_sub(1, Ordering::SeqCst);
            return Some(taken);
        }
        queue.next_id += 1;
        let id = queue.next_id;
        queue.list.push((id, waker.clone()));
        *ticket = Some(Ticket { turn: self, id });
        None
    }

    #[cold]
    fn wait(&self, deadline: Deadline) -> Option<Taken<'_, T>> {
        if deadline.has_passed() {
            return None;
        }
        let mut queue = self.queue();
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let taken = loop {
            let taken = self.try_take_queued();
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
        let wakers = std::mem::take(&mut self.queue().list);
        self.n_waiting.fetch_sub(wakers.len(), Ordering::SeqCst);
        self.free.notify_one();
        wakers.into_iter().for_each(|(_, waker)| procession_sys::reactor::wake(waker));
    }

    fn queue(&self) -> MutexGuard<'_, Wakers> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn given_back(&self) {
        if self.n_waiting.fetch_add(0, Ordering::SeqCst) > 0 {
            self.wake();
        }
    }
}

/// The place of a future among those who wait for the turn.
#[cfg(feature = "async")]
#[derive(Debug)]
pub(crate) struct Ticket<'a, T> {
    turn: &'a Turn<T>,
    id: u64,
}

#[cfg(feature = "async")]
impl<T> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        let mut queue = self.turn.queue();
        let index = queue.list.iter().position(|(id, _)| *id == self.id);
        let waker = index.map(|index| queue.list.swap_remove(index));
        drop(queue);
        // If it was woken, all other futures were, and a thread.
        if waker.is_some() {
            self.turn.n_waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A turn that is kept, by whatever thread.
#[cfg(feature = "async")]
#[derive(Debug)]
pub(crate) struct Kept<'a, T>(&'a Turn<T>);

#[cfg(feature = "async")]
impl<'a, T> Kept<'a, T> {
    /// The value, for a moment.
    pub(crate) fn value(&self) -> MutexGuard<'a, T> {
        self.0.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "async")]
impl<T> Drop for Kept<'_, T> {
    fn drop(&mut self) {
        self.0.is_kept.store(false, Ordering::SeqCst);
        self.0.given_back();
    }
}

#[cfg(feature = "async")]
impl<'a, T> Taken<'a, T> {
    /// Keeps the turn without a guard.
    pub(crate) fn keep(mut self) -> Kept<'a, T> {
        self.turn.is_kept.store(true, Ordering::SeqCst);
        self.value = None;
        Kept(self.turn)
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
        if !self.turn.is_kept.load(Ordering::SeqCst) {
            self.turn.given_back();
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
