//! What is said of each message, in 64 bytes: where it is, and what it adds to the sums.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 7 | `charged`: the bytes of all messages up to this one, modulo 2^64 |
//! | 8 to 15 | `end`: how far the ring of bytes was ever used up to this one, modulo 2^64; a message there ends there |
//! | 16 to 23 | the length, and in the upper byte the [`Kind`], and in its upper bit whether the message has luggage |
//! | 24 to 63 | the message, if it fits; the index of the extent, if it is there |
//! | 56 to 63 | the number of the luggage, if there is any: then the message is in the ring or in an extent |
//!
//! Invariants: a slot is written by the holder of the producers' lock, before it is committed, and stays as it is until
//! its position comes round again. Sums are differences between slots, so that no counter has to be kept in step with the
//! messages. What is read is a copy, and checked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use procession_shm::{Arena, ShmError};

use crate::layout::{Layout, N_EXTENTS, SLOT};
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

/// A slot, but for the bytes in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) sums: Sums,
    pub(crate) len: u64,
    pub(crate) kind: Kind,
}

/// A message that fits into its slot, on its way there or back.
#[derive(Clone, Copy, Debug)]
pub struct Small {
    words: [u64; INLINE / 8],
    len: usize,
}

/// A slot whose words make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Senseless;

pub(crate) const N_WORDS: usize = SLOT / 8;
/// The word where the message is, or the index of its extent.
const BODY: usize = 3;
const KIND_AT: u32 = 56;
const LEN: u64 = (1 << KIND_AT) - 1;
const LADEN: u64 = 1 << 63;
/// The word of the number of the luggage.
const NUMBER: usize = 7;
const LADEN_RING: u64 = LADEN >> KIND_AT | 1;
const LADEN_EXTENT: u64 = LADEN >> KIND_AT | 2;

impl Small {
    /// The message of these bytes, if it is small enough.
    #[inline(always)]
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > INLINE {
            return None;
        }
        let (whole, rest) = bytes.as_chunks::<8>();
        let mut words = [0; INLINE / 8];
        for (word, bytes) in words.iter_mut().zip(whole) {
            *word = u64::from_le_bytes(*bytes);
        }
        if let Some(last) = words.get_mut(whole.len()) {
            *last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Some(Self { words, len: bytes.len() })
    }

    /// Calls `look` with its bytes.
    #[inline(always)]
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        let mut padded = [0; INLINE];
        for (bytes, word) in padded.as_chunks_mut::<8>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        look(&padded[..self.len.min(INLINE)])
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The words that it has bytes in.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[u64] {
        &self.words[..self.len.div_ceil(8).min(INLINE / 8)]
    }

    /// The message of `len` bytes in these words, if it can be one.
    #[inline(always)]
    pub(crate) fn from_words(words: [u64; INLINE / 8], len: u32) -> Option<Self> {
        let len = len as usize;
        (len <= INLINE).then_some(Self { words, len })
    }

    /// Writes a slot with this message.
    #[inline(always)]
    pub(crate) fn store(&self, sums: Sums, words: &[AtomicU64; N_WORDS]) {
        words[0].store(sums.charged, Relaxed);
        words[1].store(sums.end, Relaxed);
        words[2].store(self.len as u64, Relaxed);
        for (to, word) in words[BODY..].iter().zip(self.words).take(self.len.div_ceil(8)) {
            to.store(word, Relaxed);
        }
    }

    /// The message that lies in a slot, and of it the first `bytes` at least; `None` if it lies elsewhere, or what is there
    /// makes no sense.
    #[inline(always)]
    pub(crate) fn load(words: &[AtomicU64; N_WORDS], bytes: usize) -> Option<Self> {
        // The upper byte is 0 with a message that is here.
        let len = words[2].load(Relaxed);
        let all =
            || std::array::from_fn(|at| if 8 * at < bytes { words[BODY + at].load(Relaxed) } else { 0 });
        (len <= INLINE as u64).then(|| Self { words: all(), len: len as usize })
    }
}

impl Sums {
    /// Those up to the message of a slot.
    #[inline(always)]
    pub(crate) fn load(words: &[AtomicU64]) -> Self {
        Self { charged: words[0].load(Relaxed), end: words[1].load(Relaxed) }
    }
}

impl Slot {
    /// Writes it, with the bytes that are to lie in it.
    #[inline]
    pub(crate) fn store(&self, arena: &Arena<Words>, at: usize, inline: &[u8]) -> Result<(), ShmError> {
        let words = arena.atomics(at, N_WORDS)?;
        let tag = match self.kind {
            Kind::Inline => 0,
            Kind::Ring => 1,
            Kind::Extent(index) => {
                words[BODY].store(index as u64, Relaxed);
                2
            }
        };
        words[0].store(self.sums.charged, Relaxed);
        words[1].store(self.sums.end, Relaxed);
        words[2].store(self.len | tag << KIND_AT, Relaxed);
        let (whole, rest) = inline.as_chunks::<8>();
        for (word, bytes) in words[BODY..].iter().zip(whole) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            words[BODY + whole.len()].store(u64::from_le_bytes(last), Relaxed);
        }
        Ok(())
    }

    /// Reads one that is to be received, and appends the bytes that lie in it to `into`.
    #[inline]
    pub(crate) fn load(
        arena: &Arena<Words>,
        layout: &Layout,
        at: usize,
        into: &mut Vec<u8>,
    ) -> Result<Self, Senseless> {
        let words = arena.atomics(at, N_WORDS).map_err(|_| Senseless)?;
        let [charged, end, what] = [0, 1, 2].map(|at: usize| words[at].load(Relaxed));
        let (len, tag) = (what & LEN, what >> KIND_AT);
        let kind = match tag {
            0 if len <= INLINE as u64 => {
                append(&words[BODY..], len as usize, into);
                Kind::Inline
            }
            1 | LADEN_RING if len <= layout.budget => Kind::Ring,
            2 | LADEN_EXTENT if len <= layout.budget => match words[BODY].load(Relaxed) as usize {
                index if index < N_EXTENTS => Kind::Extent(index),
                _ => return Err(Senseless),
            },
            _ => return Err(Senseless),
        };
        Ok(Self { sums: Sums { charged, end }, len, kind })
    }

    /// Says that the message that was put there has the luggage with this number.
    #[cold]
    pub(crate) fn lade(arena: &Arena<Words>, at: usize, number: u64) -> Result<(), ShmError> {
        let words = arena.atomics(at, N_WORDS)?;
        words[NUMBER].store(number, Relaxed);
        words[2].store(words[2].load(Relaxed) | LADEN, Relaxed);
        Ok(())
    }

    /// The number of the luggage of a message that does not lie in its slot.
    #[inline]
    pub(crate) fn luggage_at(arena: &Arena<Words>, at: usize) -> Option<u64> {
        let words = arena.atomics(at, N_WORDS).ok()?;
        (words[2].load(Relaxed) & LADEN != 0).then(|| words[NUMBER].load(Relaxed))
    }

    /// The sums up to a message, whatever it is.
    #[inline]
    pub(crate) fn sums_at(arena: &Arena<Words>, at: usize) -> Result<Sums, ShmError> {
        let words = arena.atomics(at, 2)?;
        Ok(Sums::load(words))
    }

    /// Where in the ring it begins, if it lies there in one piece.
    pub(crate) fn offset_in(&self, ring_len: u64) -> Option<usize> {
        let offset = self.sums.end.wrapping_sub(self.len) & (ring_len - 1);
        (offset + self.len <= ring_len).then_some(offset as usize)
    }
}

#[inline]
fn append(words: &[AtomicU64], len: usize, into: &mut Vec<u8>) {
    let mut left = len;
    for word in words {
        let bytes = word.load(Relaxed).to_le_bytes();
        into.extend_from_slice(&bytes[..left.min(8)]);
        if left <= 8 {
            return;
        }
        left -= 8;
    }
}
