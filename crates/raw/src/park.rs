//! How an algorithm sleeps on a word and wakes those who sleep on it.
//!
//! Invariant of every implementation: if the word differs from `expected` at some instant after the caller's last
//! look and before it sleeps, the call returns; a wake that follows a store to the word is never lost.

use core::time::Duration;

use crate::atomic::{AtomicU32, Ordering};

/// Why a wait came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Somebody woke us, or the sleep ended for no reason: look at the word again.
    Woken,
    /// The word did not hold the expected value, so there was no sleep.
    Changed,
    /// The time was up.
    TimedOut,
}

/// Sleeping on words and waking sleepers, between threads and between processes that map the same memory.
///
/// Waking never waits for the woken and never fails: a dead sleeper costs nothing.
pub trait Park {
    /// Sleeps while `word` holds `expected`, for at most `timeout` (`None`: no limit).
    ///
    /// Blocks. May return [`Waited::Woken`] spuriously. If the process that would have woken us dies, only the
    /// timeout ends the sleep: callers of this trait wait in ticks.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited;

    /// Sleeps while every word of `words` holds its expected value, for at most `timeout`.
    ///
    /// The algorithms of this crate give it 32 words at most, and the one that is most likely to change first.
    /// An implementation that cannot sleep on many words sleeps on the first one only, and for at most a tick:
    /// callers look at all words again in any case.
    fn wait_any(&self, words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> Waited;

    /// Wakes up to `n` sleepers of `word`; says how many it woke.
    fn wake(&self, word: &AtomicU32, n: u32) -> u32;

    /// Stores `value` in `word` and wakes up to `n` of its sleepers, in one step that no kill can divide.
    ///
    /// What was stored before is visible to whoever reads `value` (release), as with the two calls below.
    /// The algorithms of this crate store only zero and powers of two: a kernel may have no one step for others.
    fn store_and_wake(&self, word: &AtomicU32, value: u32, n: u32);

    /// Adds `addend` (below 2048) to `word`, wrapping, and wakes up to `n` of its sleepers; says how many it woke.
    ///
    /// An implementation that can makes it one step. This one takes two: who is killed between them leaves the
    /// sleepers to their tick.
    fn add_and_wake(&self, word: &AtomicU32, addend: u32, n: u32) -> u32 {
        word.fetch_add(addend, Ordering::Release);
        self.wake(word, n)
    }

    /// Sets `bits` (below 2048) in `word` and wakes up to `n` of its sleepers; says how many it woke.
    ///
    /// An implementation that can makes it one step; this one takes two, as [`add_and_wake`](Self::add_and_wake).
    fn set_and_wake(&self, word: &AtomicU32, bits: u32, n: u32) -> u32 {
        word.fetch_or(bits, Ordering::Release);
        self.wake(word, n)
    }
}
