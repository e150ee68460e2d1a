//! A counter of tokens that belong to nobody: who gives one need not have taken it.
//!
//! Invariants: a token is added and taken in one access; adding wakes in the same step if anybody may sleep. A token
//! that its taker took into death is gone: nobody can tell whether it was to come back. Held by the unit tests, by
//! `tests/loom.rs`, and by the table in the README beside the manifest.

use core::fmt;

use crate::Park;
use crate::atomic::{AtomicU32, Ordering};
use crate::limit::{Limit, Naps};

/// A number of tokens, in one word. All zero is none.
///
/// | bits | meaning | who moves it, to what |
/// |---|---|---|
/// | 0, `SLEEPERS` | somebody may sleep | who is about to sleep raises it; who gave tokens and woke nobody lowers it |
/// | 1 to 31 | the tokens | anybody adds some; anybody takes one |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Tokens {
    word: AtomicU32,
}

const SLEEPERS: u32 = 1;
const TOKEN: u32 = 2;

#[cfg(not(loom))]
const _: () = assert!(size_of::<Tokens>() == 4 && align_of::<Tokens>() == 4);

/// There would be more tokens than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Tokens {
    /// The most tokens.
    pub const MAX: u32 = 1 << 30;
    /// The most tokens of one call: a kernel can add so many and wake in one step.
    pub const MAX_AT_ONCE: u32 = 1023;

    /// So many tokens.
    ///
    /// # Panics
    /// If they are more than [`Tokens::MAX`].
    pub fn new(tokens: u32) -> Self {
        assert!(tokens <= Self::MAX, "too many tokens");
        Self { word: AtomicU32::new(tokens * TOKEN) }
    }

    /// How many tokens there are at this moment.
    pub fn count(&self) -> u32 {
        self.word.load(Ordering::Relaxed) / TOKEN
    }

    /// Takes a token; says whether there was one before the limit.
    ///
    /// Blocks. A limit that has passed is one look.
    ///
    /// # If a peer dies
    /// Its token is gone with it. If it was a waiter and a wake was meant for it, the others look again at their tick.
    #[must_use]
    pub fn acquire(&self, park: &impl Park, limit: &impl Limit) -> bool {
        let mut naps = Naps::new(limit);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word >= TOKEN {
                match self.exchange(word, word - TOKEN) {
                    Ok(_) => return true,
                    Err(now) => word = now,
                }
                continue;
            }
            if naps.passed() {
                return false;
            }
            if word == SLEEPERS || self.exchange(word, SLEEPERS).is_ok() {
                // That the limit has passed since is found out above, after one more look.
                let _ = naps.nap(|time| park.wait(&self.word, SLEEPERS, time));
            }
            word = self.word.load(Ordering::Relaxed);
        }
    }

    /// Adds `n` tokens, and wakes as many who wait. Does not block.
    ///
    /// # Errors
    /// [`TooMany`]: there would be more than [`Tokens::MAX`]; nothing was done.
    ///
    /// # Panics
    /// If `n` is more than [`Tokens::MAX_AT_ONCE`].
    ///
    /// # If a peer dies
    /// Who is killed in here has given all `n` and woken as many, or none. If nobody slept, it goes on to say so; killed
    /// at that, it leaves who lay down in the same moment to the tick.
    pub fn release(&self, park: &impl Park, n: u32) -> Result<(), TooMany> {
        assert!(n <= Self::MAX_AT_ONCE, "too many tokens at once");
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // Others may add at the same time: the bound has as much room above it as below.
            if word / TOKEN + n > Self::MAX {
                return Err(TooMany);
            }
            if word & SLEEPERS != 0 {
                if n > 0 && park.add_and_wake(&self.word, n * TOKEN, n) == 0 {
                    self.lower(park);
                }
                return Ok(());
            }
            match self.exchange(word, word + n * TOKEN) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Adds a token if there are then at most `max`: for a lock that anybody may open, and for a bounded semaphore.
    ///
    /// As [`release`](Self::release), but adding and waking are two steps: who is killed between them leaves the
    /// sleepers to their tick.
    pub fn release_up_to(&self, park: &impl Park, max: u32) -> Result<(), TooMany> {
        self.release_many_up_to(park, 1, max)
    }

    /// Adds `n` tokens, any number, if there are then at most `max`: as [`release_up_to`](Self::release_up_to).
    pub fn release_many_up_to(&self, park: &impl Park, n: u32, max: u32) -> Result<(), TooMany> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let room = max.min(Self::MAX).checked_sub(word / TOKEN);
            if room.is_none_or(|room| room < n) {
                return Err(TooMany);
            }
            match self.exchange(word, word + n * TOKEN) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if word & SLEEPERS != 0 && n > 0 && park.wake(&self.word, n) == 0 {
            self.lower(park);
        }
        Ok(())
    }

    /// Nobody slept: the next one who gives need not try. Somebody may lie down just now, so lowering wakes all.
    fn lower(&self, park: &impl Park) {
        let word = self.word.load(Ordering::Relaxed);
        if word & SLEEPERS != 0 && self.exchange(word, word & !SLEEPERS).is_ok() {
            park.wake(&self.word, u32::MAX);
        }
    }

    fn exchange(&self, word: u32, new: u32) -> Result<u32, u32> {
        self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Relaxed)
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("giving back more than was taken")
    }
}

impl core::error::Error for TooMany {}

#[cfg(all(test, not(loom)))]
mod tests;
