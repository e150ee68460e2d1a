//! How many times something happened, and whether anybody sleeps until it happens again.
//!
//! Invariants: who is about to sleep records the count and looks again at what it waits for before it sleeps; an event
//! changes the count and wakes in one step. Callers without a lock around both sides put a `SeqCst` fence between
//! recording and looking, and between changing and notifying: one of the two then sees the other.

use crate::Park;
use crate::atomic::{AtomicU32, Ordering};

/// Events and their sleepers, in one word. All zero is none.
///
/// | bits | meaning | who moves it, to what |
/// |---|---|---|
/// | 0, `SLEEPERS` | somebody may sleep | who is about to sleep raises it; `notify_all` lowers it, and wakes all |
/// | 1 to 31 | how many events there were | an event adds one, if somebody may sleep |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct EventCount {
    word: AtomicU32,
}

pub(crate) const SLEEPERS: u32 = 1;
pub(crate) const EVENT: u32 = 2;

#[cfg(not(loom))]
const _: () = assert!(size_of::<EventCount>() == 4 && align_of::<EventCount>() == 4);

impl EventCount {
    /// No event, no sleeper.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces a sleeper; the answer is the record of what it has seen.
    pub(crate) fn enroll(&self) -> u32 {
        self.word.fetch_or(SLEEPERS, Ordering::Relaxed) | SLEEPERS
    }

    /// The word to sleep on while it holds a record.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Whether there was an event since.
    pub(crate) fn has_happened(&self, since: u32) -> bool {
        self.word.load(Ordering::Relaxed) != since
    }

    /// An event for up to `n` sleepers.
    pub(crate) fn notify(&self, park: &impl Park, n: u32) {
        let word = self.word.load(Ordering::Relaxed);
        if word & SLEEPERS != 0 && park.add_and_wake(&self.word, EVENT, n) == 0 && n > 0 {
            // Nobody slept: the next event need not try. Somebody may lie down just now, and must be woken in the step
            // that lowers the flag: see "the flag and the latecomer" in the README.
            self.notify_all(park);
        }
    }

    /// An event for all sleepers.
    pub(crate) fn notify_all(&self, park: &impl Park) {
        if self.word.load(Ordering::Relaxed) & SLEEPERS != 0 {
            // The carry out of `SLEEPERS` lowers it and counts the event. If two do this at once, the flag may stay
            // without a sleeper, which costs a wake too many.
            park.add_and_wake(&self.word, SLEEPERS, u32::MAX);
        }
    }
}
