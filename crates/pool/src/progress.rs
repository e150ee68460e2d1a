//! How far a map is: [`Progress`], and who is told of it.
//!
//! Hooks are called by the thread that asks for results, while it waits for one and when it gets one: no worker waits for
//! them, no lock is held, and whoever stops asking hears nothing more. Invariants: what is told counts finished tasks,
//! each once, and never less than results were given out. Held by `tests/progress.rs`.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::par::{Outcomes, ParIter};

#[cfg(feature = "progress")]
mod bar;
#[cfg(feature = "progress")]
mod plain;

/// While it waits for a result, who asks for results looks this often after items that are done within a chunk.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// How far a map is; for [`on_progress`](ParIter::on_progress).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tasks that have their outcome, taken or not.
    pub done: usize,
    /// Those of them that failed; of a chunk that is being run, the last to be counted.
    pub failed: usize,
    /// How many there are, once that is known: from the start if the iterator over the items
    /// [knows](Iterator::size_hint) exactly, else at its end.
    pub total: Option<usize>,
    /// Time since the map was made.
    pub elapsed: Duration,
}

impl Progress {
    /// Whether every task has its outcome.
    pub fn is_over(&self) -> bool {
        self.total == Some(self.done)
    }
}

type Hook<'p> = Box<dyn FnMut(Progress) + Send + 'p>;

/// Who is told of the progress of a map. The lock is for `Sync`, and never waited for.
#[derive(Default)]
pub(crate) struct Hooks<'p>(Vec<Mutex<Hook<'p>>>);

impl<'p> Hooks<'p> {
    pub(crate) fn push(&mut self, hook: impl FnMut(Progress) + Send + 'p) {
        self.0.push(Mutex::new(Box::new(hook)));
    }
}

/// What was told of a map so far.
pub(crate) struct Watch<'p> {
    hooks: Hooks<'p>,
    began: Instant,
    told: Option<(usize, usize, Option<usize>)>,
    /// Tasks whose outcomes had been delivered when that was told.
    pub(crate) n_delivered: usize,
}

impl<'p> Watch<'p> {
    pub(crate) fn of(hooks: Hooks<'p>) -> Self {
        Self { hooks, began: Instant::now(), told: None, n_delivered: 0 }
    }

    pub(crate) fn push(&mut self, hook: impl FnMut(Progress) + Send + 'p) {
        self.hooks.push(hook);
        self.told = None;
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.hooks.0.is_empty()
    }

    /// Tells it, if it is news.
    pub(crate) fn tell(&mut self, done: usize, failed: usize, total: Option<usize>) {
        // What a damaged journal showed may have been too much.
        let done = done.max(self.told.map_or(0, |(done, ..)| done)).min(total.unwrap_or(usize::MAX));
        let news = Some((done, failed, total));
        if self.told == news {
            return;
        }
        self.told = news;
        let progress = Progress { done, failed, total, elapsed: self.began.elapsed() };
        for hook in &mut self.hooks.0 {
            hook.get_mut().unwrap_or_else(PoisonError::into_inner)(progress);
        }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("told", &self.told).finish_non_exhaustive()
    }
}

impl<'p, I: Iterator> ParIter<'p, I> {
    /// Calls `hook` as tasks are finished: by the thread that asks for results, while it waits and when it gets one, so
    /// it is told late while that thread does something else. Several tasks may be told of at once. A task counts when it is
    /// finished, also where the results of earlier ones are still awaited; within a chunk a fifth of a second later at
    /// most. The last call, at the end of the map at the latest, has `done == total`.
    ///
    /// The hook does not slow workers, unless it takes so long that they run out of work. Several hooks are called one after
    /// the other. If it panics, the call of `next` does; no result is lost.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ParProcs, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let mut last = None;
    /// let roots = [1.0, 4.0, 9.0].par_procs(&pool).on_progress(|progress| last = Some(progress)).map(f64::sqrt);
    /// assert_eq!(roots.sum::<Result<f64, _>>()?, 6.0);
    /// let last = last.expect("it was told");
    /// assert_eq!((last.done, last.failed, last.total), (3, 0, Some(3)));
    /// # Ok(()) }
    /// ```
    pub fn on_progress(mut self, hook: impl FnMut(Progress) + Send + 'p) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Shows the progress on standard error: a bar where that is a terminal, else plain lines, one for each tenth of the
    /// whole but none within a second of the one before, or, where the number of items is not known, one a second; and
    /// one at the end. It is shown by the thread that asks for results, as for [`on_progress`](Self::on_progress). When
    /// all is done it stays; when the results are dropped before, a bar is removed.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ParProcs, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let lengths = ["one", "three"].map(String::from).par_procs(&pool).progress().map(|s: String| s.len());
    /// assert_eq!(lengths.sum::<Result<usize, _>>()?, 8);
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(self) -> Self {
        let shown = bar::shown(&self.pool.shared().name);
        self.on_progress(shown)
    }
}

impl<'p, I: Iterator<Item = A>, A, R> Outcomes<'p, I, A, R> {
    /// [`ParIter::on_progress`], after `map`.
    pub fn on_progress(mut self, hook: impl FnMut(Progress) + Send + 'p) -> Self {
        self.watch.push(hook);
        self
    }

    /// [`ParIter::progress`], after `map`.
    #[cfg(feature = "progress")]
    pub fn progress(self) -> Self {
        let shown = bar::shown(&self.pool.shared().name);
        self.on_progress(shown)
    }
}
