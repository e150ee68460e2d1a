//! A meeting of a fixed number of parties, which a death breaks instead of leaving the others to wait for ever.
//!
//! A party either attaches for as long as it likes, which makes its death known, or comes as a guest for one meeting.
//!
//! Invariants: a party arrives by one store or exchange of the generation in a word of its own; a generation ends by one
//! exchange of the state, so all who were in it agree how it ended; whoever sees that all have arrived ends it, so nobody
//! depends on the last one to live. Held by the unit tests, by `tests/loom.rs`, and by the table in the README beside the
//! manifest.

mod place;

use core::fmt;

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::limit::{Forever, Limit, Naps};
use crate::{EventCount, Id, NoSlot, NotHeld, Owners, Park};

pub use place::Place;

/// What the parties of a barrier share besides their places. All zero is the first generation.
///
/// | bits of the state | meaning | who moves it, to what |
/// |---|---|---|
/// | 0, `BROKEN` | this generation will not meet | whoever sees a death, whose limit passed, or who aborts raises it; a reset lowers it |
/// | 1 to 9 | how many resets there were | a reset adds one, with the next generation |
/// | 10 to 31 | the generation | who sees that all have arrived, or resets, adds one |
///
/// A waiter whose generation is over has met if there was no reset since. That ends being true for who sleeps through
/// 2⁹ resets or 2²² generations without looking; everybody looks at each tick.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Meeting {
    state: AtomicU32,
    queue: EventCount,
}

const BROKEN: u32 = 1;
const RESET: u32 = 1 << 1;
const RESETS: u32 = GENERATION - RESET;
const GENERATION: u32 = 1 << 10;

/// The state, where a place looks which generation it is.
type Generation<'a> = &'a AtomicU32;

#[cfg(not(loom))]
const _: () = assert!(size_of::<Meeting>() == 8 && core::mem::offset_of!(Meeting, queue) == 4);

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
    /// The calling thread has a place already.
    Already,
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
    /// [`AttachError`]; nothing was taken. Places of dead parties become free by [`reset`](Self::reset), those of guests
    /// when their generation ends.
    pub fn attach(&self, owners: &impl Owners) -> Result<Attached, AttachError> {
        let me = owners.me().map_err(|NoSlot| AttachError::NoSlot)?;
        if self.place_of(me).is_some() {
            return Err(AttachError::Already);
        }
        let place = self.places.iter().position(|place| place.attach(&self.meeting.state, me));
        place.map(|place| Attached { me, place }).ok_or(AttachError::Full)
    }

    /// Gives a place back, for whoever waits for one; else the others wait for whoever takes it. Does not block.
    ///
    /// # Errors
    /// [`NotHeld`]: the thread named does not have it; nothing was done.
    pub fn detach(&self, Attached { me, place }: Attached, park: &impl Park) -> Result<(), NotHeld> {
        self.places.get(place).filter(|place| place.detach(me)).ok_or(NotHeld)?;
        fence(Ordering::SeqCst);
        self.meeting.queue.notify_all(park);
        Ok(())
    }

    /// The place that a thread is attached to.
    pub fn place_of(&self, me: Id) -> Option<Attached> {
        let place = self.places.iter().position(|place| place.party() == Some(me))?;
        Some(Attached { me, place })
    }

    /// Arrives at a place, and waits until all parties have; says whether the caller is the one of them who leads: who
    /// has the first place.
    ///
    /// Blocks. What each party did before it arrived is visible to all afterwards.
    ///
    /// # Errors
    /// [`Unmet`]. All who waited in this generation get an error, or none of them; only who has not yet left when a
    /// later generation is reset may find [`Unmet::Broken`] although the others met.
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
        let at = self.places.get(place).filter(|at| at.party() == Some(me)).ok_or(Unmet::NotAttached)?;
        let state = self.unbroken()?;
        at.arrive(state);
        self.until_ended(state, true, park, owners, limit).map(|()| place == 0)
    }

    /// Arrives at any place that is free, and waits as [`wait`](Self::wait); says at which place it was. Afterwards the
    /// caller has no place. While other parties have all the places, waits for a later generation.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # If a peer dies
    /// A guest before it arrived: nobody knows of it, and the others wait for somebody else. A guest after it arrived: the
    /// others meet. An attached party: as for [`wait`](Self::wait).
    pub fn wait_as_guest(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<usize, Unmet> {
        loop {
            let state = self.unbroken()?;
            let place = self.places.iter().position(|at| at.arrive_as_guest(&self.meeting.state, state));
            self.until_ended(state, place.is_some(), park, owners, limit)?;
            if let Some(place) = place {
                return Ok(place);
            }
        }
    }

    /// Arrives if all the others have: as [`wait`](Self::wait), or [`wait_as_guest`](Self::wait_as_guest) for who is not
    /// `attached`, but [`None`] and nothing done if it would have to wait. Does not block.
    ///
    /// # Errors
    /// [`Unmet::Broken`], also if it is this call that sees a death.
    pub fn try_wait(
        &self,
        attached: Option<Attached>,
        park: &impl Park,
        owners: &impl Owners,
    ) -> Result<Option<usize>, Unmet> {
        let state = self.unbroken()?;
        let mut missing = (0..self.places.len()).filter(|&at| !self.places[at].has_arrived(state));
        let last = missing.next().filter(|_| missing.next().is_none());
        let Some(at) = last.filter(|&at| self.arrive_at(at, attached, state)) else {
            let is_lost = self.missing(owners, state).next().is_some();
            let broken = is_lost && self.end(park, state, state | BROKEN);
            return if broken { Err(Unmet::Broken) } else { Ok(None) };
        };
        // All have arrived, so that this ends at its first look.
        self.until_ended(state, true, park, owners, &Forever).map(|()| Some(at))
    }

    /// Arrives at a place, if the party is attached there, or is a guest and the place is free.
    fn arrive_at(&self, at: usize, attached: Option<Attached>, state: u32) -> bool {
        let place = &self.places[at];
        match attached {
            None => place.arrive_as_guest(&self.meeting.state, state),
            Some(Attached { me, place: mine }) => {
                let is_ours = mine == at && place.party() == Some(me);
                is_ours.then(|| place.arrive(state)).is_some()
            }
        }
    }

    /// Waits until the generation that began with `state` has ended, or ends it. Who has not arrived waits for a free
    /// place, too.
    fn until_ended(
        &self,
        state: u32,
        has_arrived: bool,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<(), Unmet> {
        let mut naps = Naps::new(limit);
        loop {
            // Who is dead by now needs no watch, because the looks below see all that it did; who dies later has one.
            let (words, n) = self.watch(self.meeting.queue.enroll(), owners);
            // Of two who arrive at once, at least one sees both; who sleeps is seen by who ends the generation.
            fence(Ordering::SeqCst);
            if let Some(end) = ended(state, self.meeting.state.load(Ordering::Acquire)) {
                return end;
            }
            if !has_arrived && !self.is_full(state) {
                return Ok(());
            }
            if self.has_met(state) {
                if self.end(park, state, next(state)) {
                    return Ok(());
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
            place.party().filter(|&id| owners.is_dead(id)).into_iter().for_each(|id| place.clear(id));
        }
        let state = self.meeting.state.load(Ordering::Relaxed);
        if state & BROKEN != 0 {
            // If that fails, somebody else has just reset it.
            self.end(park, state, next(state & !RESETS) | state.wrapping_add(RESET) & RESETS);
        }
    }

    /// Whether the barrier is broken at this moment.
    pub fn is_broken(&self) -> bool {
        self.meeting.state.load(Ordering::Acquire) & BROKEN != 0
    }

    /// How many have arrived in the generation of this moment.
    pub fn n_waiting(&self) -> usize {
        let state = self.meeting.state.load(Ordering::Acquire);
        let n = self.places.iter().filter(|place| place.has_arrived(state)).count();
        if state & BROKEN == 0 { n } else { 0 }
    }

    /// The parties that died and still have a place.
    pub fn lost(&self, owners: &impl Owners) -> impl Iterator<Item = Id> {
        self.places.iter().filter_map(Place::party).filter(|&id| owners.is_dead(id))
    }

    /// The state, of a generation that may meet.
    fn unbroken(&self) -> Result<u32, Unmet> {
        let state = self.meeting.state.load(Ordering::Acquire);
        if state & BROKEN == 0 { Ok(state) } else { Err(Unmet::Broken) }
    }

    fn has_met(&self, state: u32) -> bool {
        self.places.iter().all(|place| place.has_arrived(state))
    }

    /// Whether no guest can come in this generation.
    fn is_full(&self, state: u32) -> bool {
        self.places.iter().all(|place| place.party().is_some() || place.has_arrived(state))
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

const fn next(state: u32) -> u32 {
    (state & !BROKEN).wrapping_add(GENERATION)
}

/// How the generation that began with `state` ended, if it did.
fn ended(state: u32, now: u32) -> Option<Result<(), Unmet>> {
    if now == state {
        None
    } else if now != state | BROKEN && now & RESETS == state & RESETS {
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
            Self::Already => "attaching to a barrier: this thread has a place already",
            Self::NoSlot => "attaching to a barrier: this thread has no place in the domain",
        })
    }
}

impl core::error::Error for AttachError {}

#[cfg(all(test, not(loom)))]
mod tests;
