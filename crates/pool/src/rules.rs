//! What may become of a task: its time limit, and how often it is tried. Settings of a pool, and of single tasks where they differ.

use std::time::Duration;

/// What holds for the tasks of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long a task may take.
    pub(crate) timeout: Option<Duration>,
    /// How often it may be begun again after it has cost a worker.
    pub(crate) retries: u32,
    /// How many workers may die of it.
    pub(crate) poison_after: u32,
}

impl Rules {
    pub(crate) const DEFAULT: Self = Self { timeout: None, retries: 0, poison_after: 3 };
}

/// How tasks are run, where that differs from the settings of their pool. For [`Pool::submit_with`](crate::Pool::submit_with)
/// and [`ParIter::options`](crate::ParIter::options).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct TaskOptions {
    timeout: Option<Duration>,
    retries: Option<u32>,
    poison_after: Option<u32>,
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

    /// These, and for what they leave open those of the pool.
    pub(crate) fn over(self, pool: Rules) -> Rules {
        let timeout = self.timeout.or(pool.timeout);
        Rules {
            timeout: timeout.filter(|limit| *limit != Duration::MAX),
            retries: self.retries.unwrap_or(pool.retries),
            poison_after: self.poison_after.unwrap_or(pool.poison_after),
        }
    }
}
