//! Who may use a piece of memory that messages are put into: one word for each piece.
//!
//! Invariants: a piece is written by its owner only, read by whoever leases it only, and changes hands by one exchange or
//! under the lock of the side that the step belongs to. Held by the tests below and by `procession-queue`'s kill points.

use crate::atomic::{AtomicU32, Ordering};
use crate::{Id, Owners};

/// What a piece is in use for, in one word. All zero is free.
///
/// | bits 31, 30 | the others | who moves it, to what |
/// |---|---|---|
/// | 0, free | nothing | who wants to send: owned |
/// | 1, owned | who fills it | that one, under the producers' lock: queued; that one: free; who wants to send, if that one is dead: owned |
/// | 2, queued | the position of its message, modulo 2^29 | a consumer, under the consumers' lock: leased. The next holder of the producers' lock, if the message was never committed: free |
/// | 3, leased | who reads it | that one: free. Under the consumers' lock, if that one is dead: leased, if its message is still the first; else free |
///
/// "If a kill hits" in the README says what each step leaves.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Extent {
    word: AtomicU32,
}

/// What an [`Extent`] is in use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    Free,
    /// To be filled.
    Owned(Id),
    /// By the message at this position, modulo 2^29.
    Queued(u32),
    /// To be read.
    Leased(Id),
}

impl Use {
    const OWNED: u32 = 1 << 30;
    const QUEUED: u32 = 2 << 30;
    const LEASED: u32 = 3 << 30;

    /// By the message at this position.
    #[must_use]
    pub const fn queued(at: u32) -> Self {
        Self::Queued(at & Id::MASK)
    }

    const fn of(word: u32) -> Self {
        match word & Self::LEASED {
            Self::OWNED => Self::Owned(Id::from_bits(word)),
            Self::QUEUED => Self::Queued(word & Id::MASK),
            Self::LEASED => Self::Leased(Id::from_bits(word)),
            _ => Self::Free,
        }
    }

    const fn word(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::Owned(id) => Self::OWNED | id.to_bits(),
            Self::Queued(at) => Self::QUEUED | at & Id::MASK,
            Self::Leased(id) => Self::LEASED | id.to_bits(),
        }
    }
}

impl Extent {
    /// A free piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it is in use for at this moment.
    #[inline]
    pub fn current(&self) -> Use {
        Use::of(self.word.load(Ordering::Acquire))
    }

    /// Takes it to fill it, if it is free or whoever was filling it is dead.
    pub fn take(&self, owners: &impl Owners, me: Id) -> bool {
        let now = self.current();
        let is_free = match now {
            Use::Free => true,
            Use::Owned(owner) => owners.is_dead(owner),
            Use::Queued(_) | Use::Leased(_) => false,
        };
        is_free && self.change(now, Use::Owned(me))
    }

    /// Moves it on, if it is in use for what `now` says.
    #[inline]
    pub fn change(&self, now: Use, next: Use) -> bool {
        // What its last user stored or read came before, and what its next one does comes after.
        self.word.compare_exchange(now.word(), next.word(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::world::Director;

    #[test]
    fn only_what_is_free_or_left_by_the_dead_is_taken() {
        let mut d = Director::new(Extent::new());
        let me = |d: &Director<Extent>, n| d.id(n);
        let owner = d.spawn(|w| {
            let id = w.me().unwrap();
            assert!(w.shared.take(w, id));
            assert!(!w.shared.take(w, id), "owned, by somebody alive");
            w.shared.change(Use::Owned(id), Use::Owned(id));
        });
        d.run(owner, 2);
        let id = me(&d, owner);
        let other = d.spawn(move |w| {
            assert!(!w.shared.take(w, w.me().unwrap()));
            assert_eq!(w.shared.current(), Use::Owned(id));
        });
        d.run_on(other);
        d.kill(owner);
        let heir = d.spawn(|w| {
            let me = w.me().unwrap();
            assert!(w.shared.take(w, me));
            for next in [Use::queued(u32::MAX), Use::Leased(me), Use::Free] {
                let now = w.shared.current();
                assert!(w.shared.change(now, next) && !w.shared.change(now, next));
                assert_eq!(w.shared.current(), next);
                assert_eq!(w.shared.take(w, me), next == Use::Free);
            }
        });
        d.run_on(heir);
    }

    #[test]
    fn every_word_is_some_use() {
        for word in [0, 1, 7 << 29, u32::MAX, 1 << 30, 2 << 30, 3 << 30] {
            let found = Use::of(word);
            assert_eq!(Use::of(found.word()), found);
        }
    }
}
