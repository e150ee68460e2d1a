//! Sending messages: cut into packets, and taken back where one cannot be finished.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use super::header::Header;
use super::{PAYLOAD, SendError};
use crate::Deadline;
use crate::socket::{self, MAX_DESCRIPTORS, SendFailed};

/// The sending side of one end of a socket pair. It keeps one fact between messages: whether the receiver still
/// has to be told that a message it saw the beginning of is void.
///
/// # Examples
/// ```
/// use procession_sys::{Deadline, message::{Incoming, Outgoing}, socket};
/// let (ours, theirs) = socket::pair()?;
/// let (mut outgoing, mut incoming) = (Outgoing::new(), Incoming::new(1 << 20));
/// outgoing.send(&ours, b"hello", &[], Deadline::NEVER).unwrap();
/// assert_eq!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes, b"hello");
/// # Ok::<(), procession_sys::OsError>(())
/// ```
#[derive(Debug, Default)]
pub struct Outgoing {
    owes_abort: bool,
}

impl Outgoing {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// In the middle of a stream whose earlier sender died or gave up, perhaps inside a message: that message is
    /// declared void before the next one. Does no harm where there was none.
    pub fn resumed() -> Self {
        Self { owes_abort: true }
    }

    /// Sends one message: all of `bytes` with all of `descriptors`.
    ///
    /// Blocks while the socket's buffer is full. A message of at most [`PAYLOAD`] bytes and [`MAX_DESCRIPTORS`]
    /// descriptors is one system call. With a deadline that has passed it sends what does not have to wait, which
    /// for a long message is seldom all of it.
    ///
    /// # Errors
    /// See [`SendError`]; the message is then wholly absent for the receiver, and the connection stays usable for
    /// the next one.
    pub fn send(
        &mut self,
        socket: impl AsFd,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let socket = socket.as_fd();
        self.settle(socket, deadline)?;
        let header = Header::First { descriptors: descriptors.len() as u32, len: bytes.len() as u64 };
        let (now, later) = cut(bytes, descriptors);
        send_packet(socket, header, now, deadline)?;
        if later.is_empty() { Ok(()) } else { self.send_rest(socket, bytes.len(), later, deadline) }
    }

    /// Sends the packets after the first. Any error leaves the receiver inside the message.
    #[cold]
    fn send_rest(
        &mut self,
        socket: BorrowedFd<'_>,
        len: usize,
        mut rest: Parts<'_>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.owes_abort = true;
        // A caller who does not want to wait at all gets what can be had without; the length bounds that.
        let never_waits = deadline.has_passed();
        while !rest.is_empty() {
            if !never_waits && deadline.has_passed() {
                return Err(SendError::TimedOut);
            }
            let offset = (len - rest.bytes.len()) as u64;
            let (now, later) = cut(rest.bytes, rest.descriptors);
            send_packet(
                socket,
                Header::More { descriptors: now.descriptors.len() as u32, offset },
                now,
                deadline,
            )?;
            rest = later;
        }
        self.owes_abort = false;
        Ok(())
    }

    /// Tells the receiver at once, without waiting, that the message given up is void; if even that is not possible,
    /// it will be told ahead of the next message. Does nothing where no message was begun.
    ///
    /// For after an error: the receiver then does not keep what it has of the message, nor the descriptors, and does
    /// not take our end for one in the middle of a message.
    pub fn give_up(&mut self, socket: impl AsFd) {
        if self.owes_abort {
            let notice = Header::Abort.encode();
            self.owes_abort = socket::send_beyond_full(socket.as_fd(), &[IoSlice::new(&notice)]).is_err();
        }
    }

    /// Tells the receiver of a void message, if there is one.
    fn settle(&mut self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<(), SendError> {
        if self.owes_abort {
            send_packet(socket, Header::Abort, Parts { bytes: &[], descriptors: &[] }, deadline)?;
            self.owes_abort = false;
        }
        Ok(())
    }
}

/// What is left of a message, or goes into one packet.
#[derive(Clone, Copy)]
struct Parts<'a> {
    bytes: &'a [u8],
    descriptors: &'a [BorrowedFd<'a>],
}

impl Parts<'_> {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.descriptors.is_empty()
    }
}

/// As much as a packet takes, and the rest.
fn cut<'a>(bytes: &'a [u8], descriptors: &'a [BorrowedFd<'a>]) -> (Parts<'a>, Parts<'a>) {
    let (bytes, later_bytes) = bytes.split_at(bytes.len().min(PAYLOAD));
    let (descriptors, later_descriptors) = descriptors.split_at(descriptors.len().min(MAX_DESCRIPTORS));
    (Parts { bytes, descriptors }, Parts { bytes: later_bytes, descriptors: later_descriptors })
}

fn send_packet(
    socket: BorrowedFd<'_>,
    header: Header,
    parts: Parts<'_>,
    deadline: Deadline,
) -> Result<(), SendError> {
    let header = header.encode();
    let bytes = [IoSlice::new(&header), IoSlice::new(parts.bytes)];
    match socket::send_packet(socket, &bytes, parts.descriptors, deadline) {
        Ok(_) => Ok(()),
        Err(SendFailed::Closed) => Err(SendError::Closed),
        Err(SendFailed::TimedOut) => Err(SendError::TimedOut),
        Err(SendFailed::Os(error)) => Err(SendError::Os(error)),
    }
}
