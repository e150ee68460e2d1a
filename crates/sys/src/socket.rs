//! Pairs of sockets that carry packets: bytes with boundaries, and descriptors beside them; and sockets with addresses.
//!
//! A packet arrives whole or not at all; when the end of the stream is met, all that was sent before it has been
//! received. Descriptors that arrive are close-on-exec from birth; those of a packet that is refused are closed.
//! Held by `tests/socket.rs`. Messages longer than a packet are made in [`crate::message`].

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{error, fmt, io};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};

use crate::poll::{self, Interest};
use crate::{Deadline, OsError, Result};

mod credentials;
mod endpoint;
mod kind;
mod name;
mod stream;

pub use credentials::our_user;
pub use endpoint::{Endpoint, Peer, accept, connect, connected_to, listen, local_address};
pub use kind::{Kind, check, close_on_exec, kind, unconnected};
pub use name::{BindFailed, FileName};
pub use stream::{recv_some, send_some};

/// The most descriptors that one packet can carry; the kernel's limit.
pub const MAX_DESCRIPTORS: usize = 253;

/// A pair of connected sockets that keep packet boundaries, both close-on-exec.
///
/// # Errors
/// Too many open descriptors.
///
/// # Examples
/// ```
/// use procession_sys::{Deadline, socket};
/// use std::io::{IoSlice, IoSliceMut};
/// let (ours, theirs) = socket::pair()?;
/// socket::send_packet(&ours, &[IoSlice::new(b"hello")], &[], Deadline::NEVER).unwrap();
/// let (mut bytes, mut descriptors) = ([0; 16], Vec::new());
/// let into = &mut [IoSliceMut::new(&mut bytes)];
/// let packet = socket::recv_packet(&theirs, into, &mut descriptors, Deadline::NEVER).unwrap();
/// assert_eq!(bytes[..packet.bytes], *b"hello");
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| OsError::new("creating a pair of sockets", errno))
}

/// One of the two directions of a socket, seen from its own side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What it sends.
    Outgoing,
    /// What it receives.
    Incoming,
}

/// Ends one direction of a socket for every process that has it: after `Outgoing` the other end receives what was sent and
/// then the end, after `Incoming` it cannot send. Never blocks.
///
/// # Errors
/// It is not connected, or no socket.
pub fn shut_down(socket: impl AsFd, direction: Direction) -> Result<()> {
    let how = match direction {
        Direction::Outgoing => Shutdown::Write,
        Direction::Incoming => Shutdown::Read,
    };
    rustix::net::shutdown(socket, how)
        .map_err(|errno| OsError::new("shutting a direction of a socket down", errno))
}

/// What a packet brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet {
    /// How many bytes were written to the buffers. 0 for an empty packet, which nobody here sends.
    pub bytes: usize,
}

/// Why a packet was not sent. Nothing of it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendFailed {
    /// The other end is closed.
    Closed,
    /// The deadline passed while the other end was not reading.
    TimedOut,
    /// The system refused, for another reason.
    Os(OsError),
}

/// Why no packet was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvFailed {
    /// The other end is closed, and everything it had sent has been received.
    Closed,
    /// The deadline passed.
    TimedOut,
    /// The packet was longer than the buffers; it is lost, and its descriptors are closed.
    Truncated,
    /// Not all descriptors of the packet could be received, as a rule because this process has too many open; all
    /// of them are lost. Its bytes, so many, are in the buffers.
    DescriptorsLost {
        /// How many bytes were written to the buffers.
        bytes: usize,
    },
    /// The system refused, for another reason.
    Os(OsError),
}

/// Sends one packet: all of `bytes`, end to end, with `descriptors` beside them. Says how many bytes that was.
///
/// The descriptors are duplicated into the packet; it keeps them open also if this process dies. Waits while the
/// socket's buffer is full. Without a deadline it is one system call; with one, a full buffer costs two more.
///
/// # Errors
/// See [`SendFailed`]; a packet longer than the socket's buffer is refused by the system (`EMSGSIZE`).
///
/// # Panics
/// If there are no bytes, which the other end could not tell from the end, or more than [`MAX_DESCRIPTORS`].
pub fn send_packet(
    socket: impl AsFd,
    bytes: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> std::result::Result<usize, SendFailed> {
    assert!(descriptors.len() <= MAX_DESCRIPTORS, "{} descriptors in one packet", descriptors.len());
    assert!(bytes.iter().any(|part| !part.is_empty()), "a packet without bytes");
    let socket = socket.as_fd();
    if descriptors.is_empty() {
        let mut none = SendAncillaryBuffer::default();
        return send_by(socket, deadline, |flags| rustix::net::sendmsg(socket, bytes, &mut none, flags));
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
    assert!(fits, "the space is made for the most descriptors");
    send_by(socket, deadline, |flags| rustix::net::sendmsg(socket, bytes, &mut control, flags))
}

/// Receives one packet: its bytes into `buffers`, in order; its descriptors at the end of `descriptors`.
///
/// Waits for one. Without a deadline it is one system call; with one, having to wait costs two more.
///
/// # Errors
/// See [`RecvFailed`]; `descriptors` is then as before.
pub fn recv_packet(
    socket: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    descriptors: &mut Vec<OwnedFd>,
    deadline: Deadline,
) -> std::result::Result<Packet, RecvFailed> {
    packet(socket.as_fd(), buffers, descriptors, deadline, RecvFlags::empty())
}

/// [`recv_packet`] without taking the packet away: the next call gets it again. Does not wait.
///
/// The descriptors are duplicates; those in the packet stay open until it is received, or the socket is closed for good.
///
/// # Errors
/// As [`recv_packet`]; the packet is still there. [`RecvFailed::TimedOut`] if there is none.
pub fn peek_packet(
    socket: impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
    descriptors: &mut Vec<OwnedFd>,
) -> std::result::Result<Packet, RecvFailed> {
    packet(socket.as_fd(), buffers, descriptors, Deadline::now(), RecvFlags::PEEK)
}

/// Takes the first packet away unseen, and closes its descriptors; `false` if there is none. Does not wait.
///
/// # Errors
/// [`RecvFailed::Os`].
pub fn discard_packet(socket: impl AsFd) -> std::result::Result<bool, RecvFailed> {
    match recv_bytes(socket.as_fd(), &mut [0], Deadline::now()) {
        Ok(_) | Err(RecvFailed::Truncated) => Ok(true),
        Err(RecvFailed::TimedOut | RecvFailed::Closed) => Ok(false),
        Err(failed) => Err(failed),
    }
}

fn packet(
    socket: BorrowedFd<'_>,
    buffers: &mut [IoSliceMut<'_>],
    descriptors: &mut Vec<OwnedFd>,
    deadline: Deadline,
    more: RecvFlags,
) -> std::result::Result<Packet, RecvFailed> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut recv = |deadline| {
        recv_by(socket, deadline, |flags| {
            rustix::net::recvmsg(socket, buffers, &mut control, flags | more | RecvFlags::CMSG_CLOEXEC)
        })
    };
    let mut answer = recv(deadline)?;
    if answer.bytes == 0 && poll::has_ended(socket).map_err(RecvFailed::Os)? {
        // The kernel looks at the queue first and then for the end: a packet sent in between, just before the close,
        // is still there. Now that the end is known, the queue has all there ever will be.
        answer = recv(Deadline::now())?;
    }
    // Dropping `control` closes what is not taken out of it.
    if answer.flags.contains(ReturnFlags::TRUNC) {
        return Err(RecvFailed::Truncated);
    }
    if answer.flags.contains(ReturnFlags::CTRUNC) {
        return Err(RecvFailed::DescriptorsLost { bytes: answer.bytes });
    }
    let before = descriptors.len();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if answer.bytes == 0 && descriptors.len() == before && poll::has_ended(socket).map_err(RecvFailed::Os)? {
        return Err(RecvFailed::Closed);
    }
    Ok(Packet { bytes: answer.bytes })
}

/// Sends one packet of bytes alone: [`send_packet`] with less for the kernel to look at.
///
/// # Errors
/// As [`send_packet`].
#[inline]
pub fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    deadline: Deadline,
) -> std::result::Result<usize, SendFailed> {
    send_by(socket, deadline, |flags| rustix::net::send(socket, bytes, flags))
}

/// Receives one packet of bytes alone into `buffer`: [`recv_packet`] with less for the kernel to look at. Descriptors that
/// ride on it are closed by the kernel, and nobody hears of them.
///
/// # Errors
/// As [`recv_packet`].
#[inline]
pub fn recv_bytes(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    deadline: Deadline,
) -> std::result::Result<usize, RecvFailed> {
    // With `TRUNC` the kernel says how long the packet was, whether or not all of it is here.
    let mut recv = |deadline| {
        let flags = RecvFlags::TRUNC;
        recv_by(socket, deadline, |more| {
            rustix::net::recv(socket, &mut *buffer, flags | more).map(|got| got.1)
        })
    };
    let mut n = recv(deadline)?;
    if n == 0 && poll::has_ended(socket).map_err(RecvFailed::Os)? {
        n = recv(Deadline::now())?; // as in `recv_packet`
        if n == 0 {
            return Err(RecvFailed::Closed);
        }
    }
    if n > buffer.len() { Err(RecvFailed::Truncated) } else { Ok(n) }
}

/// Sends one short packet without waiting, also into a buffer that is full, by lending the buffer more room.
///
/// The room lasts for one packet; whoever keeps sending like this is refused in the end.
pub(crate) fn send_beyond_full(
    socket: BorrowedFd<'_>,
    bytes: &[IoSlice<'_>],
) -> std::result::Result<usize, SendFailed> {
    use rustix::net::sockopt;
    match send_packet(socket, bytes, &[], Deadline::now()) {
        Err(SendFailed::TimedOut) => {}
        sent => return sent,
    }
    let failed = |errno| SendFailed::Os(OsError::new("lending room to the buffer of a socket", errno));
    // The kernel sets twice what it is told, so this doubles the size and later restores it.
    let size = sockopt::socket_send_buffer_size(socket).map_err(failed)?;
    sockopt::set_socket_send_buffer_size(socket, size).map_err(failed)?;
    let sent = send_packet(socket, bytes, &[], Deadline::now());
    sockopt::set_socket_send_buffer_size(socket, size / 2).map_err(failed)?;
    sent
}

/// Calls `attempt` until it sent, with the flags to do it with, or `deadline` has passed.
#[inline]
fn send_by(
    socket: BorrowedFd<'_>,
    deadline: Deadline,
    mut attempt: impl FnMut(SendFlags) -> rustix::io::Result<usize>,
) -> std::result::Result<usize, SendFailed> {
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !deadline.is_never());
    loop {
        match attempt(flags) {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll::one(socket, Interest::Writable, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(SendFailed::TimedOut),
                Err(error) => return Err(SendFailed::Os(error)),
            },
            Err(Errno::PIPE | Errno::CONNRESET | Errno::CONNREFUSED | Errno::NOTCONN) => {
                return Err(SendFailed::Closed);
            }
            Err(errno) => return Err(SendFailed::Os(OsError::new("sending a packet", errno))),
        }
    }
}

/// Calls `attempt` until it received, with the flags to do it with, or `deadline` has passed.
#[inline]
fn recv_by<T>(
    socket: BorrowedFd<'_>,
    deadline: Deadline,
    mut attempt: impl FnMut(RecvFlags) -> rustix::io::Result<T>,
) -> std::result::Result<T, RecvFailed> {
    let mut flags = RecvFlags::empty();
    flags.set(RecvFlags::DONTWAIT, !deadline.is_never());
    let mut was_reset = false;
    loop {
        match attempt(flags) {
            Ok(answer) => return Ok(answer),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll::one(socket, Interest::Readable, deadline) {
                Ok(true) => {}
                Ok(false) => return Err(RecvFailed::TimedOut),
                Err(error) => return Err(RecvFailed::Os(error)),
            },
            // Said once, ahead of packets that still wait for us: the other end closed without reading all of ours.
            Err(Errno::CONNRESET) if !was_reset => was_reset = true,
            Err(Errno::CONNRESET | Errno::NOTCONN) => return Err(RecvFailed::Closed),
            Err(errno) => return Err(RecvFailed::Os(OsError::new("receiving a packet", errno))),
        }
    }
}

impl fmt::Display for SendFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("sending a packet: the other end is closed"),
            Self::TimedOut => f.write_str("sending a packet: timed out, the other end does not read"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RecvFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("receiving a packet: the other end is closed"),
            Self::TimedOut => f.write_str("receiving a packet: timed out"),
            Self::Truncated => f.write_str("receiving a packet: it is longer than the buffer"),
            Self::DescriptorsLost { .. } => f.write_str(
                "receiving a packet: no room for its descriptors, is the limit of open ones reached?",
            ),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl error::Error for SendFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::Os(error) = self { Some(error) } else { None }
    }
}

impl error::Error for RecvFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::Os(error) = self { Some(error) } else { None }
    }
}

impl From<SendFailed> for io::Error {
    fn from(failed: SendFailed) -> Self {
        match failed {
            SendFailed::Closed => io::ErrorKind::BrokenPipe.into(),
            SendFailed::TimedOut => io::ErrorKind::TimedOut.into(),
            SendFailed::Os(error) => error.into(),
        }
    }
}

impl From<RecvFailed> for OsError {
    fn from(failed: RecvFailed) -> Self {
        let doing = failed.to_string();
        match failed {
            RecvFailed::Closed => Self::new(doing, io::ErrorKind::UnexpectedEof),
            RecvFailed::TimedOut => Self::new(doing, io::ErrorKind::TimedOut),
            RecvFailed::Truncated => Self::new(doing, io::ErrorKind::InvalidData),
            RecvFailed::DescriptorsLost { .. } => Self::new(doing, Errno::MFILE),
            RecvFailed::Os(error) => error,
        }
    }
}
