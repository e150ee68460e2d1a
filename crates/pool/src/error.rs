//! What can become of a task, other than its value.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_codec::{DecodeError, EncodeError};
use procession_process::{Exit, Hint, Panic, SpawnError, Who};
use procession_sys::OsError;

use crate::chaos::ChaosError;
use crate::report::{Report, Size};
use crate::setup::InitializerFailure;

/// Why a pool could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool without workers was asked for.
    NoWorkers,
    /// The argument of the initializer does not encode.
    Argument(EncodeError),
    /// The initializer failed in a worker. All were ended.
    Initializer {
        /// Which worker.
        worker: Who,
        /// What went wrong.
        failure: InitializerFailure,
    },
    /// The variable `PROCESSION_CHAOS` cannot be read.
    Chaos(ChaosError),
    /// A worker could not be started. Those started before it were ended.
    Worker(SpawnError),
    /// The system refused: descriptors, memory or threads have run out.
    Os(OsError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("building a pool: it needs at least one worker"),
            Self::Argument(e) => write!(f, "building a pool: {e}"),
            Self::Initializer { worker, failure } => {
                write!(f, "building a pool: initializing {worker}: {failure}")
            }
            Self::Chaos(e) => write!(f, "building a pool: {e}"),
            Self::Worker(e) => write!(f, "building a pool: {e}"),
            Self::Os(e) => write!(f, "building a pool: {e}"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoWorkers | Self::Initializer { .. } => None,
            Self::Argument(e) => Some(e),
            Self::Chaos(e) => Some(e),
            Self::Worker(e) => Some(e),
            Self::Os(e) => Some(e),
        }
    }
}

impl From<ChaosError> for BuildError {
    fn from(error: ChaosError) -> Self {
        Self::Chaos(error)
    }
}

impl From<OsError> for BuildError {
    fn from(error: OsError) -> Self {
        Self::Os(error)
    }
}

/// Why a task was not accepted. It will not run, and handles in its argument are still ours.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool was closed.
    Closed,
    /// The argument does not encode.
    Argument(EncodeError),
    /// The system refused: descriptors or memory have run out.
    Os(OsError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("submitting a task: the pool is closed"),
            Self::Argument(e) => write!(f, "submitting a task: {e}"),
            Self::Os(e) => write!(f, "submitting a task: {e}"),
        }
    }
}

impl Error for SubmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Argument(e) => Some(e),
            Self::Os(e) => Some(e),
        }
    }
}

/// Which task an error speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskId {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The task's number: tasks of a pool are numbered from 1 in the order they were given.
    pub number: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} of pool {}", self.number, self.pool)
    }
}

/// Why a task gave no value. Exactly that task: others are not affected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskFailed {
    /// The task panicked. Its worker goes on, or was replaced where panics abort.
    Panicked {
        /// Which task.
        task: TaskId,
        /// Which worker ran it.
        worker: Who,
        /// The panic.
        panic: Box<Panic>,
        /// What else is known.
        report: Box<Report>,
    },
    /// The worker that ran the task died of it, or was killed meanwhile. It was replaced.
    WorkerDied {
        /// Which task.
        task: TaskId,
        /// Which worker ran it.
        worker: Who,
        /// How the worker ended: its signal, or its exit code.
        exit: Exit,
        /// What such a death most often means.
        hint: Option<Hint>,
        /// What else is known.
        report: Box<Report>,
    },
    /// The task took longer than it may. Its worker was ended for it and replaced.
    TimedOut {
        /// Which task.
        task: TaskId,
        /// Which worker ran it.
        worker: Who,
        /// How long it might have taken.
        limit: Duration,
        /// What else is known.
        report: Box<Report>,
    },
    /// The task's worker had more memory than it [may](crate::Builder::memory_limit). It was ended for it and replaced.
    MemoryExceeded {
        /// Which task.
        task: TaskId,
        /// Which worker ran it.
        worker: Who,
        /// How many bytes the worker had in memory.
        resident: u64,
        /// How many it might have had.
        limit: u64,
        /// What else is known.
        report: Box<Report>,
    },
    /// The task is [repeatable](crate::Builder::retries), but no attempt gave a value: each cost its worker.
    GivenUp {
        /// Which task.
        task: TaskId,
        /// Whether it was given up for the number of workers that died of it: there were attempts left.
        is_poison: bool,
        /// What became of each attempt, in order: [`WorkerDied`](Self::WorkerDied), [`TimedOut`](Self::TimedOut) or
        /// [`MemoryExceeded`](Self::MemoryExceeded).
        attempts: Arc<[TaskFailed]>,
    },
    /// The argument does not encode.
    Argument {
        /// Which task.
        task: TaskId,
        /// What the encoder said.
        error: EncodeError,
    },
    /// The worker could not decode the argument: the type's `Deserialize` refuses what its `Serialize` wrote.
    ArgumentNotDecoded {
        /// Which task.
        task: TaskId,
        /// What the decoder said.
        error: String,
        /// What else is known.
        report: Box<Report>,
    },
    /// The task returned, but its value could not be encoded or sent.
    ResultNotEncoded {
        /// Which task.
        task: TaskId,
        /// What was wrong.
        error: String,
        /// What else is known.
        report: Box<Report>,
    },
    /// The task returned a value that does not decode here.
    ResultNotDecoded {
        /// Which task.
        task: TaskId,
        /// Why.
        error: DecodeError,
    },
    /// [`Task::cancel`](crate::Task::cancel) was called before the task was done. If it had begun, its worker was ended
    /// for it and replaced.
    Cancelled {
        /// Which task.
        task: TaskId,
    },
    /// The pool ended before the task was done.
    Closed {
        /// Which task.
        task: TaskId,
    },
    /// The pool has no worker that could run the task, and could not start one.
    NoWorker {
        /// Which task.
        task: TaskId,
        /// Why not.
        reason: Arc<str>,
    },
    /// An earlier call took the task's outcome.
    AlreadyTaken {
        /// Which task.
        task: TaskId,
    },
}

impl TaskFailed {
    /// Which task it was.
    pub fn task(&self) -> &TaskId {
        match self {
            Self::Panicked { task, .. }
            | Self::WorkerDied { task, .. }
            | Self::TimedOut { task, .. }
            | Self::MemoryExceeded { task, .. }
            | Self::GivenUp { task, .. }
            | Self::Argument { task, .. }
            | Self::ArgumentNotDecoded { task, .. }
            | Self::ResultNotEncoded { task, .. }
            | Self::ResultNotDecoded { task, .. }
            | Self::Cancelled { task }
            | Self::Closed { task }
            | Self::NoWorker { task, .. }
            | Self::AlreadyTaken { task } => task,
        }
    }

    /// What became of each attempt, in order; of a task that was tried once, this failure alone.
    pub fn attempts(&self) -> &[Self] {
        if let Self::GivenUp { attempts, .. } = self { attempts } else { std::slice::from_ref(self) }
    }

    /// The panic, if one it was.
    pub fn panic(&self) -> Option<&Panic> {
        if let Self::Panicked { panic, .. } = self { Some(panic) } else { None }
    }
}

impl TaskFailed {
    /// What is known of it beyond that: what ran, for how long, with how much memory. For a task that was given up, of its
    /// last attempt; `None` for one that did not run.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Panicked { report, .. }
            | Self::WorkerDied { report, .. }
            | Self::TimedOut { report, .. }
            | Self::MemoryExceeded { report, .. }
            | Self::ArgumentNotDecoded { report, .. }
            | Self::ResultNotEncoded { report, .. } => Some(report),
            Self::GivenUp { attempts, .. } => attempts.last().and_then(Self::report),
            _ => None,
        }
    }

    /// What happened, in one line: the first of the text.
    fn headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { task, worker, panic, .. } => write!(f, "{task} in {worker} {panic}"),
            Self::WorkerDied { task, worker, exit, hint, .. } => {
                let how = match exit {
                    Exit::Signal { .. } => "was",
                    _ => "",
                };
                let space = if how.is_empty() { "" } else { " " };
                write!(f, "{task} is lost: its worker, {worker}, {how}{space}{exit}")?;
                hint.as_ref().map_or(Ok(()), |hint| write!(f, " (likely: {hint})"))
            }
            Self::TimedOut { task, worker, limit, .. } => {
                write!(f, "{task} took longer than {limit:?}: its worker, {worker}, was ended")
            }
            Self::MemoryExceeded { task, worker, resident, limit, .. } => {
                let (resident, limit) = (Size(*resident), Size(*limit));
                write!(
                    f,
                    "{task} had {resident} in memory, more than {limit}: its worker, {worker}, was ended"
                )
            }
            Self::GivenUp { task, is_poison, attempts } => {
                let why = if *is_poison { " as poison" } else { "" };
                write!(f, "{task} was given up{why} after {} attempts", attempts.len())?;
                attempts.last().map_or(Ok(()), |last| write!(f, "; the last: {last}"))
            }
            Self::Argument { task, error } => write!(f, "{task} could not be sent: {error}"),
            Self::ArgumentNotDecoded { task, error, .. } => {
                write!(f, "{task} did not run: its argument could not be decoded: {error}")
            }
            Self::ResultNotEncoded { task, error, .. } => {
                write!(f, "the value of {task} could not be sent: {error}")
            }
            Self::ResultNotDecoded { task, error } => {
                write!(f, "the value of {task} could not be decoded: {error}")
            }
            Self::Cancelled { task } => write!(f, "{task} was cancelled"),
            Self::Closed { task } => write!(f, "{task} did not finish: the pool ended"),
            Self::NoWorker { task, reason } => {
                write!(f, "{task} did not run: no worker could be started: {reason}")
            }
            Self::AlreadyTaken { task } => write!(f, "the outcome of {task} was taken by an earlier call"),
        }
    }
}

/// What happened, in one line; of a task that ran, what is known of it in the lines below.
impl fmt::Display for TaskFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headline(f)?;
        match (self, self.report()) {
            // The last attempt has told it.
            (Self::GivenUp { .. }, _) | (_, None) => Ok(()),
            (_, Some(report)) => report.write(f, self),
        }
    }
}

impl Error for TaskFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::GivenUp { attempts, .. } => attempts.last().map(|last| last as _),
            Self::Argument { error, .. } => Some(error),
            Self::ResultNotDecoded { error, .. } => Some(error),
            _ => None,
        }
    }
}
