//! Sockets with addresses: listening, accepting, connecting, and who is at the other end.
//!
//! Local sockets keep packet boundaries, as those of [`pair`](super::pair); TCP is a stream. All are close-on-exec from
//! birth. Names in the file system are in [`super::name`].

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, ipproto, sockopt, sockopt::Timeout,
};

use super::credentials;
use crate::poll::{self, Interest};
use crate::{Deadline, OsError, Result};

/// Where a socket is met.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint<'a> {
    /// At a file.
    Path(&'a Path),
    /// At a name that is no file, of this network namespace.
    Abstract(&'a [u8]),
    /// At an address and a port.
    Tcp(SocketAddr),
}

/// Who is at the other end of a connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, as it was when it connected, listened, or made the pair.
    Local {
        /// Its number in our namespace; 0 if it has none there.
        pid: u32,
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
    },
    /// Somebody at an address.
    Tcp(SocketAddr),
}

/// A socket that listens at a name that is no file, or at an address; for files see [`FileName`](super::FileName). It
/// does not block in [`accept`].
///
/// # Errors
/// `AddrInUse`; the name is too long; a port of privileged users; an address that is not ours.
///
/// # Panics
/// If `endpoint` is a path.
pub fn listen(endpoint: Endpoint<'_>, backlog: u32) -> Result<OwnedFd> {
    let failed = |errno| OsError::new("listening", errno);
    let socket = match endpoint {
        Endpoint::Path(_) => panic!("a file is listened at by its name"),
        Endpoint::Abstract(name) => {
            let socket = local(SocketType::SEQPACKET, SocketFlags::NONBLOCK)?;
            let address = SocketAddrUnix::new_abstract_name(name).map_err(failed)?;
            rustix::net::bind(&socket, &address).map_err(failed)?;
            socket
        }
        Endpoint::Tcp(address) => {
            let socket = internet(address, SocketFlags::NONBLOCK)?;
            // The rest of earlier connections does not keep the port.
            sockopt::set_socket_reuseaddr(&socket, true).map_err(failed)?;
            rustix::net::bind(&socket, &address).map_err(failed)?;
            socket
        }
    };
    rustix::net::listen(&socket, backlog.min(i32::MAX as u32) as i32).map_err(failed)?;
    Ok(socket)
}

/// The next connection, if one waits. It blocks, unlike `listener`.
///
/// # Errors
/// Too many open descriptors; the connection then still waits.
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>> {
    loop {
        match rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
            Ok(socket) => {
                tune(&socket);
                return Ok(Some(socket));
            }
            Err(Errno::AGAIN) => return Ok(None),
            // Interrupted; or of a client that is gone again.
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(
                Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => return Ok(None),
            Err(errno) => return Err(OsError::new("accepting a connection", errno)),
        }
    }
}

/// A socket connected to whoever listens at `endpoint`. Waits while the listener's backlog is full, and for an answer over
/// the network.
///
/// # Errors
/// `ConnectionRefused` or `NotFound` where nobody listens; `ConnectionReset` where one ended just then; `TimedOut` at the deadline; `PermissionDenied`.
pub fn connect(endpoint: Endpoint<'_>, deadline: Deadline) -> Result<OwnedFd> {
    let failed = |errno| OsError::new("connecting", errno);
    match endpoint {
        Endpoint::Path(path) => connect_local(&SocketAddrUnix::new(path).map_err(failed)?, deadline),
        Endpoint::Abstract(name) => {
            connect_local(&SocketAddrUnix::new_abstract_name(name).map_err(failed)?, deadline)
        }
        Endpoint::Tcp(address) => {
            let socket = internet(address, SocketFlags::NONBLOCK)?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => {}
                Err(Errno::INPROGRESS | Errno::INTR) => {
                    if !poll::one(&socket, Interest::Writable, deadline)? {
                        return Err(failed(Errno::TIMEDOUT));
                    }
                    sockopt::socket_error(&socket).map_err(failed)?.map_err(failed)?;
                }
                Err(errno) => return Err(failed(errno)),
            }
            // A free port of this machine may be given to the very socket that looks for a listener there.
            if connected_to(&socket)
                .is_ok_and(|peer| local_address(&socket).is_ok_and(|us| peer == Peer::Tcp(us)))
            {
                return Err(failed(Errno::CONNREFUSED));
            }
            let flags = rustix::fs::fcntl_getfl(&socket).map_err(failed)?;
            rustix::fs::fcntl_setfl(&socket, flags - rustix::fs::OFlags::NONBLOCK).map_err(failed)?;
            tune(&socket);
            Ok(socket)
        }
    }
}

fn connect_local(address: &SocketAddrUnix, deadline: Deadline) -> Result<OwnedFd> {
    let failed = |errno| OsError::new("connecting", errno);
    let socket = local(SocketType::SEQPACKET, SocketFlags::empty())?;
    loop {
        // How long a local connect waits is the timeout for sending; none is 0.
        let left = deadline.remaining().map(|left| left.max(Duration::from_micros(1)));
        if sockopt::set_socket_timeout(&socket, Timeout::Send, left).is_err() {
            sockopt::set_socket_timeout(&socket, Timeout::Send, None).map_err(failed)?;
        }
        match rustix::net::connect(&socket, address) {
            Ok(()) => break,
            Err(Errno::AGAIN | Errno::INTR) if !deadline.has_passed() => {}
            Err(Errno::AGAIN | Errno::INTR) => return Err(failed(Errno::TIMEDOUT)),
            Err(errno) => return Err(failed(errno)),
        }
    }
    sockopt::set_socket_timeout(&socket, Timeout::Send, None).map_err(failed)?;
    Ok(socket)
}

/// Where a socket of TCP is on this side: for one that listens at port 0, the port it got.
///
/// # Errors
/// It is of another family.
pub fn local_address(socket: impl AsFd) -> Result<SocketAddr> {
    let failed = |errno| OsError::new("asking for the address of a socket", errno);
    SocketAddr::try_from(rustix::net::getsockname(socket).map_err(failed)?).map_err(failed)
}

/// Who is at the other end.
///
/// # Errors
/// It is not connected, or no socket of a family known here.
pub fn connected_to(socket: impl AsFd) -> Result<Peer> {
    let failed = |errno| OsError::new("asking who is at the other end of a socket", errno);
    if sockopt::socket_domain(&socket).map_err(failed)? == AddressFamily::UNIX {
        let peer = credentials::of_peer(socket.as_fd())?;
        return Ok(Peer::Local { pid: peer.pid.unsigned_abs(), uid: peer.uid, gid: peer.gid });
    }
    let address: SocketAddrAny =
        rustix::net::getpeername(socket).map_err(failed)?.ok_or_else(|| failed(Errno::NOTCONN))?;
    SocketAddr::try_from(address).map(Peer::Tcp).map_err(failed)
}

pub(super) fn local(kind: SocketType, flags: SocketFlags) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, flags | SocketFlags::CLOEXEC, None)
        .map_err(|errno| OsError::new("creating a socket", errno))
}

fn internet(address: SocketAddr, flags: SocketFlags) -> Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))
        .map_err(|errno| OsError::new("creating a socket", errno))
}

/// Small messages go at once, and a machine that is gone is noticed after some two minutes, by who sends, too. Not for local
/// sockets, which refuse it.
fn tune(socket: &OwnedFd) {
    if sockopt::set_tcp_nodelay(socket, true).is_ok() {
        let _ = sockopt::set_socket_keepalive(socket, true);
        let _ = sockopt::set_tcp_keepidle(socket, Duration::from_secs(60));
        let _ = sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10));
        let _ = sockopt::set_tcp_keepcnt(socket, 6);
        let _ = sockopt::set_tcp_user_timeout(socket, 120_000);
    }
}
