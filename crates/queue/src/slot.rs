//! What is said of each message, in 64 bytes: where it is, and what it adds to the sums.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 7 | `charged`: the bytes of all messages up to this one, modulo 2^64 |
//! | 8 to 15 | `end`: how far the ring of bytes was ever used up to this one, modulo 2^64; a message there ends there |
//! | 16 to 23 | the length, and in the upper byte the [`Kind`] |
//! | 24 to 63 | the message, if it fits; the index of the extent, if it is there |
//!
//! Invariants: a slot is written by the holder of the producers' lock, before it is committed, and stays as it is until
//! its position comes round again. Sums are differences between slots, so that no counter has to be kept in step with the
//! messages. What is read is a copy, and checked.

use procession_shm::{Arena, ShmError};

use crate::layout::{Layout, N_EXTENTS};
use crate::memory::Words;

/// How many bytes a message may have to lie in its slot.
pub(crate) const INLINE: usize = 40;

/// The sums up to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) charged: u64,
    pub(crate) end: u64,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In its slot.
    Inline,
    /// In the ring of bytes, up to `end`.
    Ring,
    /// In an extent.
    Extent(usize),
}

/// A slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) sums: Sums,
    pub(crate) len: u64,
    pub(crate) kind: Kind,
    inline: [u8; INLINE],
}

/// A slot whose words make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Senseless;

const HEAD: usize = 24;
const KIND_AT: u32 = 56;
const LEN: u64 = (1 << KIND_AT) - 1;

impl Slot {
    /// Of a message that lies here.
    #[inline]
    pub(crate) fn inline(sums: Sums, bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self { sums, len: bytes.len() as u64, kind: Kind::Inline, inline }
    }

    /// Of a message that lies elsewhere.
    pub(crate) fn outside(sums: Sums, len: u64, kind: Kind) -> Self {
        Self { sums, len, kind, inline: [0; INLINE] }
    }

    /// Writes it, no further than it says something.
    #[inline]
    pub(crate) fn store(&self, arena: &Arena<Words>, at: usize) -> Result<(), ShmError> {
        let mut bytes = [0; HEAD + INLINE];
        let (tag, more) = match self.kind {
            Kind::Inline => (0, self.len as usize),
            Kind::Ring => (1, 0),
            Kind::Extent(_) => (2, 8),
        };
        bytes[..8].copy_from_slice(&self.sums.charged.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sums.end.to_le_bytes());
        bytes[16..HEAD].copy_from_slice(&(self.len | tag << KIND_AT).to_le_bytes());
        match self.kind {
            Kind::Extent(index) => bytes[HEAD..HEAD + 8].copy_from_slice(&(index as u64).to_le_bytes()),
            _ => bytes[HEAD..].copy_from_slice(&self.inline),
        }
        arena.write(at, &bytes[..HEAD + more.next_multiple_of(8)])
    }

    /// Reads one that is to be received.
    #[inline]
    pub(crate) fn load(arena: &Arena<Words>, layout: &Layout, at: usize) -> Result<Self, Senseless> {
        let mut bytes = [0; HEAD + INLINE];
        arena.read(at, &mut bytes).map_err(|_| Senseless)?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (len, tag) = (word(16) & LEN, word(16) >> KIND_AT);
        let kind = match tag {
            0 if len <= INLINE as u64 => Kind::Inline,
            1 if len <= layout.ring_len => Kind::Ring,
            2 if len <= layout.extent_len && word(HEAD) < N_EXTENTS as u64 => {
                Kind::Extent(word(HEAD) as usize)
            }
            _ => return Err(Senseless),
        };
        let sums = Sums { charged: word(0), end: word(8) };
        let mut inline = [0; INLINE];
        inline.copy_from_slice(&bytes[HEAD..]);
        Ok(Self { sums, len, kind, inline })
    }

    /// The sums up to a message, whatever it is.
    #[inline]
    pub(crate) fn sums_at(arena: &Arena<Words>, at: usize) -> Result<Sums, ShmError> {
        let mut bytes = [0; 16];
        arena.read(at, &mut bytes)?;
        let (charged, end) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        Ok(Sums { charged: word(charged), end: word(end) })
    }

    /// The message, if it lies here.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.inline[..(self.len as usize).min(INLINE)]
    }

    /// Where in the ring it begins, if it lies there in one piece.
    pub(crate) fn offset_in(&self, ring_len: u64) -> Option<usize> {
        let offset = self.sums.end.wrapping_sub(self.len) & (ring_len - 1);
        (offset + self.len <= ring_len).then_some(offset as usize)
    }
}
