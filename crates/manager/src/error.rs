//! What can become of a call, other than its value.

use std::error::Error;
use std::fmt;

use procession_codec::{DecodeError, EncodeError};
use procession_pipe::{PipeError, RecvError, SendError};
use procession_process::{Exit, SpawnError};

use crate::remote::RemotePanic;

/// Why there is no manager. There is no server then, either.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The server's process could not be started.
    Spawn(SpawnError),
    /// There is no connection to it: descriptors, memory or random numbers have run out.
    Pipe(PipeError),
    /// It did not come so far as to answer.
    Call(CallError),
}

/// Why a call of an object in a server has no value.
///
/// Unless a variant says otherwise nothing was changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The server is gone: shut down, dropped by who had started it, or dead. Whether it still did what was asked is not
    /// known. All objects of it are gone.
    ServerGone {
        /// How it ended, in the process that started it; `None` in all others, or if it does not end.
        exit: Option<Exit>,
    },
    /// The time was up.
    TimedOut,
    /// A `try_` form would have to wait: for room, or for something to come.
    WouldWait,
    /// The queue is closed: nothing is sent to it any more, and all that was sent was received.
    Closed,
    /// An argument does not encode.
    Encode(EncodeError),
    /// What came back is no value of the type that the proxy has. It was done what was asked.
    Decode(DecodeError),
    /// The server refuses; it says why. Among the reasons: the answer would be longer than a message may be; the object is
    /// of another kind; too many requests of this process wait.
    Refused(String),
    /// Code of the user panicked in the server: a method of an object, or what was to make one. What it had changed until
    /// then stays changed.
    Panicked(Box<RemotePanic>),
    /// A method with `&mut self` has panicked before, so the object may be half changed:
    /// [`clear_poison`](crate::RemoteProxy::clear_poison). It holds what the panic said.
    Poisoned(String),
    /// The trait of the object has no method of this name: the server runs another version of it.
    UnknownMethod {
        /// Trait and method.
        method: String,
    },
    /// The method has other types there than here: the server runs another version of the trait.
    OtherVersion {
        /// The signature here.
        ours: String,
        /// The signature in the server.
        theirs: String,
    },
    /// Functions are taken from the process that started the server only, which runs the same program. All others use the
    /// objects that it made.
    NotSameImage,
    /// The answer brought more descriptors than this process can have open. It was done what was asked.
    AnswerLost,
    /// The arguments were not sent: too long for a message, or the system refused.
    NotSent(SendError),
    /// There is no connection to the server: descriptors or memory have run out, or this process is in another network
    /// namespace, or of another user.
    NotConnected(Box<dyn Error + Send + Sync>),
    /// There is no such index in an array.
    OutOfBounds {
        /// The first one that is not there.
        index: u64,
        /// How many there are.
        len: u64,
    },
    /// A field of a namespace is of another type than was asked for. Types are compared by their names.
    WrongType {
        /// What it is of.
        is: String,
        /// What was asked for.
        asked: &'static str,
    },
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl From<PipeError> for StartError {
    fn from(error: PipeError) -> Self {
        Self::Pipe(error)
    }
}

impl From<CallError> for StartError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<EncodeError> for CallError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for CallError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// What an end of a connection says when it can receive no more.
pub(crate) fn is_over(error: &RecvError) -> bool {
    !matches!(error, RecvError::DescriptorsLost | RecvError::TooLarge { .. } | RecvError::TimedOut)
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("starting a manager: ")?;
        match self {
            Self::Spawn(e) => e.fmt(f),
            Self::Pipe(e) => e.fmt(f),
            Self::Call(e) => e.fmt(f),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Spawn(e) => Some(e),
            Self::Pipe(e) => Some(e),
            Self::Call(e) => Some(e),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("calling an object of a manager: ")?;
        match self {
            Self::ServerGone { exit: Some(exit) } => write!(f, "its server is gone: {exit}"),
            Self::ServerGone { exit: None } => f.write_str("its server is gone"),
            Self::TimedOut => f.write_str("the time was up"),
            Self::WouldWait => f.write_str("it would have to wait"),
            Self::Closed => f.write_str("the queue is closed"),
            Self::Encode(e) => e.fmt(f),
            Self::Decode(e) => e.fmt(f),
            Self::Refused(why) => f.write_str(why),
            Self::Panicked(panic) => panic.fmt(f),
            Self::Poisoned(message) => write!(f, "a method has left it half changed: {message}"),
            Self::UnknownMethod { method } => write!(f, "the server's version has no method {method}"),
            Self::OtherVersion { ours, theirs } => {
                write!(f, "the method is {theirs} in the server, and {ours} here")
            }
            Self::NotSameImage => {
                f.write_str("a function is taken from the process that started the server only")
            }
            Self::AnswerLost => f.write_str("the answer brought more descriptors than can be open"),
            Self::NotSent(e) => e.fmt(f),
            Self::NotConnected(e) => e.fmt(f),
            Self::OutOfBounds { index, len } => write!(f, "there is no index {index} among {len}"),
            Self::WrongType { is, asked } => write!(f, "it is of type {is} and was asked for as {asked}"),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(e) => Some(e),
            Self::Decode(e) => Some(e),
            Self::NotSent(e) => Some(e),
            Self::NotConnected(e) => Some(&**e),
            _ => None,
        }
    }
}
