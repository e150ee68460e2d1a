//! What can happen to a message on its way through a queue.

use std::error::Error;
use std::fmt;

use procession_codec::{DecodeError, EncodeError};
use procession_shm::ShmError;
use procession_shm::domain::Participant;
use procession_sys::OsError;

/// A value was not sent: it is in here, and no receiver will ever see it.
///
/// # Examples
/// ```
/// use procession_queue::{SendFault, bounded};
///
/// let (tx, rx) = bounded::<String>(1)?;
/// tx.send("one".into())?;
/// let error = tx.try_send("two".into()).unwrap_err();
/// assert!(matches!(error.fault(), SendFault::Full));
/// assert_eq!(error.into_value(), "two");
/// # drop(rx);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SendError<T> {
    value: T,
    fault: SendFault,
}

/// Why a value was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendFault {
    /// `try_send`: there is no room, in items or in bytes. An unbounded queue has reached the limit of its memory.
    Full,
    /// The time was up.
    TimedOut,
    /// Somebody has closed the queue.
    Closed,
    /// No receiver is left, in whatever process: each was dropped, or its process ended.
    Disconnected,
    /// The encoded value is longer than all that the queue takes at once.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The value does not encode.
    Encode(EncodeError),
    /// Another sender was in the middle until the time was up, for `try_send` some 50 µs; it may be stopped.
    Contended {
        /// Who, if that can be known.
        by: Option<Participant>,
    },
    /// The calling thread has no place in the queue's domain: 4096 threads have one, or this thread is ending.
    NoSlot,
    /// The system does not take the handles in it: most often (`ETOOMANYREFS`) as many descriptors are in messages that
    /// nobody has received yet, or in jobs that are not done, as the user may have open. Or there are more than 64,009.
    Handles(OsError),
    /// There is no memory for it.
    Memory(ShmError),
    /// What lies in the queue makes no sense: somebody stored over it.
    Corrupt,
}

/// No value was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// `try_recv`: there is none.
    Empty,
    /// The time was up.
    TimedOut,
    /// The queue was closed, and all that was sent is received.
    Closed,
    /// No sender is left, in whatever process, and all that was sent is received.
    Disconnected,
    /// A message was no value of this type. It is gone: the next call receives the next one.
    Decode(DecodeError),
    /// Another receiver was in the middle until the time was up, for `try_recv` some 50 µs; it may be stopped.
    Contended {
        /// Who, if that can be known.
        by: Option<Participant>,
    },
    /// The calling thread has no place in the queue's domain: 4096 threads have one, or this thread is ending.
    NoSlot,
    /// There is no memory for it here, or there are no descriptors left for its handles; those of a job can neither be kept
    /// if too many are of jobs that are not done. It is still queued.
    Memory(ShmError),
    /// What lies in the queue makes no sense: somebody stored over it.
    Corrupt,
}

impl<T> SendError<T> {
    pub(crate) fn new(value: T, fault: SendFault) -> Self {
        Self { value, fault }
    }

    /// Why it was not sent.
    #[must_use]
    pub fn fault(&self) -> &SendFault {
        &self.fault
    }

    /// The value that was not sent.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// The value that was not sent, and why.
    #[must_use]
    pub fn into_parts(self) -> (T, SendFault) {
        (self.value, self.fault)
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl<T> Error for SendError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

impl fmt::Display for SendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sending to a queue: ")?;
        match self {
            Self::Full => f.write_str("it is full"),
            Self::TimedOut => f.write_str("timed out, it is full and nobody receives"),
            Self::Closed => f.write_str("it was closed"),
            Self::Disconnected => f.write_str("no receiver is left"),
            Self::TooLarge { len, limit } => {
                write!(f, "{len} bytes are more than the {limit} that it takes; make it with `bounded_bytes`")
            }
            Self::Encode(error) => error.fmt(f),
            Self::Contended { by } => in_the_way(f, "sender", by.as_ref()),
            Self::NoSlot => f.write_str("this thread has no place in its domain"),
            Self::Handles(error) => {
                write!(f, "its handles: {error}; receive some first, or raise the limit of open files")
            }
            Self::Memory(error) => error.fmt(f),
            Self::Corrupt => f.write_str("what lies in it makes no sense, somebody stored over it"),
        }
    }
}

impl Error for SendFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Handles(error) => Some(error),
            Self::Memory(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving from a queue: ")?;
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TimedOut => f.write_str("timed out, nothing was sent"),
            Self::Closed => f.write_str("it was closed, and everything is received"),
            Self::Disconnected => f.write_str("no sender is left, and everything is received"),
            Self::Decode(error) => error.fmt(f),
            Self::Contended { by } => in_the_way(f, "receiver", by.as_ref()),
            Self::NoSlot => f.write_str("this thread has no place in its domain"),
            Self::Memory(error) => error.fmt(f),
            Self::Corrupt => f.write_str("what lies in it makes no sense, somebody stored over it"),
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::Memory(error) => Some(error),
            _ => None,
        }
    }
}

fn in_the_way(f: &mut fmt::Formatter<'_>, what: &str, by: Option<&Participant>) -> fmt::Result {
    match by {
        Some(who) => write!(f, "another {what} is in the middle: process {}", who.pid()),
        None => write!(f, "another {what} is in the middle"),
    }
}
