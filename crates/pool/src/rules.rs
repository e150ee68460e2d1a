//! What may become of a task: its time limit, how often it is tried, and whom it lets go first. Settings of a pool, and of single tasks where they differ.

use std::fmt;
use std::time::Duration;

use procession_codec::Message;

use crate::origin::Shown;

/// What holds for the tasks of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long a task may take.
    pub(crate) timeout: Option<Duration>,
    /// How often it may be begun again after it has cost a worker.
    pub(crate) retries: u32,
    /// How many workers may die of it.
    pub(crate) poison_after: u32,
    /// How errors show the argument.
    pub(crate) shown: Option<Shown>,
    /// What errors call the function.
    pub(crate) label: Option<&'static str>,
    pub(crate) priority: Priority,
}

impl Rules {
    pub(crate) const DEFAULT: Self = Self {
        timeout: None,
        retries: 0,
        poison_after: 3,
        priority: Priority::Normal,
        shown: None,
        label: None,
    };
}

/// Which tasks go first.
///
/// A worker that has nothing to do gets the oldest of the waiting tasks of the highest priority. So tasks of one priority
/// begin in the order they were given, and one of a lower priority begins only when none of a higher one waits: where those
/// keep coming, it waits for ever. What runs is not interrupted, and a chunk of a map is one thing: one of higher priority
/// waits for it. What comes back from a worker that died is the first of its priority again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// As if there were no priorities.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

/// How tasks are run, where that differs from the settings of their pool. For [`Pool::submit_with`](crate::Pool::submit_with)
/// and [`ParIter::options`](crate::ParIter::options).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct TaskOptions {
    timeout: Option<Duration>,
    retries: Option<u32>,
    poison_after: Option<u32>,
    shown: Option<Shown>,
    label: Option<&'static str>,
    priority: Option<Priority>,
}

impl TaskOptions {
    /// As the pool has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`Builder::task_timeout`](crate::Builder::task_timeout). [`Duration::MAX`]: no limit.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// See [`Builder::retries`](crate::Builder::retries).
    pub fn retries(mut self, n: u32) -> Self {
        self.retries = Some(n);
        self
    }

    /// See [`Builder::poison_after`](crate::Builder::poison_after).
    pub fn poison_after(mut self, n_workers: u32) -> Self {
        self.poison_after = Some(n_workers);
        self
    }

    /// Errors of these tasks show the argument, of type `A`, as its debug text: some 200 characters of it. Costs nothing
    /// unless a task fails: then the argument is decoded once more. Arguments with handles are not shown.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskOptions};
    ///
    /// let pool = Pool::new(1)?;
    /// let shown = TaskOptions::new().show_arguments::<(u8, u8)>();
    /// let failed = pool.submit_with(shown, |(a, b): (u8, u8)| a / b, (1, 0))?.get().unwrap_err();
    /// assert!(failed.to_string().contains("\n  argument  (1, 0)\n"), "{failed}");
    /// # Ok(()) }
    /// ```
    pub fn show_arguments<A: Message + fmt::Debug>(mut self) -> Self {
        self.shown = Some(Shown::of::<A>());
        self
    }

    /// What errors call the function of these tasks, for closures and for programs without symbols.
    pub fn label(mut self, name: &'static str) -> Self {
        self.label = Some(name);
        self
    }

    /// Whom the task lets go first, and who lets it: [`Priority::Normal`] if not set.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ParProcs, Pool, Priority, TaskOptions};
    ///
    /// let pool = Pool::new(1)?;
    /// let low = TaskOptions::new().priority(Priority::Low);
    /// let report = (0..100).par_procs(&pool).options(low).map(|n: u32| n);
    /// let urgent = TaskOptions::new().priority(Priority::High);
    /// assert_eq!(pool.submit_with(urgent, |n: u8| n + 1, 1)?.get()?, 2);
    /// assert_eq!(report.count(), 100);
    /// # Ok(()) }
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// These, and for what they leave open those of the pool.
    pub(crate) fn over(self, pool: Rules) -> Rules {
        let timeout = self.timeout.or(pool.timeout);
        Rules {
            timeout: timeout.filter(|limit| *limit != Duration::MAX),
            retries: self.retries.unwrap_or(pool.retries),
            poison_after: self.poison_after.unwrap_or(pool.poison_after),
            shown: self.shown.or(pool.shown),
            label: self.label.or(pool.label),
            priority: self.priority.unwrap_or(pool.priority),
        }
    }
}
