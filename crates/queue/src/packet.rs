//! What the descriptors of a message lie in while they are on their way: packets in sockets, which are copied before they are
//! taken away.
//!
//! Invariant: nothing here takes a packet away but [`First::discard`], and nothing is taken out of a trunk, so that what is
//! copied once can be copied again.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_codec::DecodeError;
use procession_codec::handles::HandleError;
use procession_sys::socket::{self, MAX_DESCRIPTORS, RecvFailed, SendFailed};
use procession_sys::{Deadline, OsError};

/// So many packets at most are looked at in one turn; as a rule a socket has room for fewer.
pub(crate) const PATIENCE: usize = 1024;
/// What a packet says: its number, and how many descriptors the message has.
const LABEL: usize = 12;

/// A copy of a packet.
#[derive(Debug)]
pub(crate) struct Packet {
    n: usize,
    descriptors: Vec<OwnedFd>,
}

/// The first packet of a socket.
#[derive(Debug)]
pub(crate) struct First {
    /// Its number, and how many descriptors its message has; `None` if a peer sent it that keeps to nothing.
    pub(crate) label: Option<(u64, usize)>,
    descriptors: Result<Vec<OwnedFd>, RecvFailed>,
}

/// The descriptors of a packet. Not in a turn.
pub(crate) fn unpack(packet: Option<Packet>) -> Result<Vec<OwnedFd>, DecodeError> {
    let unpacked = packet.ok_or(0).and_then(Packet::unpack);
    unpacked.map_err(|n| DecodeError::Handle(HandleError::Missing { index: n as u32, carried: n }))
}

impl Packet {
    /// Sends a copy of the packet; `false` if there is no room for it.
    pub(crate) fn send_copy(&self, number: u64, end: BorrowedFd<'_>) -> Result<bool, OsError> {
        let label = label(number, self.n);
        let descriptors: Vec<_> = self.descriptors.iter().map(AsFd::as_fd).collect();
        match socket::send_packet(end, &[IoSlice::new(&label)], &descriptors, Deadline::now()) {
            Ok(_) => Ok(true),
            Err(SendFailed::TimedOut) => Ok(false),
            Err(SendFailed::Os(error)) => Err(error),
            Err(_) => Err(OsError::new("keeping the handles of a job", ErrorKind::BrokenPipe)),
        }
    }

    /// All descriptors; or how many there were, if there are not as many as there should be.
    fn unpack(self) -> Result<Vec<OwnedFd>, usize> {
        let all = if self.n > MAX_DESCRIPTORS { self.copy_trunks()? } else { self.descriptors };
        if all.len() == self.n { Ok(all) } else { Err(all.len()) }
    }

    fn copy_trunks(&self) -> Result<Vec<OwnedFd>, usize> {
        if self.descriptors.len() != self.n.div_ceil(MAX_DESCRIPTORS) {
            return Err(0);
        }
        let mut all = Vec::new();
        for trunk in &self.descriptors {
            let before = all.len();
            let mut mark = [0];
            let is_one = socket::check(trunk).is_ok()
                && socket::peek_packet(trunk, &mut [IoSliceMut::new(&mut mark)], &mut all).is_ok();
            if !is_one || all.len() != self.n.min(before + MAX_DESCRIPTORS) {
                return Err(before);
            }
        }
        Ok(all)
    }
}

impl First {
    /// Looks at it; `None` if there is none.
    pub(crate) fn peek(end: BorrowedFd<'_>) -> Option<Self> {
        let (mut label, mut descriptors) = ([0; LABEL + 1], Vec::new());
        let peeked = socket::peek_packet(end, &mut [IoSliceMut::new(&mut label)], &mut descriptors);
        let len = match &peeked {
            Ok(packet) => packet.bytes,
            Err(RecvFailed::DescriptorsLost { bytes }) => *bytes,
            Err(RecvFailed::TimedOut | RecvFailed::Closed) => return None,
            Err(_) => 0,
        };
        Some(Self { label: read_label(&label[..len]), descriptors: peeked.map(|_| descriptors) })
    }

    /// A copy of it, if it is of a message with `n` descriptors.
    pub(crate) fn copy(self, n: usize) -> Result<Packet, OsError> {
        Ok(Packet { n, descriptors: self.descriptors? })
    }

    /// Takes it away.
    pub(crate) fn discard(self, end: BorrowedFd<'_>) -> Result<(), OsError> {
        if let Err(RecvFailed::Os(error)) = self.descriptors {
            return Err(error);
        }
        drop(self.descriptors);
        Ok(socket::discard_packet(end).map(drop)?)
    }
}

/// A copy of the packet with this number, which is then the first; `None` if there is none. Those before it are gone.
pub(crate) fn find(end: BorrowedFd<'_>, number: u64) -> Result<Option<Packet>, OsError> {
    for _ in 0..PATIENCE {
        let Some(first) = First::peek(end) else { return Ok(None) };
        match first.label {
            Some((found, n)) if found == number => return first.copy(n).map(Some),
            Some((found, _)) if (found.wrapping_sub(number) as i64) > 0 => return Ok(None),
            _ => first.discard(end)?,
        }
    }
    Ok(None)
}

/// What a packet says that has this number, of a message with `n` descriptors.
pub(crate) fn label(number: u64, n: usize) -> [u8; LABEL] {
    let mut label = [0; LABEL];
    label[..8].copy_from_slice(&number.to_le_bytes());
    label[8..].copy_from_slice(&(n as u32).to_le_bytes());
    label
}

/// The number and how many descriptors, if it is a label.
fn read_label(bytes: &[u8]) -> Option<(u64, usize)> {
    let (number, n) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), u32::from_le_bytes(n.try_into().ok()?) as usize))
}
