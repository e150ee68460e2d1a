//! Both ends of a queue in one handle.

use std::fmt;
use std::time::{Duration, Instant};

use procession_codec::{Message, Postcard};
use procession_shm::ShmError;
use serde::{Deserialize, Serialize};

use crate::error::{RecvError, SendError};
use crate::iter::{Iter, TryIter};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::wire::Wire;
use crate::{make, many};

/// A queue whose handle can both send and receive, as Python's.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it duplicates. It counts as a sender and as a receiver, so whoever has
/// one never sees the other side gone: [`close`](Self::close) ends the loops of receivers. Where each process only sends or
/// only receives, [`bounded`](crate::bounded) says that in the types, and tells when the others are gone.
///
/// # If a peer dies
/// As for [`Sender`] and [`Receiver`].
///
/// # Examples
/// ```
/// use procession_queue::Queue;
///
/// let queue = Queue::new(10)?;
/// queue.send("hello".to_string())?;
/// assert_eq!(queue.len(), 1);
/// assert_eq!(queue.recv()?, "hello");
/// assert!(queue.try_recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Queue<T, W = Postcard> {
    sender: Sender<T, W>,
    receiver: Receiver<T, W>,
}

/// A queue that a sender never waits for: [`Queue::unbounded`].
pub type SimpleQueue<T> = Queue<T>;

impl<T: Message> Queue<T> {
    /// As [`bounded`](crate::bounded).
    ///
    /// # Errors
    /// Memory, address space or descriptors have run out.
    ///
    /// # Panics
    /// If `n` is 0 or more than 2^24.
    pub fn new(n: usize) -> Result<Self, ShmError> {
        make::bounded(n).map(Self::from)
    }

    /// As [`unbounded`](crate::unbounded).
    ///
    /// # Errors
    /// Memory, address space or descriptors have run out.
    pub fn unbounded() -> Result<Self, ShmError> {
        make::unbounded().map(Self::from)
    }
}

impl<T, W> Queue<T, W> {
    /// The end that sends.
    #[must_use]
    pub fn sender(&self) -> &Sender<T, W> {
        &self.sender
    }

    /// The end that receives.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<T, W> {
        &self.receiver
    }

    /// Both ends.
    #[must_use]
    pub fn into_ends(self) -> (Sender<T, W>, Receiver<T, W>) {
        (self.sender, self.receiver)
    }

    /// As [`Sender::len`].
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.sender.len()
    }

    /// As [`Sender::is_empty`].
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sender.is_empty()
    }

    /// As [`Sender::is_full`].
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    /// As [`Sender::capacity`].
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sender.capacity()
    }

    /// As [`Sender::close`].
    pub fn close(&self) {
        self.sender.close();
    }

    /// As [`Sender::is_closed`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<T, W: Wire<T>> Queue<T, W> {
    /// As [`Sender::send`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    #[doc(alias = "put")]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.sender.send(value)
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.sender.try_send(value)
    }

    /// As [`Sender::send_timeout`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.sender.send_timeout(value, timeout)
    }

    /// As [`Sender::send_until`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_until(&self, value: T, instant: Instant) -> Result<(), SendError<T>> {
        self.sender.send_until(value, instant)
    }

    /// As [`Sender::send_many`].
    ///
    /// # Errors
    /// [`SendManyError`](crate::SendManyError), with those that were not sent.
    pub fn send_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<usize, many::SendManyError<T, I::IntoIter>> {
        self.sender.send_many(values)
    }

    /// As [`Receiver::recv`].
    ///
    /// # Errors
    /// [`RecvError`].
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receiver.recv()
    }

    /// As [`Receiver::try_recv`].
    ///
    /// # Errors
    /// [`RecvError`].
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.receiver.try_recv()
    }

    /// As [`Receiver::recv_timeout`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.receiver.recv_timeout(timeout)
    }

    /// As [`Receiver::recv_until`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_until(&self, instant: Instant) -> Result<T, RecvError> {
        self.receiver.recv_until(instant)
    }

    /// As [`Receiver::recv_many`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.receiver.recv_many(into, max)
    }

    /// As [`Receiver::iter`].
    pub fn iter(&self) -> Iter<'_, T, W> {
        self.receiver.iter()
    }

    /// As [`Receiver::try_iter`].
    pub fn try_iter(&self) -> TryIter<'_, T, W> {
        self.receiver.try_iter()
    }
}

impl<T, W> From<(Sender<T, W>, Receiver<T, W>)> for Queue<T, W> {
    /// Both ends of one queue; ends of two queues make a relay that nobody expects.
    fn from((sender, receiver): (Sender<T, W>, Receiver<T, W>)) -> Self {
        Self { sender, receiver }
    }
}

impl<T, W> Clone for Queue<T, W> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<T, W> fmt::Debug for Queue<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue with {} of {} messages", self.len(), self.capacity())
    }
}

impl<'a, T, W: Wire<T>> IntoIterator for &'a Queue<T, W> {
    type Item = T;
    type IntoIter = Iter<'a, T, W>;

    fn into_iter(self) -> Iter<'a, T, W> {
        self.iter()
    }
}
