//! Who is told when a task has its outcome, other than threads that wait at its sink.
//!
//! Outcomes are delivered under the crew's lock. What belongs to this crate is told there: it takes no lock but its own,
//! and runs no code of users. Wakers belong to others, and may do anything, so they go to the [`Outbox`] and are woken
//! by whoever lets go of the crew's lock: the [`Guard`] sees to it.
//!
//! Invariant: no code of users runs under the crew's lock. Held by `a_waker_that_uses_the_pool` of the umbrella's futures,
//! and `callbacks_use_the_pool` of the contract.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use procession_sys::Deadline;

use crate::crew::Crew;

/// What to do, once, when there is news of a task.
pub(crate) enum Notice {
    /// Something of ours.
    Call(Box<dyn FnOnce() + Send>),
    /// Something of others.
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "futures alone use it"))]
    Wake(Waker, Arc<Outbox>),
}

impl Notice {
    /// With the crew's lock.
    pub(crate) fn post(self) {
        match self {
            Self::Call(call) => call(),
            Self::Wake(waker, outbox) => outbox.push(waker),
        }
    }

    /// Without any lock.
    pub(crate) fn deliver(self) {
        match self {
            Self::Call(call) => call(),
            Self::Wake(waker, _) => waker.wake(),
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

/// Wakers that wait for the end of the crew's lock.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    wakers: Mutex<Vec<Waker>>,
    has_some: AtomicBool,
}

impl Outbox {
    fn push(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
        self.has_some.store(true, Ordering::Release);
    }

    /// Whether somebody is to be woken who does what he likes.
    pub(crate) fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Relaxed)
    }

    fn empty(&self) {
        // Whoever pushed does this itself, so it sees its own store.
        if !self.has_some.load(Ordering::Relaxed) || !self.has_some.swap(false, Ordering::Acquire) {
            return;
        }
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in wakers {
            // A panic is told by the hook; it is not to end the collector, nor a caller that unwinds already.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                std::mem::forget(payload);
            }
        }
    }
}

/// The crew's lock. Whoever lets it go wakes who was told of under it.
pub(crate) struct Guard<'a> {
    /// `None` only while waiting, and at the end.
    crew: Option<MutexGuard<'a, Crew>>,
    outbox: &'a Outbox,
}

impl<'a> Guard<'a> {
    pub(crate) fn new(crew: &'a Mutex<Crew>, outbox: &'a Outbox) -> Self {
        // No code of users runs under the lock; what could panic there is a bug that must not hang others.
        Self { crew: Some(crew.lock().unwrap_or_else(PoisonError::into_inner)), outbox }
    }

    /// Waits for `news`, or the deadline: false if that has passed.
    pub(crate) fn wait(&mut self, news: &Condvar, deadline: Deadline) -> bool {
        let left = deadline.remaining();
        if left.is_some_and(|left| left.is_zero()) {
            return false;
        }
        let Some(mut crew) = self.crew.take() else { return false };
        crew.n_waiting += 1;
        let mut crew = match left {
            Some(left) => news.wait_timeout(crew, left).unwrap_or_else(PoisonError::into_inner).0,
            None => news.wait(crew).unwrap_or_else(PoisonError::into_inner),
        };
        crew.n_waiting -= 1;
        self.crew = Some(crew);
        true
    }
}

impl Deref for Guard<'_> {
    type Target = Crew;

    fn deref(&self) -> &Crew {
        self.crew.as_ref().expect("the lock is held outside of waits")
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Crew {
        self.crew.as_mut().expect("the lock is held outside of waits")
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.crew = None;
        self.outbox.empty();
    }
}
