//! Queues in a server.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_codec::Message;

use crate::error::CallError;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item, Kind, Load, QueueAsk};

/// A queue in a server with a bound on its items, made by [`Manager::queue`](crate::Manager::queue).
///
/// What is sent is received once, in order. For speed use the queues in shared memory; this one is for values of any size,
/// and for a queue that is itself a value of another object. What a [`Dict`](crate::Dict) says of its values, of sharing and
/// of a dead server is true here.
///
/// **If a client dies** that waits, nobody waits there any more; what it was to receive at this very moment, one item at
/// most for each of its threads, is lost with it. Nobody closes the queue by dying: call [`close`](Self::close).
///
/// ```
/// use procession_manager::{CallError, Manager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let queue = manager.queue::<String>(1)?;
/// queue.send(&"one".into())?;
/// assert!(matches!(queue.try_send(&"two".into()), Err(CallError::WouldWait)));
/// queue.close()?;
/// assert_eq!(queue.recv()?, "one");
/// assert!(matches!(queue.recv(), Err(CallError::Closed)));
/// # Ok(()) }
/// ```
pub struct Queue<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(Queue<T>, Kind::Queue);

impl<T: Message> Queue<T> {
    /// Sends a value. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`CallError::Closed`], and others; the value is never received then.
    #[doc(alias = "put")]
    pub fn send(&self, value: &T) -> Result<(), CallError> {
        self.send_by(value, true, None)
    }

    /// [`send`](Self::send) without waiting: [`CallError::WouldWait`] if the queue is full.
    pub fn try_send(&self, value: &T) -> Result<(), CallError> {
        self.send_by(value, false, None)
    }

    /// [`send`](Self::send) for at most `timeout`.
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), CallError> {
        self.send_by(value, true, Instant::now().checked_add(timeout))
    }

    /// [`send`](Self::send) until `instant`.
    pub fn send_until(&self, value: &T, instant: Instant) -> Result<(), CallError> {
        self.send_by(value, true, Some(instant))
    }

    /// Receives the next value. Blocks until there is one, or the queue is closed.
    ///
    /// # Errors
    /// [`CallError::Closed`] when all was received, and others.
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, CallError> {
        self.recv_by(true, None)
    }

    /// [`recv`](Self::recv) without waiting: [`CallError::WouldWait`] if the queue is empty.
    pub fn try_recv(&self) -> Result<T, CallError> {
        self.recv_by(false, None)
    }

    /// [`recv`](Self::recv) for at most `timeout`. What comes at that moment is received, or stays.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, CallError> {
        self.recv_by(true, Instant::now().checked_add(timeout))
    }

    /// [`recv`](Self::recv) until `instant`. What comes at that moment is received, or stays.
    pub fn recv_until(&self, instant: Instant) -> Result<T, CallError> {
        self.recv_by(true, Some(instant))
    }

    /// Receives what is there, `most` at most, in one step and without waiting; none if the queue is empty.
    ///
    /// # Errors
    /// [`CallError::Closed`] when all was received, and others. All together may have 64 MiB.
    pub fn try_recv_many(&self, most: u64) -> Result<Vec<T>, CallError> {
        match self.0.ask(Ask::Queue(QueueAsk::RecvMany(most)))? {
            Answer::Items(items) => Ok(items.into_iter().map(Item::unpack).collect::<Result<_, _>>()?),
            other => Err(unexpected(&other)),
        }
    }

    /// The values as they come, ending at the first error, as a rule that the queue is closed. Each step blocks.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        std::iter::from_fn(|| self.recv().ok())
    }

    /// How many values are there now.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Queue(QueueAsk::Len))
    }

    /// Whether no value is there now.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// How many values it holds at most.
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Queue(QueueAsk::Capacity))
    }

    /// Whether it holds as many values now as it can.
    pub fn is_full(&self) -> Result<bool, CallError> {
        Ok(self.len()? >= self.capacity()?)
    }

    /// Nothing can be sent from now on; what is there can be received. Who waits to send hears that it is closed, who waits
    /// to receive does when nothing is left. Does nothing to a closed one.
    pub fn close(&self) -> Result<(), CallError> {
        self.0.done(Ask::Queue(QueueAsk::Close), Load::default())
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> Result<bool, CallError> {
        self.0.yes(Ask::Queue(QueueAsk::IsClosed))
    }

    fn send_by(&self, value: &T, waits: bool, until: Option<Instant>) -> Result<(), CallError> {
        let mut load = Load::default();
        let item = load.pack(value)?;
        self.0.done_by(Ask::Queue(QueueAsk::Send(item, waits)), load, until)
    }

    fn recv_by(&self, waits: bool, until: Option<Instant>) -> Result<T, CallError> {
        self.0.needed(Ask::Queue(QueueAsk::Recv(waits)), Load::default(), until)
    }
}
