//! Receiving messages: put together from packets, refused where they break the rules.

use std::io::IoSliceMut;
use std::mem;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::header::{self, Header};
use super::partial::Partial;
use super::{Fault, Message, PAYLOAD, RecvError};
use crate::socket::{self, RecvFailed};
use crate::{Deadline, OsError};

mod frames;
#[cfg(test)]
mod tests;

use frames::Frame;

/// The receiving side of one end of a socket pair: the buffer, and what has come of a message so far.
///
/// See [`Outgoing`](super::Outgoing) for an example.
#[derive(Debug)]
pub struct Incoming {
    limit: u64,
    /// Holds the bytes of the message being received from [`SKEW`] on; as long as it ever was (up to [`KEPT`]), so
    /// that it is cleared only when it grows.
    buffer: Vec<u8>,
    state: State,
    /// `Some` over a stream: the frame that is being received.
    frame: Option<Frame>,
    /// See [`PACKETS_PAST_DEADLINE`].
    patience: u32,
}

/// The bytes of a received message, in memory that can be used again.
#[derive(Debug)]
pub struct Lent {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Lent {
    /// The memory that was spared for few bytes, if it was used; else all of it, to be
    /// [taken back](Incoming::take_back).
    ///
    /// # Errors
    /// The bytes did not come in spared memory.
    pub fn into_spare(self) -> Result<Vec<u8>, Self> {
        if self.start == 0 { Ok(self.buffer) } else { Err(self) }
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..][..self.len]
    }
}

/// | state | what is true | next |
/// |---|---|---|
/// | `Between` | every message begun is complete, or void | `Inside` by a first packet |
/// | `Inside` | packets of a message are still to come | `Between` by its last packet, by an abort, by the end |
/// | `Corrupt` | the stream makes no sense | none |
#[derive(Debug)]
enum State {
    Between,
    Inside(Partial),
    Corrupt(Fault),
}

/// What a packet led to.
enum Step {
    /// A message is complete: so many bytes in the buffer, and its descriptors.
    Done(usize, Vec<OwnedFd>),
    /// More is to come of this one.
    Inside,
    /// A message ended that nobody gets: aborted, or refused before.
    Dropped,
}

/// A buffer that grew beyond this for one message is given back after it: room for a mebibyte and what surrounds it.
const KEPT: usize = 2 << 20;

/// Where in the buffer a message begins. Some processors copy slower by ten times and more when the destination is, in
/// its page, a few bytes behind the source, which is common where all buffers begin alike: the kernel's, this, and the
/// one that a value is decoded into.
/// (`cargo bench --bench pipe`, 64 KiB: 29 instead of 52 us for a round trip on such a one.)
const SKEW: usize = 1 << 10;

/// Unused at the end of the buffer, so that a destination that an allocator puts right behind it is not at the same
/// place in its page as the message after all.
const TAIL: usize = 2 * SKEW;

/// So many bytes are copied sooner than a buffer for others is made.
const COPIED: usize = 4 << 10;

/// How many packets that lie ready are still taken once the deadline has passed. A call that may not wait finishes
/// with this any message that was wholly there when it began, and still ends if the sender never stops.
const PACKETS_PAST_DEADLINE: u32 = 1024;

/// How long a first packet is whose second one still fits into the buffer as it is first made, in bytes.
const ROOM_AFTER_SHORT: usize = 32 << 10;

impl Incoming {
    /// At the beginning of a stream; refuses messages of more than `limit` bytes. Holds no buffer until the first
    /// message comes.
    pub fn new(limit: u64) -> Self {
        let patience = PACKETS_PAST_DEADLINE;
        Self { limit, buffer: Vec::new(), state: State::Between, frame: None, patience }
    }

    /// [`new`](Self::new) for a socket that keeps no boundaries; its other end sends by [`Outgoing::over_stream`].
    ///
    /// [`Outgoing::over_stream`]: super::Outgoing::over_stream
    pub fn over_stream(limit: u64) -> Self {
        Self { frame: Some(Frame::default()), ..Self::new(limit) }
    }

    /// Receives one message.
    ///
    /// Blocks until one is complete. A message of one packet is one system call, and one allocation for its bytes.
    ///
    /// # Errors
    /// See [`RecvError`].
    pub fn recv(&mut self, socket: impl AsFd, deadline: Deadline) -> Result<Message, RecvError> {
        let (len, descriptors) = self.next(socket.as_fd(), deadline)?;
        let bytes = if len <= PAYLOAD { self.buffer[SKEW..][..len].to_vec() } else { self.take(len) };
        self.give_back();
        Ok(Message { bytes, descriptors })
    }

    /// Receives one message and shows it to `look`, without an allocation for its bytes.
    ///
    /// Blocks as [`recv`](Self::recv). If `look` panics the message is gone and the stream stays in step.
    ///
    /// # Errors
    /// See [`RecvError`].
    ///
    /// # Examples
    /// ```
    /// use procession_sys::{Deadline, message::{Incoming, Outgoing}, socket};
    /// let (ours, theirs) = socket::pair()?;
    /// Outgoing::new().send(&ours, &7_u32.to_le_bytes(), &[], Deadline::NEVER).unwrap();
    /// let mut incoming = Incoming::new(4096);
    /// let sum = incoming.recv_with(&theirs, Deadline::NEVER, |bytes, _descriptors| bytes.iter().sum::<u8>());
    /// assert_eq!(sum.unwrap(), 7);
    /// # Ok::<(), procession_sys::OsError>(())
    /// ```
    pub fn recv_with<R>(
        &mut self,
        socket: impl AsFd,
        deadline: Deadline,
        look: impl FnOnce(&[u8], Vec<OwnedFd>) -> R,
    ) -> Result<R, RecvError> {
        let (len, descriptors) = self.next(socket.as_fd(), deadline)?;
        let answer = look(&self.buffer[SKEW..][..len], descriptors);
        self.give_back();
        Ok(answer)
    }

    /// Receives one message and lends its bytes, in the buffer they came in unless they are few, so that others can
    /// receive while they are looked at. [`take_back`](Self::take_back) spares the next message an allocation. Few bytes
    /// are copied to the memory of `spare`.
    ///
    /// Blocks as [`recv`](Self::recv).
    ///
    /// # Errors
    /// See [`RecvError`].
    #[inline]
    pub fn recv_lent(
        &mut self,
        socket: impl AsFd,
        deadline: Deadline,
        spare: &mut Vec<u8>,
    ) -> Result<(Lent, Vec<OwnedFd>), RecvError> {
        let (len, descriptors) = self.next(socket.as_fd(), deadline)?;
        let lent = match len {
            ..=COPIED => {
                let mut buffer = mem::take(spare);
                buffer.clear();
                buffer.extend_from_slice(&self.buffer[SKEW..][..len]);
                Lent { buffer, start: 0, len }
            }
            _ => Lent { buffer: mem::take(&mut self.buffer), start: SKEW, len },
        };
        self.give_back();
        Ok((lent, descriptors))
    }

    /// Takes back what was lent, to receive later messages into.
    pub fn take_back(&mut self, lent: Lent) {
        // While a message is under way, its beginning is in the buffer.
        if lent.buffer.len() > self.buffer.len().max(COPIED) && !self.is_inside() {
            self.buffer = lent.buffer;
            self.give_back();
        }
    }

    /// The longest message it accepts, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Accepts messages up to another length from now on; one that has begun is measured by the old limit.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether a message has begun and is not complete: more of it is needed than a readable socket promises.
    pub fn is_inside(&self) -> bool {
        matches!(self.state, State::Inside(_)) || self.frame.is_some_and(Frame::has_begun)
    }

    /// Receives packets until a message lies complete in the buffer.
    #[inline]
    fn next(
        &mut self,
        socket: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<(usize, Vec<OwnedFd>), RecvError> {
        let mut past_deadline = 0;
        loop {
            if let State::Corrupt(fault) = self.state {
                return Err(RecvError::Corrupt(fault));
            }
            match self.packet(socket, deadline)? {
                Step::Done(len, descriptors) => return Ok((len, descriptors)),
                Step::Inside => {}
                Step::Dropped => self.give_back(),
            }
            past_deadline += u32::from(deadline.has_passed());
            if past_deadline > self.patience {
                return Err(RecvError::TimedOut);
            }
        }
    }

    /// Receives one packet, its payload straight to its place in the buffer.
    #[inline]
    fn packet(&mut self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<Step, RecvError> {
        if let Some(frame) = self.frame {
            return self.piece(frame, socket, deadline);
        }
        let at = match &self.state {
            State::Inside(partial) if partial.refused => 0,
            State::Inside(partial) => partial.got as usize,
            _ => return self.first_packet(socket, deadline),
        };
        self.make_room(at)?;
        let (mut head, mut descriptors) = ([0; header::LEN], Vec::new());
        let payload = &mut self.buffer[SKEW + at..][..PAYLOAD];
        let buffers = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(payload)];
        let (n, lost) = match socket::recv_packet(socket, buffers, &mut descriptors, deadline) {
            Ok(packet) => (packet.bytes, false),
            Err(RecvFailed::DescriptorsLost { bytes }) => (bytes, true),
            Err(failed) => return Err(self.failed(failed)),
        };
        let Some(payload) = n.checked_sub(header::LEN) else { return Err(self.corrupt(Fault::Short)) };
        let Some(header) = Header::decode(head) else { return Err(self.corrupt(Fault::UnknownKind)) };
        if !lost && header.carried() != descriptors.len() {
            return Err(self.corrupt(Fault::Descriptors));
        }
        self.step(header, payload, descriptors, lost)
    }

    /// Receives a packet that has no descriptors: header and payload side by side, which is the quickest way.
    #[inline]
    fn first_packet(&mut self, socket: BorrowedFd<'_>, deadline: Deadline) -> Result<Step, RecvError> {
        self.make_room(0)?;
        let packet = &mut self.buffer[SKEW - header::LEN..][..header::LEN + PAYLOAD];
        let n = socket::recv_bytes(socket, packet, deadline);
        let head = packet.first_chunk().and_then(|head| Header::decode(*head));
        let n = n.map_err(|failed| self.failed(failed))?;
        let Some(payload) = n.checked_sub(header::LEN) else { return Err(self.corrupt(Fault::Short)) };
        let Some(header) = head else { return Err(self.corrupt(Fault::UnknownKind)) };
        self.step(header, payload, Vec::new(), false)
    }

    /// What it means for the message that no packet came.
    #[cold]
    fn failed(&mut self, failed: RecvFailed) -> RecvError {
        match failed {
            RecvFailed::Truncated => self.corrupt(Fault::Oversized),
            RecvFailed::TimedOut => RecvError::TimedOut,
            RecvFailed::Closed => self.end(),
            RecvFailed::Os(error) => RecvError::Os(error),
            RecvFailed::DescriptorsLost { .. } => self.corrupt(Fault::Descriptors),
        }
    }

    fn step(
        &mut self,
        header: Header,
        payload: usize,
        descriptors: Vec<OwnedFd>,
        lost: bool,
    ) -> Result<Step, RecvError> {
        let carried = header.carried() as u32;
        let (mut partial, is_first) = match (header, mem::replace(&mut self.state, State::Between)) {
            (Header::Abort, _) => return Ok(Step::Dropped),
            (Header::First { descriptors, len }, State::Between) => (Partial::new(len, descriptors), true),
            (Header::First { .. }, _) => return Err(self.corrupt(Fault::Nested)),
            (Header::More { .. }, State::Inside(_)) if payload == 0 && carried == 0 => {
                return Err(self.corrupt(Fault::Idle));
            }
            (Header::More { offset, .. }, State::Inside(p)) if offset != p.got => {
                return Err(self.corrupt(Fault::Gap));
            }
            (Header::More { .. }, State::Inside(partial)) => (partial, false),
            (Header::More { .. }, _) => return Err(self.corrupt(Fault::Stray)),
        };
        if let Err(fault) = partial.add(payload as u64, carried, descriptors) {
            return Err(self.corrupt(fault));
        }
        let refusal = match partial.refused {
            true => None,
            false if is_first && partial.len > self.limit => {
                Some(RecvError::TooLarge { len: partial.len, limit: self.limit })
            }
            false => lost.then_some(RecvError::DescriptorsLost),
        };
        if refusal.is_some() {
            partial.refuse();
        }
        let step = self.settle(partial);
        refusal.map_or(Ok(step), Err)
    }

    /// Keeps a message of which more is to come, or parts with it.
    fn settle(&mut self, partial: Partial) -> Step {
        match partial {
            partial if !partial.is_done() => {
                self.state = State::Inside(partial);
                Step::Inside
            }
            partial if partial.refused => Step::Dropped,
            partial => Step::Done(partial.len as usize, partial.descriptors),
        }
    }

    /// The end of the stream: what it cuts off is lost, and said once.
    fn end(&mut self) -> RecvError {
        match mem::replace(&mut self.state, State::Between) {
            State::Inside(partial) if !partial.refused => {
                self.give_back();
                RecvError::ClosedInside { got: partial.got, of: partial.len }
            }
            _ => RecvError::Closed,
        }
    }

    #[cold]
    fn corrupt(&mut self, fault: Fault) -> RecvError {
        self.state = State::Corrupt(fault);
        self.buffer = Vec::new();
        RecvError::Corrupt(fault)
    }

    /// Room for one packet after the first `at` bytes, and for no more: what a header promises is not believed.
    #[inline]
    fn make_room(&mut self, at: usize) -> Result<(), RecvError> {
        let needed = SKEW + at + PAYLOAD + TAIL;
        if self.buffer.len() >= needed { Ok(()) } else { self.grow(needed) }
    }

    #[cold]
    fn grow(&mut self, needed: usize) -> Result<(), RecvError> {
        if self.buffer.is_empty() {
            // Pages that the system zeroes when they are touched; so much more that a short message, whose descriptors
            // come in a second packet, does not make it grow, which would touch all of them.
            self.buffer = vec![0; needed + ROOM_AFTER_SHORT];
            return Ok(());
        }
        self.buffer.try_reserve(needed - self.buffer.len()).map_err(|_| {
            let doing = format!("making room for {needed} bytes of a message");
            RecvError::Os(OsError::from_errno(doing, libc::ENOMEM))
        })?;
        self.buffer.resize(needed, 0);
        Ok(())
    }

    /// The buffer itself, for a message too long to be copied.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = mem::take(&mut self.buffer);
        bytes.truncate(SKEW + len);
        bytes.drain(..SKEW);
        bytes.shrink_to_fit();
        bytes
    }

    #[inline]
    fn give_back(&mut self) {
        if self.buffer.len() > KEPT {
            self.buffer = Vec::new();
        }
    }
}
