//! Messages over packets: any number of bytes and any number of descriptors, wholly there or wholly absent.
//!
//! A message is one packet where it fits, so that small messages cost one system call each way. A longer one is
//! cut into packets, each with a header; the receiver puts it together again. Either side may give up
//! waiting at any packet without losing its place:
//! - a *sender* whose deadline passes in the middle owes the receiver a notice that the message is void. The notice
//!   goes out ahead of its next message, or at once by [`Outgoing::give_up`]; the receiver then drops what it has of
//!   the void one;
//! - a *receiver* whose deadline passes keeps what it has and goes on from there in its next call.
//!
//! What the survivor sees if the peer is killed: before the first packet, the end ([`RecvError::Closed`]); between
//! two packets of a message, [`RecvError::ClosedInside`]; after the last one, the message and then the end. A
//! sender sees [`SendError::Closed`].
//!
//! What a lying peer can do: have its messages refused, or the stream declared [`RecvError::Corrupt`] for good. A
//! false length costs no memory, since room is made only for what has arrived. Held by `tests/message.rs` and
//! `tests/hostile.rs`.
//!
//! A long message is not put into shared memory of its own: to make, reserve, seal and pass on a sealed file took longer
//! than the packets that it saves, at every length that was tried, from 64 KiB to 4 MiB.
//!
//! Over a stream, which keeps no boundaries, packets become frames ([`Outgoing::over_stream`],
//! [`Incoming::over_stream`]); the rest is the same, but descriptors do not travel.
//!
//! One [`Outgoing`] or [`Incoming`] belongs to one end of one socket; several threads or processes that use the
//! same end must take turns, message by message.

use std::os::fd::OwnedFd;
use std::{error, fmt};

use crate::OsError;

mod frames;
mod header;
mod incoming;
mod outgoing;
mod partial;

pub use incoming::{Incoming, Lent};
pub use outgoing::{Outgoing, Progress};

/// The most bytes of a message that one packet carries, beside its header.
///
/// Larger packets pass long messages on faster, but one has to fit into a socket's buffer, which by default has
/// 208 KiB: a [sender](Outgoing) whose socket has less uses smaller ones.
pub const PAYLOAD: usize = 128 << 10;

/// How many bytes [`Outgoing::send_framed`] needs ahead of a message, for its header.
pub const HEADROOM: usize = header::LEN;

/// A received message.
#[derive(Debug)]
#[non_exhaustive]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, in the order they were sent; close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a message was not sent. The receiver will not see any of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is closed.
    Closed,
    /// The deadline passed; the connection stays usable.
    TimedOut,
    /// The system refused; the connection stays usable.
    Os(OsError),
}

/// Why no message was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is closed, and every message it had sent has been received.
    Closed,
    /// The other end closed, or died, in the middle of a message, which is lost.
    ClosedInside {
        /// How many bytes of it had come.
        got: u64,
        /// How many it was to have.
        of: u64,
    },
    /// The deadline passed. What has come of a message is kept for the next call.
    TimedOut,
    /// The message is longer than the receiver's limit; it is dropped, and the next call receives the next one.
    TooLarge {
        /// How many bytes it has, as its sender says.
        len: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The message brought more descriptors than this process can have open; it is dropped, descriptors and all,
    /// and the next call receives the next one.
    DescriptorsLost,
    /// The other end does not keep to the format; nothing more can be received.
    Corrupt(Fault),
    /// The system refused; a later call may succeed.
    Os(OsError),
}

/// What was wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Shorter than a header.
    Short,
    /// More payload than a packet may carry.
    Oversized,
    /// Not one of the known kinds.
    UnknownKind,
    /// The first packet of a message, inside of another message.
    Nested,
    /// A further packet of a message, where there is none.
    Stray,
    /// A further packet that does not start where the one before ended.
    Gap,
    /// More bytes than the message was to have.
    Overlong,
    /// Another number of descriptors than the header says.
    Descriptors,
    /// A further packet that brings nothing.
    Idle,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("sending a message: the other end is closed"),
            Self::TimedOut => f.write_str("sending a message: timed out, the other end does not read"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving a message: ")?;
        match self {
            Self::Closed => f.write_str("the other end is closed"),
            Self::ClosedInside { got, of } => write!(f, "the other end closed after {got} of {of} bytes"),
            Self::TimedOut => f.write_str("timed out"),
            Self::TooLarge { len, limit } => write!(f, "{len} bytes are more than the limit of {limit}"),
            Self::DescriptorsLost => {
                f.write_str("no room for its descriptors, is the limit of open ones reached?")
            }
            Self::Corrupt(fault) => write!(f, "not in the expected format: {fault}"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "packet without a header",
            Self::Oversized => "packet too long",
            Self::UnknownKind => "packet of unknown kind",
            Self::Nested => "message begins inside another",
            Self::Stray => "packet outside of a message",
            Self::Gap => "packet out of sequence",
            Self::Overlong => "more bytes than announced",
            Self::Descriptors => "other descriptors than announced",
            Self::Idle => "packet that brings nothing",
        })
    }
}

impl error::Error for SendError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::Os(error) = self { Some(error) } else { None }
    }
}

impl error::Error for RecvError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::Os(error) = self { Some(error) } else { None }
    }
}
