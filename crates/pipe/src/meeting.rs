//! What can go wrong where a listener and a client meet.

use std::error::Error;
use std::fmt;

use procession_sys::OsError;
use procession_sys::socket::Peer;

use crate::Address;
use crate::hello::VERSION;

/// Why nobody listens at an address.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListenError {
    /// The address.
    pub address: Address,
    /// What is wrong with it.
    pub why: ListenFault,
}

/// What is wrong with an address to listen at.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenFault {
    /// Somebody who lives has it.
    InUse,
    /// There is a file, and it is no socket: it is left alone.
    NotASocket,
    /// There is a socket file, and somebody keeps its directory locked, so that it cannot be reclaimed.
    DirectoryLocked,
    /// It can be reached from other machines, and there is no key: give one, or
    /// [say](crate::ListenerBuilder::allow_strangers) that anybody may come.
    KeyNeeded,
    /// The system refused.
    Os(OsError),
}

/// Why there is no connection to an address.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// The address.
    pub address: Address,
    /// What stands in the way.
    pub why: ConnectFault,
}

/// What stands in the way of a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectFault {
    /// Nobody listens there: not yet, or not any more.
    NobodyListens,
    /// The time was up: the listener accepts nobody, or cannot be reached.
    TimedOut,
    /// The listener is of another user than we are, and that was not [allowed](crate::ClientBuilder::allow_other_users).
    OtherUser {
        /// Its user.
        uid: u32,
    },
    /// We are of another user than the listener, which does not allow that.
    WeAreOtherUser,
    /// The listener demands a key, and we have none.
    KeyNeeded,
    /// We have a key, and the listener has none.
    KeyNotShared,
    /// The listener has another key.
    WrongKey,
    /// Somebody passes on what is said between two addresses of different kinds.
    Relayed,
    /// The listener speaks another version.
    OtherVersion {
        /// Its version; ours is 1.
        theirs: u16,
    },
    /// Whoever listens there is no [`Listener`](crate::Listener).
    Foreign,
    /// The listener closed the connection, or died, before it had let us in.
    Closed,
    /// The system refused.
    Os(OsError),
}

/// Why no client was accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The listener was closed.
    Closed,
    /// `try_accept`: no client is there that could be let in, or another thread is accepting.
    Empty,
    /// The time was up.
    TimedOut,
    /// The system failed us, as a rule because this process has too many open descriptors. The clients still wait.
    Os(OsError),
}

/// A client that was not let in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// Who it was.
    pub peer: Peer,
    /// Why.
    pub why: Refusal,
}

/// Why a client was not let in.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It is of another user, and that was not [allowed](crate::ListenerBuilder::allow_other_users).
    OtherUser,
    /// It has no key.
    NoKey,
    /// It has a key, and we have none.
    KeyNotShared,
    /// It has another key, or none and pretends.
    WrongKey,
    /// Somebody passes on what is said between two addresses of different kinds.
    Relayed,
    /// It speaks another version.
    OtherVersion {
        /// Its version; ours is 1.
        theirs: u16,
    },
    /// It does not speak our protocol.
    Foreign,
    /// It went away, or died, in the middle of the handshake.
    Gone,
    /// It did not say what it had to say in time.
    TimedOut,
    /// It was the oldest of those that had not introduced themselves yet, and there were too many.
    Crowded,
    /// The system failed us.
    Os(OsError),
}

impl AcceptError {
    /// The answer of a form that does not wait.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut => Self::Empty,
            other => other,
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listening at {}: ", self.address)?;
        match &self.why {
            ListenFault::InUse => f.write_str("somebody listens there"),
            ListenFault::NotASocket => f.write_str("there is a file that is no socket"),
            ListenFault::DirectoryLocked => {
                f.write_str("a socket file is there, and somebody keeps its directory locked")
            }
            ListenFault::KeyNeeded => f.write_str(
                "other machines can reach it: give it a key, or allow strangers where everybody may come",
            ),
            ListenFault::Os(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connecting to {}: ", self.address)?;
        match &self.why {
            ConnectFault::NobodyListens => f.write_str("nobody listens there"),
            ConnectFault::TimedOut => f.write_str("the time was up, does the listener accept?"),
            ConnectFault::OtherUser { uid } => write!(
                f,
                "the listener is of user {uid}, which is not ours; allow other users if that is as it should be"
            ),
            ConnectFault::WeAreOtherUser => f.write_str("the listener lets its own user in only"),
            ConnectFault::KeyNeeded => f.write_str("the listener demands a key"),
            ConnectFault::KeyNotShared => {
                f.write_str("the listener has no key to prove that it is the right one")
            }
            ConnectFault::WrongKey => f.write_str("the listener has another key"),
            ConnectFault::Relayed => {
                f.write_str("somebody in between passes it on to an address of another kind")
            }
            ConnectFault::OtherVersion { theirs } => {
                write!(f, "the listener speaks version {theirs}, and we version {VERSION}")
            }
            ConnectFault::Foreign => f.write_str("who listens there does not speak our protocol"),
            ConnectFault::Closed => f.write_str("the listener went away before it had let us in"),
            ConnectFault::Os(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("accepting a client: the listener was closed"),
            Self::Empty => f.write_str("accepting a client: none is there"),
            Self::TimedOut => f.write_str("accepting a client: the time was up"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Peer::Local { pid, uid, .. } => write!(f, "client {pid} of user {uid}: ")?,
            Peer::Tcp(address) => write!(f, "client at {address}: ")?,
        }
        self.why.fmt(f)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherUser => f.write_str("it is of another user"),
            Self::NoKey => f.write_str("it has no key"),
            Self::KeyNotShared => f.write_str("it has a key, and the listener has none"),
            Self::WrongKey => f.write_str("it has another key"),
            Self::Relayed => f.write_str("somebody in between passes on what it says"),
            Self::OtherVersion { theirs } => {
                write!(f, "it speaks version {theirs}, and we version {VERSION}")
            }
            Self::Foreign => f.write_str("it does not speak our protocol"),
            Self::Gone => f.write_str("it went away before it was let in"),
            Self::TimedOut => f.write_str("it did not introduce itself in time"),
            Self::Crowded => f.write_str("too many others were about to introduce themselves"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let ListenFault::Os(e) = &self.why { Some(e.os_error()) } else { None }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let ConnectFault::Os(e) = &self.why { Some(e.os_error()) } else { None }
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Os(e) = self { Some(e.os_error()) } else { None }
    }
}
