//! How many workers a pool has, and when they are started.

use std::time::Duration;

use crate::builder::Builder;
use crate::crew::Flexible;
use crate::error::BuildError;
use crate::pool::Pool;

impl Builder {
    /// Lets workers go that have had nothing to do for `after`, all but `min_workers`. When more work waits than there are
    /// workers, they are started again, up to [`workers`](Self::workers). One that ends so does it in order, within a second.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder().workers(4).idle_shrink(Duration::from_millis(1), 0).build()?;
    /// while !pool.pids().is_empty() {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(pool.apply(f64::sqrt, 9.0)?, 3.0);
    /// # Ok(()) }
    /// ```
    pub fn idle_shrink(mut self, after: Duration, min_workers: usize) -> Self {
        let is_lazy = self.flexible.is_some_and(|flexible| flexible.is_lazy);
        self.flexible = Some(Flexible { min: min_workers, idle_after: Some(after), is_lazy });
        self
    }

    /// Starts workers only when work waits that no other is free for. [`Pool::warm_up`] starts all.
    ///
    /// An [initializer](Self::initializer) that fails is then not told by [`build`](Self::build), but by the warm-up, and by
    /// tasks, which get [`TaskFailed::NoWorker`](crate::TaskFailed::NoWorker).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::builder().workers(4).lazy_start().build()?;
    /// assert!(pool.pids().is_empty());
    /// assert_eq!(pool.apply(f64::sqrt, 9.0)?, 3.0);
    /// assert_eq!(pool.pids().len(), 1);
    /// # Ok(()) }
    /// ```
    pub fn lazy_start(mut self) -> Self {
        self.flexible.get_or_insert_default().is_lazy = true;
        self
    }
}

impl Pool {
    /// From now on the pool has `n` workers.
    ///
    /// If that is more, they are started now, unless the pool starts workers [on demand](Builder::lazy_start) or
    /// [lets idle ones go](Builder::idle_shrink). If it is fewer, idle ones are told to end, and of those that work as many
    /// as are too many are when they have done what they were given, a task or the chunk of a map. No task is lost or run
    /// twice for it. Does not wait for any of that.
    ///
    /// # Errors
    /// `n` is 0: [`BuildError::NoWorkers`], and nothing changes. A worker could not be started: the pool tries that again
    /// whenever it has work.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// pool.resize(3)?;
    /// assert_eq!((pool.workers(), pool.pids().len()), (3, 3));
    /// pool.resize(1)?;
    /// assert_eq!(pool.map(|n: u8| n, 0..5)?.len(), 5);
    /// # Ok(()) }
    /// ```
    pub fn resize(&self, n: usize) -> Result<(), BuildError> {
        if n == 0 {
            return Err(BuildError::NoWorkers);
        }
        self.shared().resize(n)
    }

    /// Starts all the workers that the pool may have and are not there, and waits until each has asked for work, so that
    /// the first tasks do not wait for a start.
    ///
    /// Blocks as long as starts take, each at most for [`start_timeout`](Builder::start_timeout); one that fails is tried
    /// again some times.
    ///
    /// # Errors
    /// Workers cannot be started, or die at their start again and again; [`BuildError::Initializer`] if that is where.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::builder().workers(2).lazy_start().build()?;
    /// pool.warm_up()?;
    /// assert_eq!(pool.pids().len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn warm_up(&self) -> Result<(), BuildError> {
        self.shared().warm_up()
    }
}
