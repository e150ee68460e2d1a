//! The pool as its user holds it.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;

use crate::builder::Builder;
use crate::collector::{self, Shared};
use crate::context::With;
use crate::crew::{GRACE, Phase};
use crate::error::{BuildError, SubmitError, TaskFailed};
use crate::job::{PackError, Packing};
use crate::origin::{Extra, Origin};
use crate::par::ParProcs;
use crate::rules::TaskOptions;
use crate::sink::Sink;
use crate::task::Task;
use crate::wire;

/// Worker processes that run tasks: one outcome for every task, whoever dies.
///
/// A task is a `fn(A) -> R`, as for a single process. Each worker has a private channel; no lock is shared between
/// workers, so the death of one costs the task it was running and nothing else: that task gets
/// [`TaskFailed::WorkerDied`], and the worker is replaced.
///
/// Send and Sync: any number of threads may submit. Workers ignore Ctrl-C and end with this process, however it ends.
///
/// | end | new tasks | waiting tasks | running tasks | waits |
/// |---|---|---|---|---|
/// | [`close`](Self::close) | refused | run | run | no |
/// | [`join`](Self::join), [`join_timeout`](Self::join_timeout), [`join_until`](Self::join_until) | refused | run | run | until all are done, or the deadline |
/// | [`terminate`](Self::terminate) | – | get [`TaskFailed::Closed`] | get it too, and are ended | at most the grace |
/// | drop, also at the end of a scope or in a panic | – | as above | as above | at most a second |
///
/// What waits until all are done waits for [callbacks](Task::on_done), too. What ends the pool gives them the rest of its
/// time: those that are not over by then are run all the same, later.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::Pool;
///
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(f64::sqrt, [1.0, 4.0, 9.0])?, [1.0, 2.0, 3.0]);
/// let task = pool.submit(|(w, h): (u32, u32)| w * h, (2, 3))?;
/// assert_eq!(task.get()?, 6);
/// # Ok(()) }
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    collector: Option<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `workers` processes.
    pub fn new(workers: usize) -> Result<Self, BuildError> {
        Self::builder().workers(workers).build()
    }

    /// Settings for a pool that is still to be built.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs `task(argument)` in a worker; answers at once, with a handle for the value.
    ///
    /// The argument is encoded here and now. There is no bound on how much may wait: for many items use
    /// [`map`](Self::map) or [`par_procs`](crate::ParProcs::par_procs), which take what they need when they need it.
    #[doc(alias = "apply_async")]
    pub fn submit<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        self.submit_with(TaskOptions::new(), task, argument)
    }

    /// [`submit`](Self::submit) with a time limit and so on of its own.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskOptions};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let brief = TaskOptions::new().timeout(Duration::from_secs(5));
    /// assert_eq!(pool.submit_with(brief, |n: u8| n + 1, 1)?.get()?, 2);
    /// # Ok(()) }
    /// ```
    pub fn submit_with<A: Message, R: Message>(
        &self,
        options: TaskOptions,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        let extra = Extra { origin: Origin::of(task), ..Extra::default() };
        self.submit_job(options, wire::token(task), extra, argument)
    }

    pub(crate) fn submit_job<A: Message, R>(
        &self,
        options: TaskOptions,
        function: [u8; 40],
        extra: Extra,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        let mut packing = Packing::default();
        packing.push(&argument).map_err(PackError::into_submit)?;
        // With it goes our side of what has moved.
        drop(argument);
        let mut job = packing.finish(function).map_err(SubmitError::Os)?;
        job.extra = extra;
        let sink = Arc::new(Sink::default());
        let number = self
            .shared
            .submit(job, 0, &sink, options.over(self.shared.rules))
            .map_err(|_| SubmitError::Closed)?;
        Ok(Task::new(sink, &self.shared, number))
    }

    /// Runs `task` on every item and returns the values in order.
    ///
    /// Items are taken from the iterator as workers need them, and travel in chunks whose size follows the time they
    /// take. The first failure, in the order of the items, is returned; tasks that have not begun by then never run:
    /// [`map_each`](Self::map_each) runs them all. A task of several arguments takes them as a tuple:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// fn area(w: u32, h: u32) -> u32 {
    ///     w * h
    /// }
    ///
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|(w, h)| area(w, h), [(1, 2), (3, 4)])?, [2, 12]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskFailed> {
        items.par_procs(self).map(task).collect()
    }

    /// This pool with a read-only object that tasks get by reference: encoded once, here and now, and decoded once in each
    /// worker. A task is a `fn(&C, A) -> R` then.
    pub fn with<C: Message + 'static>(&self, context: &C) -> With<'_, C> {
        With::new(self, context)
    }

    /// The number of workers that the pool is to have: what it was built with, or [resized](Self::resize) to; of a
    /// [serial](Builder::serial) pool 1. While one is replaced, or not [needed](Builder::idle_shrink), there are fewer.
    pub fn workers(&self) -> usize {
        if self.shared.serial.is_some() {
            return 1;
        }
        self.shared.crew().wanted
    }

    /// The process numbers of the workers that are alive now; of a [serial](Builder::serial) pool our own.
    pub fn pids(&self) -> Vec<u32> {
        if self.shared.serial.is_some() {
            return vec![std::process::id()];
        }
        self.shared
            .crew()
            .places
            .iter()
            .filter_map(|place| place.worker.as_ref().map(|w| w.process.pid()))
            .collect()
    }

    /// How many workers were replaced because they had grown beyond [`recycle_above`](Builder::recycle_above).
    pub fn recycled(&self) -> u64 {
        self.shared.crew().n_recycled
    }

    /// Takes no more tasks; those it has are finished.
    pub fn close(&self) {
        let mut crew = self.shared.crew();
        if crew.phase == Phase::Open {
            crew.phase = Phase::Closed;
        }
    }

    /// Takes no more tasks, waits until every task has its outcome, and ends the workers.
    pub fn join(self) {
        let _ = self.join_by(Deadline::NEVER);
    }

    /// [`join`](Self::join) for at most `timeout`; the pool, closed, if not every task has its outcome by then. Dropped, it
    /// ends all the same: [`terminate`](Self::terminate) says within which time.
    pub fn join_timeout(self, timeout: Duration) -> Result<(), Self> {
        self.join_by(Deadline::after(timeout))
    }

    /// [`join`](Self::join) until `instant`; the pool, closed, if not every task has its outcome by then.
    pub fn join_until(self, instant: Instant) -> Result<(), Self> {
        self.join_by(Deadline::at(instant))
    }

    fn join_by(self, deadline: Deadline) -> Result<(), Self> {
        self.close();
        if self.wait_done(deadline) && self.shared.herald.wait(deadline) { Ok(()) } else { Err(self) }
    }

    /// Ends the workers, whatever they do: who has not ended `grace` after it was asked to is killed. What has no outcome
    /// yet gets [`TaskFailed::Closed`]. Dropping a pool is the same with a grace of a second.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskFailed};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let endless = pool.submit(|()| -> u8 { loop { std::thread::park() } }, ())?;
    /// let Err(pool) = pool.join_timeout(Duration::from_millis(10)) else { panic!("it cannot be done") };
    /// pool.terminate(Duration::from_millis(100));
    /// assert!(matches!(endless.get(), Err(TaskFailed::Closed { .. })));
    /// # Ok(()) }
    /// ```
    pub fn terminate(mut self, grace: Duration) {
        self.end(grace);
    }

    /// Waits until every task has its outcome; false at the deadline.
    fn wait_done(&self, deadline: Deadline) -> bool {
        let mut crew = self.shared.crew();
        while !crew.is_done() {
            if !crew.wait(&self.shared.settled, deadline) {
                return false;
            }
        }
        true
    }

    fn end(&mut self, grace: Duration) {
        let deadline = Deadline::after(grace);
        let workers = self.shared.crew().end();
        self.shared.news.notify();
        self.shared.settled.notify_all();
        collector::end(&workers, grace);
        if let Some(serial) = &self.shared.serial {
            serial.close();
        }
        let is_this_thread = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        // A waker may do this on its thread.
        if let Some(collector) = self.collector.take_if(|collector| !is_this_thread(collector)) {
            // It sees the end of the crew at its next look; a panic in it has been printed.
            let _ = collector.join();
        }
        self.shared.herald.end(deadline);
    }

    pub(crate) fn of(shared: Arc<Shared>, collector: Option<JoinHandle<()>>) -> Self {
        Self { shared, collector }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end(GRACE);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
