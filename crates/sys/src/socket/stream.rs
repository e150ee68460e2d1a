//! Bytes without boundaries: as much as goes at once, and as much as is there.

use std::io::IoSlice;
use std::os::fd::AsFd;

use rustix::net::SendAncillaryBuffer;

use super::{RecvFailed, SendFailed, recv_by, send_by};
use crate::Deadline;

/// Sends some of `bytes`, end to end, and says how many; at least one. Waits while the socket's buffer is full.
///
/// # Errors
/// See [`SendFailed`]; nothing was sent.
pub fn send_some(socket: impl AsFd, bytes: &[IoSlice<'_>], deadline: Deadline) -> Result<usize, SendFailed> {
    let socket = socket.as_fd();
    let mut none = SendAncillaryBuffer::default();
    send_by(socket, deadline, |flags| rustix::net::sendmsg(socket, bytes, &mut none, flags))
}

/// Receives some bytes to the front of `buffer`, and says how many; at least one. Descriptors beside them are closed by
/// the kernel.
///
/// # Errors
/// `Closed`, `TimedOut`, `Os`.
///
/// # Panics
/// If `buffer` is empty, which could not be told from the end.
pub fn recv_some(socket: impl AsFd, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvFailed> {
    assert!(!buffer.is_empty(), "no room for what is to be received");
    let socket = socket.as_fd();
    match recv_by(socket, deadline, |flags| rustix::net::recv(socket, &mut *buffer, flags).map(|got| got.0))?
    {
        0 => Err(RecvFailed::Closed),
        n => Ok(n),
    }
}
