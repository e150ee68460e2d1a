//! What a descriptor that came from elsewhere is, as the kernel says: nothing is believed of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::{OsError, Result};

/// Checks that `socket` is one that [`pair`](super::pair) could have made: for descriptors that come from elsewhere.
///
/// # Errors
/// It is no socket, or of another kind (`InvalidInput`).
pub fn check(socket: impl AsFd) -> Result<()> {
    let doing = "checking a received socket";
    let kind = rustix::net::sockopt::socket_type(&socket).map_err(|errno| OsError::new(doing, errno))?;
    let family = rustix::net::sockopt::socket_domain(&socket).map_err(|errno| OsError::new(doing, errno))?;
    if (kind, family) == (SocketType::SEQPACKET, AddressFamily::UNIX) {
        return Ok(());
    }
    Err(OsError::new(doing, io::Error::new(io::ErrorKind::InvalidInput, "it does not carry packets")))
}

/// What a descriptor that came from elsewhere is, to those who look for a connected local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A connected local socket that keeps packet boundaries, as [`pair`](super::pair) makes.
    Packets,
    /// A connected stream socket, local or of TCP.
    Stream,
    /// A local datagram socket.
    Datagrams,
    /// A socket that could be one of the first two, but was not connected, or listens.
    NotConnected,
    /// A socket of another family, or of the internet but not of TCP.
    NotLocal,
    /// No socket.
    NoSocket,
}

/// Asks the kernel what `descriptor` is.
///
/// # Errors
/// The system refused.
pub fn kind(descriptor: impl AsFd) -> Result<Kind> {
    let failed = |errno| OsError::new("looking at a descriptor", errno);
    let kind = match rustix::net::sockopt::socket_type(&descriptor) {
        Err(Errno::NOTSOCK) => return Ok(Kind::NoSocket),
        kind => kind.map_err(failed)?,
    };
    let family = rustix::net::sockopt::socket_domain(&descriptor).map_err(failed)?;
    let connected = match (family, kind) {
        (AddressFamily::UNIX, SocketType::SEQPACKET) => Kind::Packets,
        (AddressFamily::UNIX | AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => {
            Kind::Stream
        }
        (AddressFamily::UNIX, _) => return Ok(Kind::Datagrams),
        _ => return Ok(Kind::NotLocal),
    };
    match rustix::net::getpeername(&descriptor) {
        Ok(_) => Ok(connected),
        Err(Errno::NOTCONN | Errno::INVAL) => Ok(Kind::NotConnected),
        Err(errno) => Err(failed(errno)),
    }
}

/// Lets `descriptor` be closed when another program is executed.
///
/// # Errors
/// None that is known.
pub fn close_on_exec(descriptor: impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| OsError::new("setting close-on-exec", errno))
}

/// A socket as those of [`pair`](super::pair) that is connected to nothing: for the tests of those who refuse it.
///
/// # Errors
/// Too many open descriptors.
#[doc(hidden)]
pub fn unconnected() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| OsError::new("creating a socket", errno))
}
