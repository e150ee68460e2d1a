//! The news that somebody left the items half written, kept until a writer says that they are as they should be.
//!
//! | bit of `news` | meaning | who moves it |
//! |---|---|---|
//! | `DIED` | the process or thread in victim copy `COPY` died while it could write | the holder of `table`, with the copy written before; a writer clears it |
//! | `BROKEN` | somebody panicked while it could write, or died and is not known | anybody; a writer clears it |
//! | `COPY` | which victim copy `DIED` speaks of | the holder of `table`, with `DIED` |
//!
//! Invariant: who finds a lock or a lease of the dead free finds the news, as they are told before.

use std::sync::atomic::Ordering;

use super::head::{Head, Name};
use crate::domain::Participant;

const DIED: u32 = 1;
const BROKEN: u32 = 2;
const COPY: u32 = 4;

impl Head {
    /// Tells of a death, unless one is told already. For the holder of `table`.
    pub(super) fn tell(&self, who: Name) {
        let word = self.news.load(Ordering::Relaxed);
        if word & DIED != 0 {
            return;
        }
        let other = word & COPY ^ COPY;
        self.victims[(other / COPY) as usize].store(who);
        // Others may set `BROKEN` meanwhile.
        let told = |word: u32| Some(word & BROKEN | other | DIED);
        let _ = self.news.fetch_update(Ordering::AcqRel, Ordering::Relaxed, told);
    }

    /// Tells that the items are not as they should be.
    pub(super) fn tell_broken(&self) {
        if self.news.load(Ordering::Relaxed) & BROKEN == 0 {
            self.news.fetch_or(BROKEN, Ordering::AcqRel);
        }
    }

    pub(super) fn is_consistent(&self) -> bool {
        self.news.load(Ordering::Acquire) & (DIED | BROKEN) == 0
    }

    /// Who died, if that is known.
    pub(super) fn victim(&self) -> Option<Participant> {
        let word = self.news.load(Ordering::Acquire);
        let victim = &self.victims[(word & COPY != 0) as usize];
        (word & DIED != 0).then(|| victim.load().into())
    }

    /// For who holds `lock` to write.
    pub(super) fn forget(&self) {
        self.news.fetch_and(!(DIED | BROKEN), Ordering::AcqRel);
    }
}
