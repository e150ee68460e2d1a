//! Descriptors from elsewhere that become connections, and connections that become descriptors.
//!
//! The transport is chosen here, by the kind of the socket.

use std::error::Error;
use std::fmt;
use std::os::fd::OwnedFd;

use procession_sys::OsError;
use procession_sys::socket::{self, Kind};

use crate::Connection;
use crate::link::Transport;

/// Why a descriptor did not become a [`Connection`].
#[derive(Debug)]
#[non_exhaustive]
pub struct AdoptError {
    /// The descriptor, as it was.
    pub descriptor: OwnedFd,
    /// What is wrong with it.
    pub why: AdoptFault,
}

/// What is wrong with a descriptor that was to become a [`Connection`].
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptFault {
    /// It is no socket.
    NotASocket,
    /// It is a socket, but neither of the family `AF_UNIX` nor of TCP.
    OtherFamily,
    /// It is a datagram socket, which has no end.
    Datagram,
    /// It is not connected: new, or listening.
    NotConnected,
    /// The system failed us.
    Os(OsError),
}

/// Why a [`Connection`] did not become a descriptor.
#[derive(Debug)]
#[non_exhaustive]
pub struct IntoFdError {
    /// The connection, as it was.
    pub connection: Connection,
    /// What stands in the way.
    pub why: IntoFdFault,
}

/// What keeps a [`Connection`] from becoming a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntoFdFault {
    /// It was sent to another process.
    Moved,
    /// It has received half of a message, or has to tell the other end of a message it gave up: receive or send one
    /// first. Or [its descriptor](Connection::descriptor) is still in use.
    Busy,
}

pub(crate) fn check(descriptor: OwnedFd) -> Result<(OwnedFd, Transport), AdoptError> {
    let why = match socket::kind(&descriptor) {
        Ok(kind @ (Kind::Packets | Kind::Stream)) => match socket::close_on_exec(&descriptor) {
            Ok(()) if kind == Kind::Packets => return Ok((descriptor, Transport::Packets)),
            Ok(()) => return Ok((descriptor, Transport::Stream)),
            Err(error) => AdoptFault::Os(error),
        },
        Ok(Kind::Datagrams) => AdoptFault::Datagram,
        Ok(Kind::NotConnected) => AdoptFault::NotConnected,
        Ok(Kind::NotLocal) => AdoptFault::OtherFamily,
        Ok(_) => AdoptFault::NotASocket,
        Err(error) => AdoptFault::Os(error),
    };
    Err(AdoptError { descriptor, why })
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("making a connection of a descriptor: ")?;
        match &self.why {
            AdoptFault::NotASocket => f.write_str("it is no socket"),
            AdoptFault::OtherFamily => f.write_str("it is a socket neither of AF_UNIX nor of TCP"),
            AdoptFault::Datagram => f.write_str("it is a datagram socket, which has no end"),
            AdoptFault::NotConnected => f.write_str("it is not connected"),
            AdoptFault::Os(e) => e.fmt(f),
        }
    }
}

impl Error for AdoptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let AdoptFault::Os(e) = &self.why { Some(e.os_error()) } else { None }
    }
}

impl fmt::Display for IntoFdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            IntoFdFault::Moved => "making a descriptor of a connection: it was sent to another process",
            IntoFdFault::Busy => "making a descriptor of a connection: it is in use, or inside of a message",
        })
    }
}

impl Error for IntoFdError {}
