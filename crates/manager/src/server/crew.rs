//! The threads in which code of the user's runs: each has one job at a time, and a job never waits for a thread.
//!
//! A thread that had nothing to do for two seconds ends.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use procession_process::catch_panic;

/// How long a thread stays that has nothing to do.
const IDLE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce() + Send>;

/// Clone: all clones are one.
#[derive(Clone, Default)]
pub(super) struct Crew(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    come: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    n_idle: usize,
}

impl Crew {
    /// Runs `job` in a thread; without one, here. To be called without a lock that the job needs.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() <= state.n_idle {
            return self.0.come.notify_one();
        }
        drop(state);
        let crew = self.clone();
        if thread::Builder::new().name("procession-crew".into()).spawn(move || crew.work()).is_err() {
            let job = self.state().jobs.pop_back();
            job.into_iter().for_each(carry_out);
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                carry_out(job);
                state = self.state();
                continue;
            }
            state.n_idle += 1;
            let woken = self.0.come.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken.0;
            state.n_idle -= 1;
            if woken.1.timed_out() && state.jobs.is_empty() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that panics has told whom it concerns, or it concerns nobody.
fn carry_out(job: Job) {
    let _ = catch_panic(job);
}
