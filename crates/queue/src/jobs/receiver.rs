//! The end of a queue of jobs that receives.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::Postcard;
use procession_raw::Side;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::job::Job;
use super::leases::Delivery;
use super::memory::Memory;
use super::parcel;
use crate::error::RecvError;
use crate::link::{Link, Place};
use crate::scratch;
use crate::wire::Wire;

/// The receiving end of a queue of jobs: what a worker has.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; any number of threads and processes may receive at once, and each job goes to
/// one of them. Sending it to another process duplicates it. Up to 4094 processes can receive from one queue.
///
/// # If a peer dies
/// The jobs that a process had received and not finished go to those who receive next, before all others, with
/// [`Job::deliveries`] one higher; at the latest a tick after the death. A receiver that waits for a job of a queue that is
/// closed, or has lost its senders, waits as long as another process has unfinished ones, which could come back.
///
/// # Examples
/// ```
/// let (tx, rx) = procession_queue::jobs::<u32>(10)?;
/// let worker = std::thread::spawn(move || rx.into_iter().map(|job| *job).sum::<u32>());
/// tx.send_many([1, 2, 3])?;
/// tx.join()?;
/// tx.close();
/// assert_eq!(worker.join().unwrap(), 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JobReceiver<T, W = Postcard> {
    pub(super) link: Arc<Link<Memory>>,
    types: PhantomData<fn(W) -> T>,
}

impl<T, W> JobReceiver<T, W> {
    pub(super) fn new(link: Arc<Link<Memory>>) -> Self {
        Self { link, types: PhantomData }
    }

    /// As [`JobSender::len`](crate::JobSender::len).
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.link.memory().n_queued() as usize
    }

    /// As [`JobSender::is_empty`](crate::JobSender::is_empty).
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`JobSender::unfinished`](crate::JobSender::unfinished).
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.link.memory().n_unfinished()
    }

    /// As [`JobSender::capacity`](crate::JobSender::capacity).
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.link.memory().layout().capacity as usize
    }

    /// As [`JobSender::close`](crate::JobSender::close).
    pub fn close(&self) {
        self.link.memory().ring().close(&SharedPark);
    }

    /// As [`JobSender::is_closed`](crate::JobSender::is_closed).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.memory().ring().is_closed()
    }
}

impl<T, W: Wire<T>> JobReceiver<T, W> {
    /// Receives the next job.
    ///
    /// Blocks until there is one; or until the queue is closed or no sender is left, and nothing can come any more.
    ///
    /// # Errors
    /// [`RecvError`]. A job that does not [decode](RecvError::Decode) becomes a dead letter. One with handles stays in the
    /// queue, and this is [`RecvError::Memory`], while some hundreds of those are not done, or this process has no room for
    /// the descriptors.
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<Job<T>, RecvError> {
        self.recv_by(Deadline::NEVER)
    }

    /// The next job if there is one: else [`RecvError::Empty`].
    ///
    /// Blocks for some 50 µs at most, while others are in the middle: then [`RecvError::Contended`].
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<Job<T>, RecvError> {
        self.recv_by(Deadline::now()).map_err(|error| match error {
            RecvError::TimedOut => RecvError::Empty,
            error => error,
        })
    }

    /// [`recv`](Self::recv) for at most `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Job<T>, RecvError> {
        self.recv_by(Deadline::after(timeout))
    }

    /// [`recv`](Self::recv) until `instant`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_until(&self, instant: Instant) -> Result<Job<T>, RecvError> {
        self.recv_by(Deadline::at(instant))
    }

    /// The jobs that come, until the queue is closed or no sender is left, and nothing can come any more. Blocks between
    /// them. A job is finished when it is dropped, before the loop asks for the next one.
    ///
    /// A job that does not decode ends it too: [`recv`](Self::recv) tells the difference.
    pub fn iter(&self) -> JobIter<'_, T, W> {
        JobIter { receiver: self }
    }

    pub(super) fn recv_by(&self, deadline: Deadline) -> Result<Job<T>, RecvError> {
        scratch::with(|bytes| {
            let memory = self.link.memory();
            let Delivery { lease, packet, .. } = self.link.recv_job(bytes, deadline)?;
            if let Err(error) = memory.bytes(lease, bytes) {
                memory.put_back(lease);
                return Err(RecvError::Memory(error));
            }
            // Code of the value's runs here: if it panics, the job is finished, as if it had panicked at work.
            let job = Job::new(Arc::clone(&self.link), lease, ());
            match parcel::decode_all::<T, W>(bytes, lease.luggage.map(|_| packet)) {
                Ok(value) => Ok(job.with(value)),
                Err(error) => {
                    job.give_up();
                    Err(RecvError::Decode(error))
                }
            }
        })
    }
}

impl<T, W> Clone for JobReceiver<T, W> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.link))
    }
}

impl<T, W> fmt::Debug for JobReceiver<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, most) = (self.len(), self.capacity());
        write!(f, "Receiver of a queue with {n} of {most} jobs, {} unfinished", self.unfinished())
    }
}

impl<T, W> Serialize for JobReceiver<T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.link.serialize(serializer)
    }
}

impl<'de, T, W> Deserialize<'de> for JobReceiver<T, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Link::receive(deserializer, Side::Consumers).map(Self::new)
    }
}

/// The jobs of a [`JobReceiver`] as they come: see [`JobReceiver::iter`].
#[derive(Debug)]
pub struct JobIter<'a, T, W = Postcard> {
    receiver: &'a JobReceiver<T, W>,
}

/// The jobs of a receiver as they come: see [`JobReceiver::iter`].
#[derive(Debug)]
pub struct IntoJobs<T, W = Postcard> {
    receiver: JobReceiver<T, W>,
}

impl<T, W: Wire<T>> Iterator for JobIter<'_, T, W> {
    type Item = Job<T>;

    fn next(&mut self) -> Option<Job<T>> {
        self.receiver.recv().ok()
    }
}

impl<T, W: Wire<T>> Iterator for IntoJobs<T, W> {
    type Item = Job<T>;

    fn next(&mut self) -> Option<Job<T>> {
        self.receiver.recv().ok()
    }
}

impl<T, W: Wire<T>> IntoIterator for JobReceiver<T, W> {
    type Item = Job<T>;
    type IntoIter = IntoJobs<T, W>;

    fn into_iter(self) -> IntoJobs<T, W> {
        IntoJobs { receiver: self }
    }
}

impl<'a, T, W: Wire<T>> IntoIterator for &'a JobReceiver<T, W> {
    type Item = Job<T>;
    type IntoIter = JobIter<'a, T, W>;

    fn into_iter(self) -> JobIter<'a, T, W> {
        self.iter()
    }
}
