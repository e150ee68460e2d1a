//! What can happen to a message on its way.

use std::error::Error;
use std::{fmt, io};

use procession_codec::{DecodeError, EncodeError};
use procession_sys::OsError;
use procession_sys::message;

/// Why there is no pipe: descriptors or memory have run out.
#[derive(Debug)]
pub struct PipeError(pub(crate) OsError);

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for PipeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.os_error())
    }
}

/// Why a value was not sent. It is never received, and handles in it are still ours.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is gone: dropped, or its process has ended.
    Closed,
    /// `try_send`: the kernel's buffer is full, or another thread is sending.
    Full,
    /// The time was up.
    TimedOut,
    /// The encoded value is longer than the limit of this end.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The value does not encode.
    Encode(EncodeError),
    /// This end was sent to another process, or is on its way; also where the value holds this very end.
    Moved,
    /// The system failed us.
    Os(OsError),
}

/// Why no value was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is gone, and everything it sent was received.
    Closed,
    /// The other end went away in the middle of a message, as a rule because its process was killed; what came before
    /// it was received.
    ClosedInside {
        /// Bytes of the message that arrived.
        got: u64,
        /// Bytes it was to have.
        of: u64,
    },
    /// `try_recv`: no message is there, or another thread is receiving.
    Empty,
    /// The time was up.
    TimedOut,
    /// A message was longer than the limit of this end. It was skipped: the next call receives the next message.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A message brought more descriptors than this process can have open. It is gone: the next call receives the next
    /// message.
    DescriptorsLost,
    /// A message was no value of this type. It is gone: the next call receives the next message.
    Decode(DecodeError),
    /// What arrives makes no sense; nothing more can be received.
    Corrupt(String),
    /// This end was sent to another process, or is on its way.
    Moved,
    /// The system failed us.
    Os(OsError),
}

/// Why a message was not put into a buffer.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvIntoError {
    /// The message, which is longer than the buffer.
    BufferTooShort(Vec<u8>),
    /// There was no message.
    Recv(RecvError),
}

impl From<RecvError> for RecvIntoError {
    fn from(error: RecvError) -> Self {
        Self::Recv(error)
    }
}

impl fmt::Display for RecvIntoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooShort(message) => {
                write!(
                    f,
                    "receiving on a pipe: a message of {} bytes is longer than the buffer",
                    message.len()
                )
            }
            Self::Recv(e) => e.fmt(f),
        }
    }
}

impl Error for RecvIntoError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Recv(e) = self { e.source() } else { None }
    }
}

impl SendError {
    /// The answer of a form that does not wait.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut => Self::Full,
            other => other,
        }
    }
}

impl RecvError {
    /// The answer of a form that does not wait.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut => Self::Empty,
            other => other,
        }
    }
}

impl From<message::SendError> for SendError {
    fn from(error: message::SendError) -> Self {
        match error {
            message::SendError::Closed => Self::Closed,
            message::SendError::TimedOut => Self::TimedOut,
            message::SendError::Os(e) => Self::Os(e),
            other => Self::Os(OsError::new("sending on a pipe", io::Error::other(other))),
        }
    }
}

impl From<message::RecvError> for RecvError {
    fn from(error: message::RecvError) -> Self {
        match error {
            message::RecvError::Closed => Self::Closed,
            message::RecvError::ClosedInside { got, of } => Self::ClosedInside { got, of },
            message::RecvError::TimedOut => Self::TimedOut,
            message::RecvError::TooLarge { len, limit } => Self::TooLarge { len, limit },
            message::RecvError::DescriptorsLost => Self::DescriptorsLost,
            message::RecvError::Corrupt(fault) => Self::Corrupt(fault.to_string()),
            message::RecvError::Os(e) => Self::Os(e),
            other => Self::Os(OsError::new("receiving on a pipe", io::Error::other(other))),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("sending on a pipe: the other end is gone"),
            Self::Full => f.write_str("sending on a pipe: it is full"),
            Self::TimedOut => f.write_str("sending on a pipe: the time was up"),
            Self::TooLarge { len, limit } => {
                write!(f, "sending on a pipe: {len} bytes are more than the limit of {limit}")
            }
            Self::Encode(e) => write!(f, "sending on a pipe: {e}"),
            Self::Moved => f.write_str("sending on a pipe: this end was sent to another process"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("receiving on a pipe: the other end is gone"),
            Self::ClosedInside { got, of } => {
                write!(
                    f,
                    "receiving on a pipe: the other end went away after {got} of {of} bytes of a message"
                )
            }
            Self::Empty => f.write_str("receiving on a pipe: no message is there"),
            Self::TimedOut => f.write_str("receiving on a pipe: the time was up"),
            Self::TooLarge { len, limit } => {
                write!(f, "receiving on a pipe: a message of {len} bytes is more than the limit of {limit}")
            }
            Self::DescriptorsLost => f.write_str(
                "receiving on a pipe: a message brought more descriptors than this process can have open",
            ),
            Self::Decode(e) => write!(f, "receiving on a pipe: {e}"),
            Self::Corrupt(why) => write!(f, "receiving on a pipe: {why}"),
            Self::Moved => f.write_str("receiving on a pipe: this end was sent to another process"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(e) => Some(e),
            Self::Os(e) => Some(e.os_error()),
            _ => None,
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Decode(e) => Some(e),
            Self::Os(e) => Some(e.os_error()),
            _ => None,
        }
    }
}
