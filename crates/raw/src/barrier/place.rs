//! The places of a barrier: who has one, and who has arrived there.
//!
//! Invariant: a place is taken, and a guest arrives, by one exchange of one word, so no two have a place in one
//! generation, whoever is killed between what.

use super::{BROKEN, GENERATION, Generation};
use crate::Id;
use crate::atomic::{AtomicU32, Ordering};

/// The place of one party. All zero is a place that nobody has.
///
/// | word | meaning | who moves it, to what |
/// |---|---|---|
/// | party `0` | free | anybody, to one of the next two |
/// | party `OWNED + id` | attached | the party, to free; once it is dead, a reset, to 0 |
/// | party `GUEST + generation` | a guest has arrived in that generation; free in all others | as free |
/// | arrived `generation + 1` | the attached party has arrived in that generation | the party, when it arrives |
///
/// Who arrived stays there, and would be taken for one who arrives 2²² generations later if nobody had the place
/// meanwhile; but no generation meets unless somebody has each place.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Place {
    pub(super) party: AtomicU32,
    pub(super) arrived: AtomicU32,
}

pub(super) const OWNED: u32 = 1 << 29;
const GUEST: u32 = 1 << 30;

const _: () = assert!(Id::MASK == OWNED - 1);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Place>() == 8 && core::mem::offset_of!(Place, arrived) == 4);

impl Place {
    /// A free place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who is attached here.
    pub(super) fn party(&self) -> Option<Id> {
        owner(self.party.load(Ordering::Relaxed))
    }

    pub(super) fn has_arrived(&self, state: u32) -> bool {
        let party = self.party.load(Ordering::Acquire);
        match owner(party) {
            Some(_) => self.arrived.load(Ordering::Acquire) == arrival(state),
            None => party == guest(state),
        }
    }

    /// The party that is attached here arrives.
    pub(super) fn arrive(&self, state: u32) {
        self.arrived.store(arrival(state), Ordering::Release);
    }

    /// A guest arrives here, if the place is free and the generation has not ended; says whether it did.
    pub(super) fn arrive_as_guest(&self, now: Generation<'_>, state: u32) -> bool {
        self.take(now, |now| (now == state).then_some(guest(state)))
    }

    /// Attaches a party, if the place is free; says whether it was.
    pub(super) fn attach(&self, now: Generation<'_>, me: Id) -> bool {
        self.take(now, |_| Some(OWNED | me.to_bits()))
    }

    /// Frees the place of a party. What it arrived in stays there, as that of a guest: else who thinks of an earlier
    /// generation could take the place for one that nobody had meanwhile.
    pub(super) fn detach(&self, me: Id) -> bool {
        let arrived = self.arrived.load(Ordering::Relaxed);
        self.leave(me, if arrived == 0 { 0 } else { guest(arrived) })
    }

    /// Frees the place of a party that is dead, when its generation has been broken.
    pub(super) fn clear(&self, dead: Id) {
        self.leave(dead, 0);
    }

    fn leave(&self, party: Id, left: u32) -> bool {
        let mine = OWNED | party.to_bits();
        self.party.compare_exchange(mine, left, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes the place if it is free, for what `taker` makes of the state.
    fn take(&self, now: Generation<'_>, taker: impl FnOnce(u32) -> Option<u32>) -> bool {
        // The word comes first: who arrived here did so in this generation or an earlier one.
        let word = self.party.load(Ordering::Acquire);
        let state = now.load(Ordering::Acquire);
        let is_free = owner(word).is_none() && (word != guest(state) || state & BROKEN != 0);
        let taken = taker(state).filter(|_| is_free);
        let (taken_as, order) = (taken.unwrap_or(word), (Ordering::AcqRel, Ordering::Relaxed));
        taken.is_some() && self.party.compare_exchange(word, taken_as, order.0, order.1).is_ok()
    }
}

fn owner(word: u32) -> Option<Id> {
    (word & OWNED != 0).then(|| Id::from_bits(word))
}

/// What stands in `arrived`; never 0.
const fn arrival(state: u32) -> u32 {
    state & !(GENERATION - 1) | 1
}

/// What stands in `party`, from a state or an arrival.
const fn guest(state: u32) -> u32 {
    GUEST | (state / GENERATION)
}
