//! Receiving from a stream: the frames of [`super::super::frames`], in whatever pieces they come.
//!
//! Invariants: never a byte beyond the frame that is being received is taken out of the socket, so that an end can move
//! between two messages; a frame counts when its mark has come, and not before.

use std::mem;
use std::os::fd::BorrowedFd;

use super::{Incoming, SKEW, State, Step};
use crate::Deadline;
use crate::message::frames::{GOOD, VOID};
use crate::message::header::{self, Header};
use crate::message::partial::Partial;
use crate::message::{Fault, PAYLOAD, RecvError};
use crate::socket::{self, RecvFailed};

/// A frame of which something is still to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    head: [u8; header::LEN],
    /// So much of the header is there.
    n_head: usize,
    /// So many bytes of payload and mark are to come.
    left: usize,
}

impl Frame {
    pub(super) fn has_begun(self) -> bool {
        self.n_head > 0
    }
}

impl Incoming {
    /// Receives a piece of a frame.
    pub(super) fn piece(
        &mut self,
        mut frame: Frame,
        socket: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<Step, RecvError> {
        self.make_room(0)?;
        let step = match frame.left {
            0 => self.piece_of_header(&mut frame, socket, deadline),
            _ => self.piece_of_payload(&mut frame, socket, deadline),
        };
        self.frame = Some(frame);
        step
    }

    fn piece_of_header(
        &mut self,
        frame: &mut Frame,
        socket: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<Step, RecvError> {
        match socket::recv_some(socket, &mut frame.head[frame.n_head..], deadline) {
            Ok(n) => frame.n_head += n,
            // The length of the message would have come with the rest of its header.
            Err(RecvFailed::Closed) if frame.has_begun() && !matches!(self.state, State::Inside(_)) => {
                let got = mem::take(frame).n_head as u64;
                return Err(RecvError::ClosedInside { got, of: header::LEN as u64 });
            }
            Err(failed) => return Err(self.cut_off(frame, failed)),
        }
        if frame.n_head < header::LEN {
            return Ok(Step::Inside);
        }
        frame.n_head = 0;
        let Some(header) = Header::decode(frame.head) else { return Err(self.corrupt(Fault::UnknownKind)) };
        self.begin(frame, header)
    }

    /// What a header leads to, before anything of its payload is there.
    fn begin(&mut self, frame: &mut Frame, header: Header) -> Result<Step, RecvError> {
        let partial = match (header, mem::replace(&mut self.state, State::Between)) {
            (Header::Abort, _) => return Ok(Step::Dropped),
            (Header::First { descriptors: 1.., .. } | Header::More { descriptors: 1.., .. }, _) => {
                return Err(self.corrupt(Fault::Descriptors));
            }
            (Header::First { len, .. }, State::Between) => Partial::new(len, 0),
            (Header::First { .. }, _) => return Err(self.corrupt(Fault::Nested)),
            (Header::More { offset, .. }, State::Inside(partial)) if offset == partial.got => partial,
            (Header::More { .. }, State::Inside(_)) => return Err(self.corrupt(Fault::Gap)),
            (Header::More { .. }, _) => return Err(self.corrupt(Fault::Stray)),
        };
        frame.left = (partial.len - partial.got).min(PAYLOAD as u64) as usize + 1;
        let too_large = partial.got == 0 && partial.len > self.limit;
        let (len, limit) = (partial.len, self.limit);
        self.state = State::Inside(Partial { refused: partial.refused || too_large, ..partial });
        if too_large { Err(RecvError::TooLarge { len, limit }) } else { Ok(Step::Inside) }
    }

    fn piece_of_payload(
        &mut self,
        frame: &mut Frame,
        socket: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<Step, RecvError> {
        let at = match &self.state {
            State::Inside(partial) if !partial.refused => partial.got as usize,
            _ => 0,
        };
        self.make_room(at)?;
        let n = match socket::recv_some(socket, &mut self.buffer[SKEW + at..][..frame.left], deadline) {
            Ok(n) => n,
            Err(failed) => return Err(self.cut_off(frame, failed)),
        };
        frame.left -= n;
        let State::Inside(mut partial) = mem::replace(&mut self.state, State::Between) else {
            unreachable!("payload is expected inside of a message only");
        };
        // The last byte of a frame is its mark.
        let payload = n - usize::from(frame.left == 0);
        partial.got += payload as u64;
        match frame.left {
            0 => match self.buffer[SKEW + at + payload] {
                GOOD => Ok(self.settle(partial)),
                VOID => Ok(Step::Dropped),
                _ => Err(self.corrupt(Fault::UnknownKind)),
            },
            _ => {
                self.state = State::Inside(partial);
                Ok(Step::Inside)
            }
        }
    }

    fn cut_off(&mut self, frame: &mut Frame, failed: RecvFailed) -> RecvError {
        if matches!(failed, RecvFailed::Closed) {
            *frame = Frame::default();
        }
        self.failed(failed)
    }
}
