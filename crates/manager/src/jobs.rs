//! Queues of jobs in a server.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_codec::{DecodeError, Message};

use crate::error::CallError;
use crate::manager::Manager;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item, JobsAsk, Kind, Letter, Load, Recipe};

/// How often a job is delivered, if nothing else is said.
const DELIVERIES: u32 = 10;

/// A queue in a server whose items are jobs, made by [`Manager::job_queue`]: what is received must be finished, and what its
/// worker did not finish before it died goes to another one.
///
/// [`join`](Self::join) waits until all is done. What a [`Dict`](crate::Dict) says of its values, of sharing and of a dead
/// server is true here.
///
/// **If a client dies** the jobs that it had are delivered again, before all others; one that was delivered as often as it
/// may be becomes a dead letter. What it sent is there.
///
/// ```
/// use procession_manager::{JobQueue, Manager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let (jobs, sum) = (manager.job_queue::<u32>(10)?, manager.value(0)?);
/// let work = |(jobs, sum): (JobQueue<u32>, procession_manager::Value<u32>)| {
///     jobs.iter().for_each(|job| sum.update(|sum, n| *sum += n, *job).unwrap());
/// };
/// let worker = procession_process::spawn(work, (jobs.clone(), sum.clone()))?;
/// (1..=4).try_for_each(|n| jobs.send(&n))?;
/// jobs.join()?;
/// assert_eq!(sum.get()?, 10);
/// jobs.close()?;
/// worker.join()?;
/// # Ok(()) }
/// ```
#[doc(alias = "JoinableQueue")]
pub struct JobQueue<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(JobQueue<T>, Kind::JobQueue);

/// How a queue of jobs is made.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_manager::JobOptions;
///
/// let manager = procession_manager::Manager::start()?;
/// let jobs = manager.job_queue_with::<String>(JobOptions::new(64).max_deliveries(3))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it makes nothing by itself"]
pub struct JobOptions {
    most: u64,
    deliveries: u32,
    retries: bool,
}

impl JobOptions {
    /// For `n` jobs that wait for a worker; each is delivered 10 times at most.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn new(n: u64) -> Self {
        assert!(n > 0, "a queue without room");
        Self { most: n, deliveries: DELIVERIES, retries: true }
    }

    /// Each is delivered `n` times at most, with those that were put back; then it becomes a dead letter.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn max_deliveries(self, n: u32) -> Self {
        assert!(n > 0, "jobs that are never delivered");
        Self { deliveries: n, ..self }
    }

    /// Each is delivered until it is finished.
    pub fn deliver_without_limit(self) -> Self {
        Self { deliveries: 0, ..self }
    }

    /// The jobs of a worker that dies become dead letters at once. Those that are put back are delivered again all the same.
    pub fn fail_on_worker_death(self) -> Self {
        Self { retries: false, ..self }
    }
}

/// Not all jobs are done.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobsError {
    /// `try_join`: so many jobs are queued or with workers.
    Unfinished {
        /// How many.
        n: u64,
    },
    /// The time was up.
    TimedOut,
    /// All others are done, but these jobs were given up: each was delivered as often as it may be, or its worker died and
    /// that was to be the end of it, or it did not decode. [`JobQueue::dead_letters`] has their values.
    DeadLetters(Vec<GivenUp>),
    /// The server was not asked, or has not answered.
    Call(CallError),
}

/// What became of a job that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// How often it was delivered.
    pub deliveries: u32,
    /// The process that had it last, by its number in the server's namespace; 0 if it has none there.
    pub pid: u32,
}

/// A job that was given up: see [`JobQueue::dead_letters`].
#[derive(Debug)]
#[non_exhaustive]
pub struct DeadLetter<T> {
    /// What became of it.
    pub given_up: GivenUp,
    /// What was sent, if it is a value of this type.
    pub value: Result<T, DecodeError>,
}

impl Manager {
    /// A new queue for `n` jobs that wait for a worker.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    ///
    /// # Panics
    /// `n` is 0.
    pub fn job_queue<T: Message>(&self, n: u64) -> Result<JobQueue<T>, CallError> {
        self.job_queue_with(JobOptions::new(n))
    }

    /// A new queue of jobs, with these options.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn job_queue_with<T: Message>(&self, options: JobOptions) -> Result<JobQueue<T>, CallError> {
        let JobOptions { most, deliveries, retries } = options;
        self.make(Recipe::JobQueue { most, deliveries, retries }).map(JobQueue::from_raw)
    }
}

impl<T: Message> JobQueue<T> {
    /// Sends a job. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`CallError::Closed`], and others; it is never done then.
    #[doc(alias = "put")]
    pub fn send(&self, job: &T) -> Result<(), CallError> {
        self.send_by(job, true, None)
    }

    /// [`send`](Self::send) without waiting: [`CallError::WouldWait`] if the queue is full.
    pub fn try_send(&self, job: &T) -> Result<(), CallError> {
        self.send_by(job, false, None)
    }

    /// [`send`](Self::send) for at most `timeout`.
    pub fn send_timeout(&self, job: &T, timeout: Duration) -> Result<(), CallError> {
        self.send_by(job, true, Instant::now().checked_add(timeout))
    }

    /// [`send`](Self::send) until `instant`.
    pub fn send_until(&self, job: &T, instant: Instant) -> Result<(), CallError> {
        self.send_by(job, true, Some(instant))
    }

    /// Receives the next job. Blocks until there is one, or the queue is closed and all is done: while somebody has a job it
    /// can come again.
    ///
    /// # Errors
    /// [`CallError::Closed`], and others. A job that does not decode becomes a dead letter.
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<Job<T>, CallError> {
        self.recv_by(true, None)
    }

    /// [`recv`](Self::recv) without waiting: [`CallError::WouldWait`] if no job is there.
    pub fn try_recv(&self) -> Result<Job<T>, CallError> {
        self.recv_by(false, None)
    }

    /// [`recv`](Self::recv) for at most `timeout`. What comes at that moment is received, or stays.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Job<T>, CallError> {
        self.recv_by(true, Instant::now().checked_add(timeout))
    }

    /// [`recv`](Self::recv) until `instant`. What comes at that moment is received, or stays.
    pub fn recv_until(&self, instant: Instant) -> Result<Job<T>, CallError> {
        self.recv_by(true, Some(instant))
    }

    /// The jobs as they come, ending at the first error, as a rule that the queue is closed and all is done. Each step
    /// blocks; so who keeps a job meanwhile waits for itself at the end.
    pub fn iter(&self) -> impl Iterator<Item = Job<T>> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// Waits until all jobs are done: those of all senders, also those that are sent meanwhile. Blocks.
    ///
    /// # Errors
    /// [`JobsError`]. Dead letters stay until they are [taken](Self::dead_letters), so the next call says the same.
    pub fn join(&self) -> Result<(), JobsError> {
        self.join_by(true, None)
    }

    /// [`join`](Self::join) without waiting: else [`JobsError::Unfinished`].
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn try_join(&self) -> Result<(), JobsError> {
        self.join_by(false, None)
    }

    /// [`join`](Self::join) for at most `timeout`.
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JobsError> {
        self.join_by(true, Instant::now().checked_add(timeout))
    }

    /// [`join`](Self::join) until `instant`.
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn join_until(&self, instant: Instant) -> Result<(), JobsError> {
        self.join_by(true, Some(instant))
    }

    /// Takes the jobs that were given up. They are forgotten then.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter<T>>, CallError> {
        match self.0.ask(Ask::Jobs(JobsAsk::DeadLetters))? {
            Answer::Unfinished(_, letters) => Ok(letters.into_iter().filter_map(opened).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// How many jobs wait for a worker now.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Jobs(JobsAsk::Len))
    }

    /// Whether no job waits for a worker now.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// How many jobs are queued or with workers now.
    pub fn unfinished(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Jobs(JobsAsk::Unfinished))
    }

    /// Nothing can be sent from now on; what is there can be received and done.
    pub fn close(&self) -> Result<(), CallError> {
        self.0.done(Ask::Jobs(JobsAsk::Close), Load::default())
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> Result<bool, CallError> {
        self.0.yes(Ask::Jobs(JobsAsk::IsClosed))
    }

    fn send_by(&self, job: &T, waits: bool, until: Option<Instant>) -> Result<(), CallError> {
        let mut load = Load::default();
        let item = load.pack(job)?;
        self.0.done_by(Ask::Jobs(JobsAsk::Send(item, waits)), load, until)
    }

    fn recv_by(&self, waits: bool, until: Option<Instant>) -> Result<Job<T>, CallError> {
        let answer = self.0.ask_with(Ask::Jobs(JobsAsk::Recv(waits)), Load::default(), until)?;
        let Answer::Lent { lease, item: Some(item), n_times, .. } = answer else {
            return Err(unexpected(&answer));
        };
        match item.unpack() {
            Ok(value) => Ok(Job { raw: self.0.clone(), lease, deliveries: n_times, value: Some(value) }),
            Err(error) => {
                self.0.tell(Ask::Jobs(JobsAsk::GiveUp(lease)), Load::default());
                Err(CallError::Decode(error))
            }
        }
    }

    fn join_by(&self, waits: bool, until: Option<Instant>) -> Result<(), JobsError> {
        match self.0.ask_with(Ask::Jobs(JobsAsk::Join(waits)), Load::default(), until) {
            Ok(Answer::Unfinished(0, letters)) if letters.is_empty() => Ok(()),
            Ok(Answer::Unfinished(0, letters)) => {
                Err(JobsError::DeadLetters(letters.iter().map(GivenUp::of).collect()))
            }
            Ok(Answer::Unfinished(n, _)) => Err(JobsError::Unfinished { n }),
            Ok(other) => Err(JobsError::Call(unexpected(&other))),
            Err(CallError::TimedOut) => Err(JobsError::TimedOut),
            Err(error) => Err(JobsError::Call(error)),
        }
    }
}

fn opened<T: Message>(letter: Letter) -> Option<DeadLetter<T>> {
    let given_up = GivenUp::of(&letter);
    letter.item.map(Item::unpack).map(|value| DeadLetter { given_up, value })
}

impl GivenUp {
    fn of(letter: &Letter) -> Self {
        Self { deliveries: letter.deliveries, pid: letter.pid }
    }
}

/// A job of a [`JobQueue`], and the lease of it: finished when it is dropped, also while unwinding.
///
/// What is changed in the value stays here. Of a process that dies it goes to another one.
#[must_use = "a job that is dropped is finished"]
pub struct Job<T> {
    raw: Raw,
    lease: u64,
    deliveries: u32,
    /// `None` once it is finished in another way than by being dropped.
    value: Option<T>,
}

impl<T> Job<T> {
    /// How often it was delivered so far, with this time.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Whether somebody had it before, and died or put it back: it may be half done.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.deliveries > 1
    }

    /// Finishes it, when the server has done so.
    ///
    /// # Errors
    /// The server is gone.
    #[doc(alias = "task_done")]
    pub fn done(mut self) -> Result<(), CallError> {
        self.value = None;
        self.raw.done(Ask::Jobs(JobsAsk::Done(self.lease)), Load::default())
    }

    /// Finishes it, and keeps the value.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        let Some(value) = self.value.take() else { unreachable!("until it is finished") };
        self.finish();
        value
    }

    /// Gives it back: the next who receives gets it, before all others, which may be this process. If it was delivered as
    /// often as it may be, it becomes a dead letter.
    ///
    /// # Errors
    /// The server is gone.
    pub fn put_back(mut self) -> Result<(), CallError> {
        self.value = None;
        self.raw.done(Ask::Jobs(JobsAsk::PutBack(self.lease)), Load::default())
    }

    fn finish(&self) {
        self.raw.tell(Ask::Jobs(JobsAsk::Done(self.lease)), Load::default());
    }
}

impl<T> Deref for Job<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let Some(value) = &self.value else { unreachable!("until it is finished") };
        value
    }
}

impl<T> DerefMut for Job<T> {
    fn deref_mut(&mut self) -> &mut T {
        let Some(value) = &mut self.value else { unreachable!("until it is finished") };
        value
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if self.value.is_some() {
            self.finish();
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut job = f.debug_struct("Job");
        job.field("value", &self.value).field("deliveries", &self.deliveries).finish_non_exhaustive()
    }
}

impl fmt::Display for JobsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished { n } => write!(f, "joining a queue of jobs of a manager: {n} are not done"),
            Self::TimedOut => f.write_str("joining a queue of jobs of a manager: the time was up"),
            Self::DeadLetters(letters) => {
                write!(f, "joining a queue of jobs of a manager: {} were given up", letters.len())
            }
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl Error for JobsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Call(error) => error.source(),
            _ => None,
        }
    }
}
