//! Queues of jobs: messages that are finished, and that come back when their worker dies.
//!
//! A job lies in a cell of its own from being sent to being done, and a word of that cell says where it is
//! ([`procession_raw::Job`]): queued, with a worker, done. Nothing is counted beside it. The ring holds the cells' numbers.
//!
//! Invariants: a job is finished once; a job that is finished is never delivered again; a job that is not, and whose worker
//! is proved dead, comes back or becomes a dead letter. Held by `tests/jobs_steps.rs` (a kill at every change) and
//! `tests/jobs_storm.rs`; "Jobs" in the README has the table.

mod cells;
mod depot;
#[cfg(feature = "async")]
mod future;
mod job;
mod join;
mod layout;
mod leases;
mod luggage;
mod many;
mod memory;
mod parcel;
mod put;
mod receiver;
mod seats;
mod sender;
mod take;
mod wait;
mod watch;

use procession_codec::{Message, Postcard};
use procession_raw::Stage;
use procession_shm::ShmError;

#[cfg(doc)]
use crate::error::RecvError;
use crate::layout::MAX_BUDGET;
use crate::link::Link;
use crate::make::DEFAULT_BYTES;
use crate::wire::Wire;
use layout::{Layout, MAX_CAPACITY};
use memory::Memory;

pub use job::Job;
pub use join::{DeadLetter, GivenUp, JobsError};
pub use receiver::{IntoJobs, JobIter, JobReceiver};
pub use seats::Worker;
pub use sender::JobSender;

/// How often a job is delivered unless said otherwise, so that one that kills its workers does not kill all.
pub const DEFAULT_DELIVERIES: u32 = 10;

/// A queue for `n` jobs that wait for a worker, of [`DEFAULT_BYTES`] together at most. A job whose worker dies is delivered
/// again, up to [`DEFAULT_DELIVERIES`] times: [`JobOptions`] say otherwise.
///
/// Takes five descriptors in the process that has both ends, four in one that has one; 16 bytes of memory for each job that
/// can be queued, and for each that is there 128 bytes, or the pages that it needs, which are kept for the next ones.
///
/// A job may have handles in it, up to 64,009 descriptors, and each delivery brings them. Some hundreds of such jobs can be
/// queued, and as many be with workers, put back, or dead letters: one more is not [received](RecvError::Memory) until one
/// of those is done. The descriptors of all count against the limit of the user's open files.
///
/// # Errors
/// Memory, address space or descriptors have run out.
///
/// # Panics
/// If `n` is 0 or more than 2^19.
///
/// # Examples
/// ```
/// let (tx, rx) = procession_queue::jobs::<u64>(64)?;
/// std::thread::spawn(move || {
///     for job in rx {
///         println!("{}", *job);
///     }
/// });
/// for i in 0..100 {
///     tx.send(i)?;
/// }
/// tx.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "JoinableQueue")]
pub fn jobs<T: Message>(n: usize) -> Result<(JobSender<T>, JobReceiver<T>), ShmError> {
    JobOptions::new(n).create()
}

/// What becomes of the jobs of a worker that dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnWorkerDeath {
    /// They are delivered again, up to the [limit](JobOptions::max_deliveries).
    #[default]
    Retry,
    /// They become dead letters at once. Those that are put back are delivered again all the same.
    Fail,
}

/// How a queue of jobs is made.
///
/// # Examples
/// ```
/// use procession_queue::{JobOptions, OnWorkerDeath};
///
/// let options = JobOptions::new(64).bytes(1 << 20).max_deliveries(3);
/// let (tx, rx) = options.create::<String>()?;
/// let (tx, rx) = options.on_worker_death(OnWorkerDeath::Fail).create::<u64>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it makes nothing before `create`"]
pub struct JobOptions {
    capacity: u32,
    bytes: u64,
    max_deliveries: u32,
    on_worker_death: OnWorkerDeath,
}

impl JobOptions {
    /// For `n` jobs that wait for a worker.
    ///
    /// # Panics
    /// If `n` is 0 or more than 2^19.
    pub fn new(n: usize) -> Self {
        assert!(
            (1..=MAX_CAPACITY as usize).contains(&n),
            "a queue for {n} jobs, of at least 1 and at most 2^19"
        );
        Self {
            capacity: n as u32,
            bytes: DEFAULT_BYTES,
            max_deliveries: DEFAULT_DELIVERIES,
            on_worker_death: OnWorkerDeath::default(),
        }
    }

    /// Of so many bytes together, as they are encoded. A single one may have so many; with very many jobs and bytes, less,
    /// as the address space for all is 32 TiB.
    ///
    /// # Panics
    /// If `bytes` is 0 or more than 2^38.
    pub fn bytes(self, bytes: u64) -> Self {
        assert!(
            (1..=MAX_BUDGET).contains(&bytes),
            "a queue for {bytes} bytes, of at least 1 and at most 2^38"
        );
        Self { bytes, ..self }
    }

    /// Each is delivered `n` times at most, with those that were put back; then it becomes a dead letter.
    ///
    /// # Panics
    /// If `n` is 0 or more than 2^17 - 1.
    pub fn max_deliveries(self, n: u32) -> Self {
        assert!((1..=Stage::MOST).contains(&n), "{n} deliveries, of at least 1 and at most 2^17 - 1");
        Self { max_deliveries: n, ..self }
    }

    /// Each is delivered until it is finished.
    pub fn deliver_without_limit(self) -> Self {
        Self { max_deliveries: 0, ..self }
    }

    /// What becomes of the jobs of a worker that dies.
    pub fn on_worker_death(self, on_worker_death: OnWorkerDeath) -> Self {
        Self { on_worker_death, ..self }
    }

    /// Makes the queue.
    ///
    /// # Errors
    /// As [`jobs`].
    pub fn create<T: Message>(self) -> Result<(JobSender<T>, JobReceiver<T>), ShmError> {
        self.create_as::<T, Postcard>()
    }

    /// [`create`](Self::create) for values that travel as `W` says.
    ///
    /// # Errors
    /// As [`jobs`].
    #[allow(clippy::type_complexity, reason = "two ends are clearer than an alias for them")]
    pub fn create_as<T, W: Wire<T>>(self) -> Result<(JobSender<T, W>, JobReceiver<T, W>), ShmError> {
        let fails = self.on_worker_death == OnWorkerDeath::Fail;
        let layout = Layout::new(self.capacity, self.bytes, self.max_deliveries, fails);
        let (producers, consumers) = Link::pair(|| Memory::create(layout))?;
        Ok((JobSender::new(producers), JobReceiver::new(consumers)))
    }
}
