//! Sending messages: cut into packets, and taken back where one cannot be finished.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use super::header::Header;
use super::{HEADROOM, PAYLOAD, SendError};
use crate::Deadline;
use crate::socket::{self, MAX_DESCRIPTORS, SendFailed};

mod frames;

use frames::Owed;

/// The sending side of one end of a socket pair. It keeps between messages whether the receiver still has to be
/// told that a message it saw the beginning of is void.
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
#[derive(Debug)]
pub struct Outgoing {
    owes_abort: bool,
    /// The most bytes that go into one packet.
    portion: usize,
    /// `Some` over a stream, which has no packets.
    stream: Option<Owed>,
}

impl Outgoing {
    /// At the beginning of a stream.
    pub const fn new() -> Self {
        Self { owes_abort: false, portion: PAYLOAD, stream: None }
    }

    /// In the middle of a stream whose earlier sender died or gave up, perhaps inside a message: that message is
    /// declared void before the next one. Does no harm where there was none.
    pub const fn resumed() -> Self {
        Self { owes_abort: true, portion: PAYLOAD, stream: None }
    }

    /// At the beginning of a stream of a socket that keeps no boundaries; its other end receives by
    /// [`Incoming::over_stream`](super::Incoming::over_stream). What is said of packets holds for frames, but that
    /// [`give_up`](Self::give_up) cannot always tell the receiver at once.
    ///
    /// # Examples
    /// ```
    /// use procession_sys::{Deadline, message::{Incoming, Outgoing}};
    /// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let (mut outgoing, mut incoming) = (Outgoing::over_stream(), Incoming::over_stream(1 << 20));
    /// outgoing.send(&ours, b"hello", &[], Deadline::NEVER).unwrap();
    /// assert_eq!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn over_stream() -> Self {
        Self { stream: Some(Owed::default()), ..Self::new() }
    }

    /// Sends one message: all of `bytes` with all of `descriptors`.
    ///
    /// Blocks while the socket's buffer is full. A message of at most [`PAYLOAD`] bytes is one system call, and one more
    /// for each [`MAX_DESCRIPTORS`] descriptors that it has. With a deadline that has passed it sends what does not have to wait, which
    /// for a long message is seldom all of it.
    ///
    /// # Errors
    /// See [`SendError`]; the message is then wholly absent for the receiver, and the connection stays usable for
    /// the next one.
    ///
    /// # Panics
    /// If there are descriptors and the socket is a stream.
    pub fn send(
        &mut self,
        socket: impl AsFd,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let socket = socket.as_fd();
        if let Some(stream) = &mut self.stream {
            assert!(descriptors.is_empty(), "descriptors in a message over a stream");
            return stream.send(socket, bytes, deadline);
        }
        self.settle(socket, deadline)?;
        let len = bytes.len() as u64;
        let header = |_: Parts<'_>| Header::First { descriptors: descriptors.len() as u32, len };
        let rest = self.packet(socket, Parts { bytes, descriptors: &[] }, header, deadline)?;
        let rest = Parts { descriptors, ..rest };
        if rest.is_empty() { Ok(()) } else { self.send_rest(socket, len, rest, deadline) }
    }

    /// [`send`](Self::send) of what follows the first [`HEADROOM`] bytes of `framed`, which are for the header: where the
    /// message fits into a packet, the kernel then has one place to look at and not two.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Panics
    /// If `framed` is shorter than [`HEADROOM`].
    #[inline]
    pub fn send_framed(
        &mut self,
        socket: impl AsFd,
        framed: &mut [u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let socket = socket.as_fd();
        let len = framed.len() - HEADROOM;
        if len > self.portion || self.owes_abort || !descriptors.is_empty() || self.stream.is_some() {
            return self.send(socket, &framed[HEADROOM..], descriptors, deadline);
        }
        let header = Header::First { descriptors: 0, len: len as u64 };
        framed[..HEADROOM].copy_from_slice(&header.encode());
        match socket::send_bytes(socket, framed, deadline) {
            Ok(_) => Ok(()),
            Err(failed) => self.not_framed(socket, &framed[HEADROOM..], failed, deadline),
        }
    }

    #[cold]
    fn not_framed(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        failed: SendFailed,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        match failed {
            SendFailed::Os(error) if error.errno() == Some(libc::EMSGSIZE) => {
                self.send(socket, bytes, &[], deadline)
            }
            failed => Err(failed.into()),
        }
    }

    /// Sends the packets after the first. Any error leaves the receiver inside the message.
    #[cold]
    fn send_rest(
        &mut self,
        socket: BorrowedFd<'_>,
        len: u64,
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
            let offset = len - rest.bytes.len() as u64;
            let header = |now: Parts<'_>| Header::More { descriptors: now.descriptors.len() as u32, offset };
            rest = self.packet(socket, rest, header, deadline)?;
        }
        self.owes_abort = false;
        Ok(())
    }

    /// Sends what can be sent of a message without waiting, after what was sent of it before; says whether that is all.
    ///
    /// From the first call to the one that says so, or that fails, no other message is sent: who gives up in between says
    /// so by [`give_up`](Self::give_up).
    ///
    /// # Errors
    /// As [`send`](Self::send), but that there is no deadline.
    pub fn advance(
        &mut self,
        socket: impl AsFd,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        progress: &mut Progress,
    ) -> Result<bool, SendError> {
        match self.advance_at_once(socket.as_fd(), Parts { bytes, descriptors }, progress) {
            Ok(()) => Ok(true),
            Err(SendError::TimedOut) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn advance_at_once(
        &mut self,
        socket: BorrowedFd<'_>,
        all: Parts<'_>,
        progress: &mut Progress,
    ) -> Result<(), SendError> {
        if let Some(stream) = &mut self.stream {
            let answer = stream.advance(socket, all.bytes, &mut progress.n_bytes);
            progress.has_begun = progress.n_bytes > 0;
            return answer;
        }
        let (len, n, now) = (all.bytes.len(), all.descriptors.len() as u32, Deadline::now());
        if !progress.has_begun {
            self.settle(socket, now)?;
            let header = |_: Parts<'_>| Header::First { descriptors: n, len: len as u64 };
            let rest = self.packet(socket, Parts { descriptors: &[], ..all }, header, now)?;
            *progress = Progress { has_begun: true, n_bytes: len - rest.bytes.len(), n_descriptors: 0 };
            self.owes_abort = true;
        }
        loop {
            let rest = Parts {
                bytes: &all.bytes[progress.n_bytes..],
                descriptors: &all.descriptors[progress.n_descriptors..],
            };
            if rest.is_empty() {
                self.owes_abort = false;
                return Ok(());
            }
            let offset = progress.n_bytes as u64;
            let header = |now: Parts<'_>| Header::More { descriptors: now.descriptors.len() as u32, offset };
            let rest = self.packet(socket, rest, header, now)?;
            progress.n_bytes = len - rest.bytes.len();
            progress.n_descriptors = all.descriptors.len() - rest.descriptors.len();
        }
    }

    /// Whether a message was begun and given up, and the receiver does not know yet: whoever takes over this end of
    /// the socket goes on with [`resumed`](Self::resumed).
    pub fn owes_notice(&self) -> bool {
        self.owes_abort || self.stream.is_some_and(|stream| stream.is_something())
    }

    /// Tells the receiver at once, without waiting, that the message given up is void; if even that is not possible,
    /// it will be told ahead of the next message. Does nothing where no message was begun.
    ///
    /// For after an error: the receiver then does not keep what it has of the message, nor the descriptors, and does
    /// not take our end for one in the middle of a message.
    pub fn give_up(&mut self, socket: impl AsFd) {
        if let Some(stream) = &mut self.stream {
            // What does not go at once goes ahead of the next message.
            let _ = stream.settle(socket.as_fd(), Deadline::now());
        }
        if self.owes_abort {
            let notice = Header::Abort.encode();
            self.owes_abort = socket::send_beyond_full(socket.as_fd(), &[IoSlice::new(&notice)]).is_err();
        }
    }

    /// Tells the receiver of a void message, if there is one.
    fn settle(&mut self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<(), SendError> {
        if self.owes_abort {
            let nothing = Parts { bytes: &[], descriptors: &[] };
            self.packet(socket, nothing, |_| Header::Abort, deadline)?;
            self.owes_abort = false;
        }
        Ok(())
    }

    /// Sends as much of `parts` as one packet takes; gives back the rest. Learns from a refusal how long a packet
    /// may be on this socket.
    fn packet<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        parts: Parts<'a>,
        header: impl Fn(Parts<'_>) -> Header,
        deadline: Deadline,
    ) -> Result<Parts<'a>, SendError> {
        loop {
            let (now, later) = parts.cut(self.portion);
            let head = header(now).encode();
            let bytes = [IoSlice::new(&head), IoSlice::new(now.bytes)];
            match socket::send_packet(socket, &bytes, now.descriptors, deadline) {
                Ok(_) => return Ok(later),
                Err(SendFailed::Os(error))
                    if error.errno() == Some(libc::EMSGSIZE) && self.portion > LEAST =>
                {
                    self.portion /= 2;
                }
                Err(failed) => return Err(failed.into()),
            }
        }
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

/// How much of a message was sent: see [`Outgoing::advance`].
#[derive(Debug, Default)]
pub struct Progress {
    has_begun: bool,
    n_bytes: usize,
    n_descriptors: usize,
}

impl Progress {
    /// Whether the receiver has seen the beginning.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }
}

/// Less than this fits into the smallest buffer that a socket can have.
const LEAST: usize = 1 << 10;

/// What is left of a message, or goes into one packet.
#[derive(Clone, Copy)]
struct Parts<'a> {
    bytes: &'a [u8],
    descriptors: &'a [BorrowedFd<'a>],
}

impl<'a> Parts<'a> {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.descriptors.is_empty()
    }

    /// As much as a packet takes, and the rest.
    fn cut(self, portion: usize) -> (Self, Self) {
        let (bytes, later) = self.bytes.split_at(self.bytes.len().min(portion));
        let (descriptors, rest) = self.descriptors.split_at(self.descriptors.len().min(MAX_DESCRIPTORS));
        (Self { bytes, descriptors }, Self { bytes: later, descriptors: rest })
    }
}
