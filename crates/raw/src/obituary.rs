//! The news that somebody in the domain died, for those who wait for something and not for somebody.
//!
//! Invariant: the count only grows, and it changes and wakes in one step. Nothing depends on it being rung: it turns a
//! tick into at once.

use crate::Park;
use crate::atomic::{AtomicU32, Ordering};

/// How many deaths were announced in a domain, in one word, wrapping. All zero is none.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Obituary {
    word: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Obituary>() == 4);

impl Obituary {
    /// No death yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces a death: wakes all who watch, and they look again at what they wait for. Does not block.
    ///
    /// To be called by whoever learns of a death, as often as it likes, after it has repaired what it can.
    pub fn ring(&self, park: &impl Park) {
        park.add_and_wake(&self.word, 1, u32::MAX);
    }

    /// The word, and the value it holds: for [`Park::wait_any`] and [`Ring::nap`](crate::Ring::nap). To be called before
    /// looking at what is waited for.
    #[inline]
    pub fn watch(&self) -> (&AtomicU32, u32) {
        (&self.word, self.word.load(Ordering::Acquire))
    }

    /// Whether a death was announced since [`watch`](Self::watch) gave this value.
    pub fn has_rung(&self, since: u32) -> bool {
        self.word.load(Ordering::Acquire) != since
    }
}
