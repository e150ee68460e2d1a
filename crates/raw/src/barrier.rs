//! A meeting of a fixed number of parties, which a death breaks instead of leaving the others to wait for ever.
//!
//! Invariants: a party arrives by one store of the generation into a word of its own; a generation ends by one exchange
//! of the state, so all who were in it agree how it ended; whoever sees that all have arrived ends it, so nobody depends
//! on the last one to live. Held by the unit tests, by `tests/loom.rs`, and by the table in the README beside the manifest.

use core::fmt;

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::limit::{Limit, Naps};
use crate::{EventCount, Id, NoSlot, NotHeld, Owners, Park};

/// What the parties of a barrier share besides their places. All zero is the first generation.
///
/// | bits of the state | meaning | who moves it, to what |
/// |---|---|---|
/// | 0, `BROKEN` | this generation will not meet | whoever sees a death, whose limit passed, or who aborts raises it |
/// | 1, `RESET` | the generation before ended by a reset | a reset raises it with the next generation, a meeting lowers it |
/// | 2 to 31 | the generation | who sees that all have arrived, or resets, adds one |
#[derive(Debug, Default)]
#[repr(C)]
pub struct Meeting {
    state: AtomicU32,
    queue: EventCount,
}

/// The place of one party. All zero is a place that nobody has.
///
/// | word | meaning | who moves it, to what |
/// |---|---|---|
/// | party `0` | free | anybody, to `OWNED + id` |
/// | party `OWNED + id` | attached | the party, to 0; once it is dead, a reset |
/// | arrived `generation + 1` | the party has arrived in that generation | the party, when it arrives |
#[derive(Debug, Default)]
#[repr(C)]
pub struct Place {
    party: AtomicU32,
    arrived: AtomicU32,
}

const BROKEN: u32 = 1;
const RESET: u32 = 1 << 1;
const GENERATION: u32 = 1 << 2;
const OWNED: u32 = 1 << 29;

const _: () = assert!(Id::MASK == OWNED - 1);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Meeting>() == 8 && core::mem::offset_of!(Meeting, queue) == 4);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Place>() == 8 && core::mem::offset_of!(Place, arrived) == 4);

/// How many parties a sleeper watches; the death of another is found out at the tick.
const WATCHED: usize = 31;

/// A view of a barrier: as many places as parties.
#[derive(Clone, Copy, Debug)]
pub struct Barrier<'a> {
    meeting: &'a Meeting,
    places: &'a [Place],
}

/// A place that a thread has in a barrier. It is not given back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the others wait for this party until `detach`"]
pub struct Attached {
    /// The thread that has it.
    pub me: Id,
    /// Which place it is.
    pub place: usize,
}

/// Why a thread has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Other parties, some of them perhaps dead, have all the places.
    Full,
    /// The calling thread has no place in the domain.
    NoSlot,
}

/// Why the parties did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmet {
    /// A party died before it arrived ([`Barrier::lost`]), gave up at its limit, or aborted, or the barrier was reset.
    Broken,
    /// The limit of this call passed, which broke the barrier for all.
    TimedOut,
    /// The thread named does not have this place; nothing was done.
    NotAttached,
}

impl Meeting {
    /// The first generation.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Place {
    /// A free place.
    pub fn new() -> Self {
        Self::default()
    }

    fn party(&self) -> Option<Id> {
        let word = self.party.load(Ordering::Relaxed);
        (word & OWNED != 0).then(|| Id::from_bits(word))
    }

    fn has_arrived(&self, state: u32) -> bool {
        self.arrived.load(Ordering::Acquire) == arrival(state)
    }
}

impl<'a> Barrier<'a> {
    /// The most parties: each look passes over all of them.
    pub const MAX: usize = 1024;

    /// A view; all views of the same places must have the same meeting.
    ///
    /// # Panics
    /// If there are no places, or more than [`Barrier::MAX`].
    pub fn new(meeting: &'a Meeting, places: &'a [Place]) -> Self {
        assert!((1..=Self::MAX).contains(&places.len()), "a barrier has 1 to 1024 parties");
        Self { meeting, places }
    }

    /// Takes a free place for the calling thread. From now on its death breaks the barrier. Does not block.
    ///
    /// # Errors
    /// [`AttachError`]; nothing was taken. Places of dead parties become free by [`reset`](Self::reset).
    pub fn attach(&self, owners: &impl Owners) -> Result<Attached, AttachError> {
        let me = owners.me().map_err(|NoSlot| AttachError::NoSlot)?;
        let mine = OWNED | me.to_bits();
        let order = Ordering::Relaxed;
        let take = |place: &Place| place.party.compare_exchange(0, mine, order, order).is_ok();
        self.places.iter().position(take).map(|place| Attached { me, place }).ok_or(AttachError::Full)
    }

    /// Gives a place back; the others wait for whoever takes it. Does not block.
    ///
    /// # Errors
    /// [`NotHeld`]: the thread named does not have it; nothing was done.
    pub fn detach(&self, Attached { me, place }: Attached) -> Result<(), NotHeld> {
        let party = &self.places.get(place).ok_or(NotHeld)?.party;
        let order = Ordering::Relaxed;
        party.compare_exchange(OWNED | me.to_bits(), 0, order, order).map(drop).map_err(|_| NotHeld)
    }

    /// Arrives, and waits until all parties have; says whether the caller is the one of them who ended the wait.
    ///
    /// Blocks. What each party did before it arrived is visible to all afterwards.
    ///
    /// # Errors
    /// [`Unmet`]. All who waited in this generation get an error, or none of them; only who has not yet left when the
    /// next generation is reset may find [`Unmet::Broken`] although the others met.
    ///
    /// # If a peer dies
    /// A party before it arrived: everybody gets [`Unmet::Broken`], now and until a reset. A party after it arrived: the
    /// others meet, and the next generation is broken.
    pub fn wait(
        &self,
        Attached { me, place }: Attached,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<bool, Unmet> {
        let place = self.places.get(place).filter(|place| place.party() == Some(me));
        let place = place.ok_or(Unmet::NotAttached)?;
        let state = self.meeting.state.load(Ordering::Acquire);
        if state & BROKEN != 0 {
            return Err(Unmet::Broken);
        }
        place.arrived.store(arrival(state), Ordering::Release);
        let mut naps = Naps::new(limit);
        loop {
            // Who is dead by now needs no watch, because the looks below see all that it did; who dies later has one.
            let (words, n) = self.watch(self.meeting.queue.enroll(), owners);
            // Of two who arrive at once, at least one sees both; who sleeps is seen by who ends the generation.
            fence(Ordering::SeqCst);
            if let Some(end) = ended(state, self.meeting.state.load(Ordering::Acquire)) {
                return end.map(|()| false);
            }
            if self.places.iter().all(|place| place.has_arrived(state)) {
                if self.end(park, state, next(state)) {
                    return Ok(true);
                }
            } else if self.missing(owners, state).next().is_some() {
                self.end(park, state, state | BROKEN);
            } else if naps.nap(|time| park.wait_any(&words[..n], time)).is_ok() {
                self.pass_on(owners);
            } else if self.end(park, state, state | BROKEN) {
                return Err(Unmet::TimedOut);
            }
        }
    }

    /// Breaks the barrier: all who wait, and all who come until a reset, get [`Unmet::Broken`]. Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here has broken it or not; if it woke nobody, those who wait look at their tick.
    pub fn abort(&self, park: &impl Park) {
        let mut state = self.meeting.state.load(Ordering::Relaxed);
        while state & BROKEN == 0 && !self.end(park, state, state | BROKEN) {
            state = self.meeting.state.load(Ordering::Relaxed);
        }
    }

    /// Begins a new generation without the dead; who waits in the old one gets [`Unmet::Broken`]. Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here leaves the barrier as it was, broken, or reset.
    pub fn reset(&self, park: &impl Park, owners: &impl Owners) {
        self.abort(park);
        for place in self.places {
            let dead = place.party().filter(|&id| owners.is_dead(id));
            let order = Ordering::Relaxed;
            dead.map(|id| place.party.compare_exchange(OWNED | id.to_bits(), 0, order, order));
        }
        let state = self.meeting.state.load(Ordering::Relaxed);
        if state & BROKEN != 0 {
            // If that fails, somebody else has just reset it.
            self.end(park, state, next(state) | RESET);
        }
    }

    /// Whether the barrier is broken at this moment.
    pub fn is_broken(&self) -> bool {
        self.meeting.state.load(Ordering::Acquire) & BROKEN != 0
    }

    /// The parties that died and still have a place.
    pub fn lost(&self, owners: &impl Owners) -> impl Iterator<Item = Id> {
        self.places.iter().filter_map(Place::party).filter(|&id| owners.is_dead(id))
    }

    /// The dead who have not arrived.
    fn missing(&self, owners: &impl Owners, state: u32) -> impl Iterator<Item = Id> {
        // The death comes first: it makes the arrival before it visible.
        let is_missing = move |place: &&Place| {
            place.party().is_some_and(|id| owners.is_dead(id)) && !place.has_arrived(state)
        };
        self.places.iter().filter(is_missing).filter_map(Place::party)
    }

    /// Changes the state if it is still `state`, and wakes all.
    fn end(&self, park: &impl Park, state: u32, new: u32) -> bool {
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let is_ours = self.meeting.state.compare_exchange(state, new, order.0, order.1).is_ok();
        if is_ours {
            fence(Ordering::SeqCst);
            self.meeting.queue.notify_all(park);
        }
        is_ours
    }

    /// What a sleeper watches, with the lives of those who live; to be gathered before it looks.
    fn watch<'b>(
        &'b self,
        record: u32,
        owners: &'b impl Owners,
    ) -> ([(&'b AtomicU32, u32); 1 + WATCHED], usize) {
        let mut words = [(self.meeting.queue.word(), record); 1 + WATCHED];
        let mut n = 1;
        for life in self.parties().filter_map(|id| owners.watch(id)) {
            words[n] = life;
            n += 1;
        }
        (words, n)
    }

    fn pass_on(&self, owners: &impl Owners) {
        self.parties().filter(|&id| owners.is_dead(id)).for_each(|id| owners.pass_on(id));
    }

    /// Those who are watched.
    fn parties(&self) -> impl Iterator<Item = Id> {
        self.places.iter().filter_map(Place::party).take(WATCHED)
    }
}

const fn arrival(state: u32) -> u32 {
    state & !(BROKEN | RESET) | 1
}

const fn next(state: u32) -> u32 {
    (state & !(BROKEN | RESET)).wrapping_add(GENERATION)
}

/// How the generation that began with `state` ended, if it did.
fn ended(state: u32, now: u32) -> Option<Result<(), Unmet>> {
    if now == state {
        None
    } else if now & !BROKEN == next(state) {
        Some(Ok(()))
    } else {
        Some(Err(Unmet::Broken))
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "waiting at a barrier: it is broken",
            Self::TimedOut => "waiting at a barrier: the time is up and parties are missing",
            Self::NotAttached => "waiting at a barrier: this thread has no place there",
        })
    }
}

impl core::error::Error for Unmet {}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "attaching to a barrier: all places are taken",
            Self::NoSlot => "attaching to a barrier: this thread has no place in the domain",
        })
    }
}

impl core::error::Error for AttachError {}

#[cfg(all(test, not(loom)))]
mod tests;
