//! A copy of the newest small message, beside the counter that says that it is there.
//!
//! Who waits for a message has the line of the counter in its cache when that moves; with the message in it, the slot is not
//! fetched. What is here is never more than a copy: the slot has the message whatever becomes of this.
//!
//! | `note` | meaning | who writes it |
//! |---|---|---|
//! | number of a slot, and a word of the caller | `words` are what that slot got, or are being written | the producer whose turn it is, before `words` |
//! | number of the next slot, and 0 | nothing is here | a producer that commits without a copy, before the commit |
//!
//! Invariants: whatever commits slots has written `note` in the same turn, so the note of a slot that was committed long
//! ago, or was filled by somebody who died, is never taken for a new one's. A reader looks at `note` before and after the
//! words, for a slot that is committed and that it alone may empty: so the number cannot come round meanwhile.
//!
//! The order is that of a sequence lock: H.-J. Boehm, "Can seqlocks get along with programming language memory models?",
//! MSPC 2012.

use crate::atomic::{AtomicU64, Ordering, fence};

/// How many words of 64 bits a copy has at most.
pub const MAIL: usize = if cfg!(loom) { 2 } else { 5 };

#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Mail {
    note: AtomicU64,
    words: [AtomicU64; MAIL],
}

impl Mail {
    #[inline(always)]
    pub(super) fn post(&self, at: u32, word: u32, words: &[u64]) {
        self.note.store(u64::from(at) << 32 | u64::from(word), Ordering::Relaxed);
        // Who reads one of the words below, reads this note, or a later one, when it looks again.
        fence(Ordering::Release);
        for (to, word) in self.words.iter().zip(words) {
            to.store(*word, Ordering::Relaxed);
        }
    }

    /// Nothing is here. `next` is the number of the first slot that is not committed.
    #[inline(always)]
    pub(super) fn clear(&self, next: u32) {
        self.note.store(u64::from(next) << 32, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn read(&self, at: u32, n: usize) -> Option<(u32, [u64; MAIL])> {
        let note = self.note.load(Ordering::Relaxed);
        if (note >> 32) as u32 != at {
            return None;
        }
        let mut words = [0; MAIL];
        for (word, from) in words.iter_mut().zip(&self.words).take(n) {
            *word = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        (self.note.load(Ordering::Relaxed) == note).then_some((note as u32, words))
    }
}
