//! Sending over a stream: the frames of [`super::super::frames`], and what is owed where one was given up.
//!
//! Invariant: a frame that has begun is finished before anything else is sent, with what it was to hold or with zeros.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use crate::Deadline;
use crate::message::frames::{GOOD, VOID};
use crate::message::header::{self, Header};
use crate::message::{PAYLOAD, SendError};
use crate::socket::{self, SendFailed};

/// What the receiver has to get before the next message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    head: [u8; header::LEN],
    /// So many bytes at the end of `head`.
    n_head: usize,
    /// So many bytes of payload that mean nothing.
    filler: usize,
    /// The mark that says so.
    mark: bool,
}

static ZEROS: [u8; 4 << 10] = [0; 4 << 10];

impl Owed {
    pub(super) fn is_something(&self) -> bool {
        self.n_head > 0 || self.filler > 0 || self.mark
    }

    /// Sends one message; see [`Outgoing::send`](super::Outgoing::send).
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.settle(socket, deadline)?;
        // A caller who does not want to wait at all gets what can be had without; the length bounds that.
        let never_waits = deadline.has_passed();
        let len = bytes.len() as u64;
        let (now, mut later) = bytes.split_at(bytes.len().min(PAYLOAD));
        self.frame(socket, Header::First { descriptors: 0, len }, now, deadline)?;
        while !later.is_empty() {
            let header = Header::More { descriptors: 0, offset: len - later.len() as u64 };
            let (now, rest) = later.split_at(later.len().min(PAYLOAD));
            if !never_waits && deadline.has_passed() {
                self.owe(Header::Abort.encode(), 0, None);
                return Err(SendError::TimedOut);
            }
            self.frame(socket, header, now, deadline)?;
            later = rest;
        }
        Ok(())
    }

    fn frame(
        &mut self,
        socket: BorrowedFd<'_>,
        header: Header,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let mut frame = Frame { head: header.encode(), payload, sent: 0 };
        while frame.sent < frame.head.len() + payload.len() + 1 {
            match frame.send(socket, deadline) {
                Ok(n) => frame.sent += n,
                Err(failed) => {
                    match header {
                        _ if frame.sent > 0 => self.owe(frame.head, frame.sent, Some(payload.len())),
                        Header::First { .. } => {}
                        _ => self.owe(Header::Abort.encode(), 0, None),
                    }
                    return Err(failed.into());
                }
            }
        }
        Ok(())
    }

    /// Sends what can be sent without waiting, after the first `sent` bytes of frames; see
    /// [`Outgoing::advance`](super::Outgoing::advance). In between it owes what it would owe if this were given up.
    pub(super) fn advance(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        sent: &mut usize,
    ) -> Result<(), SendError> {
        if *sent == 0 {
            self.settle(socket, Deadline::now())?;
        }
        *self = Self::default();
        while let Some(frame) = Frame::at(bytes, *sent) {
            match frame.send(socket, Deadline::now()) {
                Ok(n) => *sent += n,
                Err(failed) => {
                    match frame.sent {
                        0 if *sent == 0 => {}
                        0 => self.owe(Header::Abort.encode(), 0, None),
                        some => self.owe(frame.head, some, Some(frame.payload.len())),
                    }
                    return Err(failed.into());
                }
            }
        }
        Ok(())
    }

    /// Owes what follows the first `sent` bytes of a header and, unless it is one that stands alone, its frame.
    fn owe(&mut self, head: [u8; header::LEN], sent: usize, payload: Option<usize>) {
        *self = Self {
            head,
            n_head: head.len().saturating_sub(sent),
            filler: payload.map_or(0, |len| len - sent.saturating_sub(head.len())),
            mark: payload.is_some(),
        };
    }

    /// Sends what is owed.
    pub(super) fn settle(&mut self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<(), SendError> {
        while self.is_something() {
            let mark = [VOID];
            let parts = [
                IoSlice::new(&self.head[self.head.len() - self.n_head..]),
                IoSlice::new(&ZEROS[..self.filler.min(ZEROS.len())]),
                IoSlice::new(if self.mark && self.filler <= ZEROS.len() { &mark } else { &[] }),
            ];
            let mut n = socket::send_some(socket, &parts, deadline)?;
            let head = n.min(self.n_head);
            self.n_head -= head;
            n -= head;
            let filler = n.min(self.filler);
            self.filler -= filler;
            self.mark &= n == filler;
        }
        Ok(())
    }
}

/// A frame of a message of which a part is sent.
struct Frame<'a> {
    head: [u8; header::LEN],
    payload: &'a [u8],
    /// So many bytes of it.
    sent: usize,
}

impl<'a> Frame<'a> {
    /// The frame of the next byte, after so many bytes of frames of this message; `None` after the last.
    fn at(bytes: &'a [u8], sent: usize) -> Option<Self> {
        const WHOLE: usize = header::LEN + PAYLOAD + 1;
        let (begin, sent) = (sent / WHOLE * PAYLOAD, sent % WHOLE);
        let payload = bytes.get(begin..)?;
        let payload = &payload[..payload.len().min(PAYLOAD)];
        let is_over = sent == header::LEN + payload.len() + 1 || payload.is_empty() && begin > 0;
        let header = match begin {
            0 => Header::First { descriptors: 0, len: bytes.len() as u64 },
            begin => Header::More { descriptors: 0, offset: begin as u64 },
        };
        (!is_over).then(|| Self { head: header.encode(), payload, sent })
    }

    fn send(&self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<usize, SendFailed> {
        let (head, payload) = (self.head.len(), self.payload.len());
        let parts = [
            IoSlice::new(&self.head[self.sent.min(head)..]),
            IoSlice::new(&self.payload[self.sent.saturating_sub(head).min(payload)..]),
            IoSlice::new(&[GOOD]),
        ];
        socket::send_some(socket, &parts, deadline)
    }
}

impl From<SendFailed> for SendError {
    fn from(failed: SendFailed) -> Self {
        match failed {
            SendFailed::Closed => Self::Closed,
            SendFailed::TimedOut => Self::TimedOut,
            SendFailed::Os(error) => Self::Os(error),
        }
    }
}
