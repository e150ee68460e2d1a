//! The thread that runs callbacks: one after the other, in the order their tasks were done.
//!
//! It is started by the first callback that is asked for, and ends with the pool, when no callback is left that may still
//! come; a callback asked for later has a thread of its own again. It holds nothing of the pool, so a callback may do with
//! that what it likes, also end it.
//!
//! Invariants: a callback runs once, after the outcome of its task is there and so after the worker is dead if it died;
//! under no lock; a panic in one ends that one. Held by the contract (`callbacks`).

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use procession_sys::{Deadline, OsError};

type Callback = Box<dyn FnOnce() + Send>;

pub(crate) struct Herald {
    name: Arc<str>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order they came.
    ready: VecDeque<Callback>,
    /// Callbacks that were promised, and are not over.
    n_expected: usize,
    /// Runs while callbacks are expected, and until the pool has ended.
    thread: Option<JoinHandle<()>>,
    /// The thread has nothing to do any more.
    is_done: bool,
    /// The pool has ended.
    is_over: bool,
}

impl State {
    fn take_done(&mut self) -> Option<JoinHandle<()>> {
        self.thread.take_if(|_| self.is_done)
    }
}

impl Herald {
    pub(crate) fn of(pool: &Arc<str>) -> Self {
        Self { name: Arc::clone(pool), state: Mutex::default(), news: Condvar::new() }
    }

    /// As of a pool that has ended.
    pub(crate) fn after(pool: &Arc<str>) -> Self {
        let herald = Self::of(pool);
        herald.state().is_over = true;
        herald
    }

    /// A callback is to come: there is a thread for it.
    pub(crate) fn expect(self: &Arc<Self>) -> Result<(), OsError> {
        let mut state = self.state();
        if state.thread.is_none() || state.is_done {
            let herald = Arc::clone(self);
            let thread = thread::Builder::new().name(format!("{}-callbacks", self.name));
            let thread = thread.spawn(move || herald.run());
            let thread = thread.map_err(|e| OsError::new("starting the thread for callbacks", e))?;
            (state.thread, state.is_done) = (Some(thread), false);
        }
        state.n_expected += 1;
        Ok(())
    }

    /// The callback that was to come.
    pub(crate) fn push(&self, callback: Callback) {
        self.state().ready.push_back(callback);
        self.news.notify_all();
    }

    /// Waits until no callback is left, also none that may still come: false at the deadline. Callbacks do not wait for
    /// themselves.
    pub(crate) fn wait(&self, deadline: Deadline) -> bool {
        self.wait_until(deadline, |state| state.n_expected == 0)
    }

    /// The pool has ended, and every task has its outcome. Waits until the callbacks are over, or the deadline has passed.
    pub(crate) fn end(&self, deadline: Deadline) {
        self.state().is_over = true;
        self.news.notify_all();
        if self.wait_until(deadline, |state| state.is_done || state.thread.is_none())
            && !self.is_this_thread()
        {
            // It ends now; nothing of it is to be left when the pool is gone.
            let thread = self.state().take_done();
            thread.map(JoinHandle::join);
        }
    }

    fn is_this_thread(&self) -> bool {
        self.state().thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id())
    }

    fn wait_until(&self, deadline: Deadline, is_it: impl Fn(&State) -> bool) -> bool {
        if self.is_this_thread() {
            return true;
        }
        let mut state = self.state();
        while !is_it(&state) {
            state = match deadline.remaining() {
                Some(left) if left.is_zero() => return false,
                Some(left) => self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    fn run(&self) {
        loop {
            let mut state = self.state();
            let callback = loop {
                if let Some(callback) = state.ready.pop_front() {
                    break callback;
                }
                if state.is_over && state.n_expected == 0 {
                    state.is_done = true;
                    self.news.notify_all();
                    return;
                }
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            // The hook has told of a panic. Dropping what it carries could panic again.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) {
                std::mem::forget(payload);
            }
            self.state().n_expected -= 1;
            self.news.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Herald")
    }
}
