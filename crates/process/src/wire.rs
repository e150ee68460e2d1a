//! What parent and child say to each other on their private channel.
//!
//! Parent to child, once: [`Start`]. Child to parent: at most one [`Report::LastWords`], at most one other report.
//! Bodies above [`INLINE`] travel in a sealed memfd, so that everything a child ever says fits into the socket's
//! buffer: a child never waits for its parent to read, and a parent may read after the child's death.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use procession_codec::{Bytes, Codec, DecodeError, Postcard};
use procession_sys::memory::Memfd;
use procession_sys::message::{Outgoing, SendError};
use procession_sys::{Deadline, OsError};
use serde::{Deserialize, Serialize};

use crate::companion::Sent;
use crate::error::Panic;
use crate::start_method::StartMethod;
use crate::tree::Place;

/// Longest body that travels inside its message, in bytes.
pub(crate) const INLINE: usize = 16 << 10;
/// Longest message, in bytes: a body and what surrounds it.
pub(crate) const LIMIT: u64 = 128 << 10;

/// What the child shall do. Descriptors: those of the argument, then those of the gifts, the domain, the sentinel, and the body's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) place: Place,
    /// A function token.
    pub(crate) function: Bytes,
    pub(crate) ignore_interrupt: bool,
    /// How its own children are started where they do not say.
    pub(crate) start_method: StartMethod,
    /// Whether the [domain](crate::domain) of the tree comes along.
    pub(crate) domain: bool,
    /// Whether there is a sentinel: a descriptor held open as long as the child lives.
    pub(crate) sentinel: bool,
    pub(crate) argument: Body,
    /// What crates above give to it.
    pub(crate) gifts: Vec<Sent>,
}

/// What the child has to say. Descriptors: those of the value, then the body's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Here is the page on which panics are written: see [`panics`](crate::panics).
    LastWords,
    /// The task panicked and that ended it.
    Panicked(Panic),
    /// The task returned.
    Returned(Body),
    /// The child could not come so far as to run the task.
    NotRun(String),
    /// The argument did not decode.
    BadArgument(String),
    /// The value did not encode.
    BadResult(String),
}

/// Encoded bytes, in the message or beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Body {
    /// Here.
    Inline(Bytes),
    /// In the memfd that is the message's last descriptor.
    Memory,
}

impl Body {
    /// Puts `bytes` where they shall travel.
    pub(crate) fn pack(bytes: Vec<u8>) -> Result<(Self, Option<Memfd>), OsError> {
        if bytes.len() <= INLINE {
            return Ok((Self::Inline(bytes.into()), None));
        }
        Ok((Self::Memory, Some(Memfd::from_bytes("procession-body", &bytes)?)))
    }

    /// Gets the bytes back; takes the memfd out of `descriptors`.
    pub(crate) fn unpack(self, descriptors: &mut Vec<OwnedFd>) -> Result<Vec<u8>, OsError> {
        match self {
            Self::Inline(bytes) => Ok(bytes.into_vec()),
            Self::Memory => take_memory(descriptors)?.read_all(),
        }
    }
}

/// The memfd that is the last descriptor of a message.
pub(crate) fn take_memory(descriptors: &mut Vec<OwnedFd>) -> Result<Memfd, OsError> {
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "its descriptor is missing");
    let memory =
        descriptors.pop().ok_or_else(|| OsError::new("taking shared memory out of a message", missing()))?;
    Memfd::adopt(memory)
}

/// One side's end of the channel. Threads send in turn.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    outgoing: Mutex<Outgoing>,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, outgoing: Mutex::new(Outgoing::new()) }
    }

    /// Sends `message` with `descriptors`. With a deadline that has passed it never waits.
    pub(crate) fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), OsError> {
        // A panic while sending leaves a message cut short, which `Outgoing` knows how to go on from.
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = send(&mut outgoing, self.as_fd(), message, descriptors, deadline);
        sent.map_err(|e| OsError::new("reporting to the parent", io::Error::other(e)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Encodes and sends one message.
pub(crate) fn send(
    outgoing: &mut Outgoing,
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<(), SendError> {
    let mut bytes = Vec::new();
    Postcard::encode_into(message, &mut bytes)
        .map_err(|e| SendError::Os(OsError::new("encoding a message of a process", io::Error::other(e))))?;
    outgoing.send(socket, &bytes, descriptors, deadline)
}

/// Decodes a message of the other side.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecodeError> {
    Postcard::decode(bytes)
}
