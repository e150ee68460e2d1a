//! What may become of a task: its time limit. Settings of a pool, and of single tasks where they differ.

use std::time::Duration;

/// What holds for the tasks of an order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// How long a task may take.
    pub(crate) timeout: Option<Duration>,
}

/// How tasks are run, where that differs from the settings of their pool. For [`Pool::submit_with`](crate::Pool::submit_with)
/// and [`ParIter::options`](crate::ParIter::options).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing by themselves"]
pub struct TaskOptions {
    timeout: Option<Duration>,
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

    /// These, and for what they leave open those of the pool.
    pub(crate) fn over(self, pool: Rules) -> Rules {
        let timeout = self.timeout.or(pool.timeout);
        Rules { timeout: timeout.filter(|limit| *limit != Duration::MAX) }
    }
}
