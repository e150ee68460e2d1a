//! Settings of a pool, and its start.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession_codec::Message;
use procession_process::TaskError;
use procession_sys::{OsError, cpu};

use crate::care::MemoryRules;
use crate::chaos::Chaos;
use crate::collector::Shared;
use crate::crew::{Crew, Flexible, Settings};
use crate::error::BuildError;
use crate::job::PackError;
use crate::pool::Pool;
use crate::rules::{Rules, TaskOptions};
use crate::serial::{self, Serial};
use crate::setup::Setup;
use crate::streams::Streams;

/// How long a worker may take until it asks for a job, unless set otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of a pool that is still to be built.
#[derive(Clone, Debug)]
#[must_use = "settings start nothing by themselves"]
pub struct Builder {
    name: String,
    workers: Option<usize>,
    start_timeout: Duration,
    rules: Rules,
    max_tasks: usize,
    setup: Option<Result<Arc<Setup>, Arc<PackError>>>,
    pub(crate) streams: Streams,
    memory: MemoryRules,
    serial: Option<bool>,
    chaos: Option<Chaos>,
    pub(crate) flexible: Option<Flexible>,
}

impl Builder {
    /// The pool's name: in errors, and in the names of its workers (`NAME-1`, …). Default `pool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The number of workers. Default: the processors this process may use, by affinity and control group.
    #[doc(alias = "processes")]
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = Some(n);
        self
    }

    /// How long a worker may take from its start until it asks for work (default 10 s). One that takes longer is killed
    /// and replaced; after several in a row, waiting tasks get [`NoWorker`](crate::TaskFailed::NoWorker).
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long a task may take, from its begin in a worker until its value is encoded (default: no limit). A worker whose
    /// task takes longer is killed and replaced; that task gets [`TaskFailed::TimedOut`](crate::TaskFailed::TimedOut),
    /// never earlier than at its limit, and no other is affected. Time spent waiting for a worker does not count.
    /// Likewise a worker is replaced that does not begin what it was given within the longer of this and the
    /// [`start_timeout`](Self::start_timeout); what it was given goes to another.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskFailed};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::builder().workers(1).task_timeout(Duration::from_millis(50)).build()?;
    /// let endless = pool.submit(|()| -> u8 { loop { std::thread::park() } }, ())?;
    /// assert!(matches!(endless.get(), Err(TaskFailed::TimedOut { .. })));
    /// # Ok(()) }
    /// ```
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.rules = TaskOptions::new().timeout(limit).over(self.rules);
        self
    }

    /// Declares tasks to be repeatable: one whose worker died, or was ended for its time limit, is begun again, up to `n`
    /// times (default 0: no task is ever begun twice). Panics and errors are outcomes and not tried again.
    ///
    /// A task that used up its attempts gets [`TaskFailed::GivenUp`](crate::TaskFailed::GivenUp), with the failure of each.
    /// Each attempt gets the argument as it was submitted; handles in it are the same ones. [`attempt`](crate::attempt)
    /// tells a task which attempt it is.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, attempt};
    ///
    /// fn succeeds_later(n: u32) -> u32 {
    ///     if attempt() < 3 { std::process::abort() } else { n }
    /// }
    ///
    /// let pool = Pool::builder().workers(1).retries(2).build()?;
    /// assert_eq!(pool.submit(succeeds_later, 5)?.get()?, 5);
    /// # Ok(()) }
    /// ```
    pub fn retries(mut self, n: u32) -> Self {
        self.rules.retries = n;
        self
    }

    /// Gives a task up when so many workers have died of it (default 3, at least 1), however many
    /// [`retries`](Self::retries) are left: one that kills whoever tries it does not go on for ever. Attempts that ended at
    /// their time limit do not count.
    pub fn poison_after(mut self, n_workers: u32) -> Self {
        self.rules.poison_after = n_workers;
        self
    }

    /// Replaces a worker when it has run `n` tasks (at least 1; default: never), so that what they leak, or leave behind in
    /// the process, goes with it. It ends in order, not by a signal, and within a second.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::builder().workers(1).max_tasks_per_worker(2).build()?;
    /// let pids = pool.map(|_: u8| std::process::id(), 0..4)?;
    /// assert!(pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, n: usize) -> Self {
        self.max_tasks = n.max(1);
        self
    }

    /// Replaces a worker between two tasks when it has more than `bytes` in memory (default: never), so that what tasks
    /// leak does not add up. It ends in order, as after [`max_tasks_per_worker`](Self::max_tasks_per_worker), and is nobody's
    /// failure; [`Pool::recycled`] counts. Each worker runs one task at least, however small `bytes` is.
    ///
    /// What is counted is the resident size: all pages in memory, those shared with others too. The worker looks after each
    /// task; in chunks of more than 64 after some.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// fn leak(mebibytes: usize) -> u32 {
    ///     std::mem::forget(std::hint::black_box(vec![1_u8; mebibytes << 20]));
    ///     std::process::id()
    /// }
    ///
    /// let pool = Pool::builder().workers(1).recycle_above(128 << 20).build()?;
    /// let first = pool.submit(leak, 1)?.get()?;
    /// assert_eq!(pool.submit(leak, 200)?.get()?, first);
    /// assert_ne!(pool.submit(leak, 1)?.get()?, first);
    /// assert_eq!(pool.recycled(), 1);
    /// # Ok(()) }
    /// ```
    pub fn recycle_above(mut self, bytes: u64) -> Self {
        self.memory.recycle_above = Some(bytes);
        self
    }

    /// Ends a task whose worker has more than `bytes` in memory (default: no limit): the worker is killed and replaced, and
    /// the task gets [`TaskFailed::MemoryExceeded`](crate::TaskFailed::MemoryExceeded), or is tried again if it is
    /// [repeatable](Self::retries). No other is affected.
    ///
    /// The resident size is looked at every 50 ms: what comes and goes in between is not seen, and a task that allocates fast
    /// can have some more by then. It counts what earlier tasks of the worker leaked: see
    /// [`recycle_above`](Self::recycle_above).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskFailed};
    ///
    /// let pool = Pool::builder().workers(1).memory_limit(128 << 20).build()?;
    /// let greedy = |mebibytes: usize| {
    ///     let _much = std::hint::black_box(vec![1_u8; mebibytes << 20]);
    ///     loop {
    ///         std::thread::park();
    ///     }
    /// };
    /// let failed = pool.submit::<_, ()>(greedy, 256)?.get();
    /// assert!(matches!(failed, Err(TaskFailed::MemoryExceeded { resident, .. }) if resident > 128 << 20));
    /// # Ok(()) }
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory.limit = Some(bytes);
        self
    }

    /// A pool without workers: each task runs where it is submitted, in the calling thread, before `submit` returns; maps run
    /// an item when its result is asked for, or shortly before. For debuggers, profilers and coverage. Default: whether the
    /// variable `PROCESSION_SERIAL` is `1`.
    ///
    /// Outcomes are the same, but for what needs a process of its own: a task that ends its process ends this one, an endless
    /// one is not ended, there are no limits of time or memory, and nothing is tried again. Arguments and values are encoded
    /// as ever. [`workers`](Pool::workers) is 1. Every thread that runs tasks makes a [state](Self::initializer) of its own;
    /// the exit function is called for that of the thread that ends the pool. A panic hook is chained before the one there
    /// is, so that panics are told with place and backtrace.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::builder().serial(true).build()?;
    /// assert_eq!(pool.submit(|()| std::process::id(), ())?.get()?, std::process::id());
    /// # Ok(()) }
    /// ```
    pub fn serial(mut self, serial: bool) -> Self {
        self.serial = Some(serial);
        self
    }

    /// Kills workers on purpose, for tests of what comes of it. Default: what the variable `PROCESSION_CHAOS` says, as
    /// [`Chaos`] reads it (`kill:0.01,seed:7`); without it nobody is killed. One that cannot be read is
    /// [`BuildError::Chaos`]. Workers inherit the variable, and with it pools inside of tasks. [Serial](Self::serial) pools
    /// have no workers to kill.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ChaosPoint, Pool};
    ///
    /// let pool = Pool::builder().workers(1).chaos("kill:1,at:in".parse()?).build()?;
    /// let failed = pool.submit(|n: u8| n, 1)?.get().unwrap_err();
    /// assert_eq!(failed.report().and_then(|report| report.chaos()), Some(ChaosPoint::InTask));
    /// # Ok(()) }
    /// ```
    pub fn chaos(mut self, chaos: Chaos) -> Self {
        self.chaos = Some(chaos);
        self
    }

    /// Calls `open(argument)` in every worker before its first task. What it returns is the worker's state, for tasks to use
    /// by [`with_state`](crate::with_state): a connection, a model, a cache.
    ///
    /// [`build`](Self::build) waits until all have done so, at most for [`start_timeout`](Self::start_timeout). If one
    /// fails, panics, dies or takes longer, there is no pool but [`BuildError::Initializer`]. Where it fails in a worker that
    /// takes the place of another later, that is a start that failed: after several in a row, waiting tasks get
    /// [`TaskFailed::NoWorker`](crate::TaskFailed::NoWorker) with the reason.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, with_state};
    /// use std::collections::HashMap;
    ///
    /// type Prices = HashMap<String, u32>;
    /// fn price(name: String) -> Option<u32> {
    ///     with_state(|prices: &mut Prices| prices.get(&name).copied())
    /// }
    ///
    /// let prices = Prices::from([("tea".to_string(), 3)]);
    /// let pool = Pool::builder().workers(1).initializer(|prices: Prices| Ok(prices), prices).build()?;
    /// assert_eq!(pool.submit(price, "tea".to_string())?.get()?, Some(3));
    /// # Ok(()) }
    /// ```
    pub fn initializer<A: Message, S: 'static>(
        mut self,
        open: fn(A) -> Result<S, TaskError>,
        argument: A,
    ) -> Self {
        self.setup = Some(Setup::new(open, &argument, None).map(Arc::new).map_err(Arc::new));
        self
    }

    /// [`initializer`](Self::initializer), and `close(state)` in every worker that ends in order: one that ran
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker), and those that are idle when the pool is joined or dropped. It
    /// has a second; a worker that needs longer is killed. Workers that die or are killed, and those that are busy when the
    /// pool is dropped, do not get to it.
    pub fn initializer_and_exit<A: Message, S: 'static>(
        mut self,
        open: fn(A) -> Result<S, TaskError>,
        argument: A,
        close: fn(S),
    ) -> Self {
        self.setup = Some(Setup::new(open, &argument, Some(close)).map(Arc::new).map_err(Arc::new));
        self
    }

    /// Starts the workers. Does not wait until they are ready, unless there is an
    /// [initializer](Self::initializer); tasks can be submitted at once.
    pub fn build(self) -> Result<Pool, BuildError> {
        let workers = self.workers.unwrap_or_else(cpu::available);
        if workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        let is_set_up = self.setup.is_some();
        let is_serial = self.serial.unwrap_or_else(serial::is_asked_for);
        let settings = Settings {
            n_workers: if is_serial { 0 } else { workers },
            start_timeout: self.start_timeout,
            max_tasks: self.max_tasks,
            streams: self.streams,
            setup: self.setup.transpose().map_err(|e| match &*e {
                PackError::Encode(e) => BuildError::Argument(e.clone()),
                PackError::Os(e) => {
                    let doing = format!("packing an initializer: {}", e.doing());
                    let error = e.errno().map(std::io::Error::from_raw_os_error);
                    BuildError::Os(OsError::new(
                        doing,
                        error.unwrap_or_else(|| std::io::ErrorKind::Other.into()),
                    ))
                }
            })?,
            memory: self.memory,
            chaos: self.chaos.map_or_else(Chaos::of_environment, |chaos| Ok(Some(chaos)))?,
            flexible: self.flexible,
        };
        let name: Arc<str> = self.name.as_str().into();
        let serial = is_serial.then(|| Serial::new(&name, settings.setup.clone()));
        let mut shared = Shared::new(Crew::start(&name, settings)?, self.rules)?;
        if let Some(serial) = serial {
            let opened = serial.open();
            opened.map_err(|failure| BuildError::Initializer { worker: serial.who(), failure })?;
            shared.serial = Some(serial);
            return Ok(Pool::of(Arc::new(shared), None));
        }
        let shared = Arc::new(shared);
        let collector = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("{}-collector", self.name));
        let collector = thread
            .spawn(move || collector.collect())
            .map_err(|e| BuildError::Os(OsError::new("starting the thread that collects results", e)))?;
        let pool = Pool::of(shared, Some(collector));
        if is_set_up {
            pool.shared().wait_set_up()?;
        }
        Ok(pool)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: "pool".into(),
            workers: None,
            start_timeout: START_TIMEOUT,
            rules: Rules::DEFAULT,
            max_tasks: usize::MAX,
            setup: None,
            streams: Streams::default(),
            memory: MemoryRules::default(),
            serial: None,
            chaos: None,
            flexible: None,
        }
    }
}
