//! The end of a queue of jobs that sends, and waits until all is done.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::Postcard;
use procession_raw::Side;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::memory::Memory;
use super::parcel;
use crate::error::{SendError, SendFault};
use crate::link::{Link, Place};
use crate::many::SendManyError;
use crate::scratch;
use crate::wire::Wire;

/// The sending end of a queue of jobs.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; any number of threads and processes may send at once. Sending it to another
/// process duplicates it. A worker may have one too, and send jobs while it has one: [`join`](Self::join) waits for those
/// as well.
///
/// Each sender's jobs are delivered for the first time in the order in which it sent them.
///
/// # If a peer dies
/// A job is wholly sent or not at all, and what was sent stays. When the last receiver is gone, however it ended, sending
/// and joining are errors, as for [`Sender`](crate::Sender).
pub struct JobSender<T, W = Postcard> {
    pub(super) link: Arc<Link<Memory>>,
    types: PhantomData<fn(T) -> W>,
}

impl<T, W> JobSender<T, W> {
    pub(super) fn new(link: Arc<Link<Memory>>) -> Self {
        Self { link, types: PhantomData }
    }

    /// How many jobs are queued, and nobody has yet: exact while nobody moves.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.link.memory().n_queued() as usize
    }

    /// Whether no job is queued at this moment. Workers may have some.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many jobs are queued at this moment as there may be. It can be full in bytes before.
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How many jobs are queued, with a worker, or put back: all that [`join`](Self::join) waits for. Not dead letters.
    ///
    /// Looks at all pieces of memory that jobs ever lay in: some nanoseconds for each.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.link.memory().n_unfinished()
    }

    /// How many jobs can be queued. Those that workers have do not count, but at most 1024 of those, of dead letters and of
    /// jobs being sent can be there beside.
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.link.memory().layout().capacity as usize
    }

    /// How many bytes of jobs can be queued, as they are encoded. Those that workers have do not count.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.link.memory().layout().budget
    }

    /// Closes the queue, for all: nobody sends any more; what was sent, or comes back, can still be received, and then
    /// receivers are told that it is [closed](crate::RecvError::Closed). Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here has closed it and woken all who sleep, or done nothing.
    pub fn close(&self) {
        self.link.memory().ring().close(&SharedPark);
    }

    /// Whether somebody has closed the queue.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.memory().ring().is_closed()
    }
}

impl<T, W: Wire<T>> JobSender<T, W> {
    /// Sends a job.
    ///
    /// Encodes it here, and blocks while there is no room for it, or for its handles: of jobs that have any, some hundreds can
    /// be queued.
    ///
    /// # Errors
    /// [`SendError`], with the value. No receiver then ever sees it.
    #[doc(alias = "put")]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::NEVER)
    }

    /// [`send`](Self::send) without waiting: [`SendFault::Full`] if there is no room.
    ///
    /// Blocks for some 50 µs at most, while others are in the middle: then [`SendFault::Contended`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::now()).map_err(|error| {
            let (value, fault) = error.into_parts();
            SendError::new(value, if let SendFault::TimedOut = fault { SendFault::Full } else { fault })
        })
    }

    /// [`send`](Self::send) for at most `timeout`.
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::after(timeout))
    }

    /// [`send`](Self::send) until `instant`.
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_until(&self, value: T, instant: Instant) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::at(instant))
    }

    /// Sends all values, in their order. Blocks while there is no room. Others may send in between.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn send_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), |value| self.send(value))
    }

    /// [`send_many`](Self::send_many) without waiting: as many as there is room for.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn try_send_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), |value| self.try_send(value))
    }

    /// [`send_many`](Self::send_many) for at most `timeout`.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn send_many_timeout<I: IntoIterator<Item = T>>(
        &self,
        values: I,
        timeout: Duration,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        let deadline = Deadline::after(timeout);
        self.send_many_by(values.into_iter(), |value| self.send_by(value, deadline))
    }

    /// [`send_many`](Self::send_many) until `instant`.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn send_many_until<I: IntoIterator<Item = T>>(
        &self,
        values: I,
        instant: Instant,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), |value| self.send_until(value, instant))
    }

    fn send_many_by<I: Iterator<Item = T>>(
        &self,
        mut values: I,
        send: impl Fn(T) -> Result<(), SendError<T>>,
    ) -> Result<usize, SendManyError<T, I>> {
        let mut n_sent = 0;
        while let Some(value) = values.next() {
            if let Err(error) = send(value) {
                let (value, fault) = error.into_parts();
                return Err(SendManyError::new(n_sent, value, values, fault));
            }
            n_sent += 1;
        }
        Ok(n_sent)
    }

    fn send_by(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        let sent = scratch::with(|bytes| {
            let outgoing = parcel::encode::<T, W>(&value, bytes)?;
            if !outgoing.is_empty() {
                return self.link.send_laden(bytes, outgoing, deadline);
            }
            self.link.send_job(bytes, None, deadline)
        });
        sent.map_err(|fault| SendError::new(value, fault))
    }
}

impl<T, W> Clone for JobSender<T, W> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.link))
    }
}

impl<T, W> fmt::Debug for JobSender<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, most) = (self.len(), self.capacity());
        write!(f, "Sender of a queue with {n} of {most} jobs, {} unfinished", self.unfinished())
    }
}

impl<T, W> Serialize for JobSender<T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.link.serialize(serializer)
    }
}

impl<'de, T, W> Deserialize<'de> for JobSender<T, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Link::receive(deserializer, Side::Producers).map(Self::new)
    }
}
