//! A meeting of as many threads as were agreed on, of all processes.
//!
//! Invariants: as those of [`procession_raw::Barrier`]; the number of parties, which a peer could store over, is between
//! 1 and [`Barrier::MAX`] wherever it is used. Held by `tests/contract.rs` (`barrier`), `tests/signal_steps.rs`,
//! `tests/signal_storm.rs` and `tests/garbage_signals.rs`.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_raw::{self as raw, AttachError, Both, Meeting, Owners, Place, Unmet};
use procession_shm::domain::Participant;
use procession_shm::{Cell, Refusal, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Serialize};

/// A place where as many threads as were agreed on wait for each other, again and again, in any processes.
///
/// As Python's and the standard library's: any threads meet, and whoever comes next begins the next meeting. Such a thread
/// is known only once it has arrived: if it dies before, the others wait for somebody else to come. A thread that
/// [`attach`](Self::attach)es is known from then on, and its death breaks the barrier instead of leaving the others to
/// wait. So let each process attach first of all, above all if it meets more than once.
///
/// There is no action as in Python's: let the [leader](BarrierWaitResult::is_leader) act, and meet again.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same barrier, and so does a
/// fork. It can be a field of a struct that derives `Shared`, made from the number of parties. Takes some 8 KiB.
///
/// # If a peer dies
/// Attached, and not arrived: everybody gets [`BarrierBroken`], at once, with who it was, until a [`reset`](Self::reset). A
/// thread that ends in good order has died, too, if it leaked its [`Attached`]. Arrived: the others meet; if it was
/// attached, the next meeting is broken. Not attached, and not arrived: nobody knows of it; wait with a limit, or
/// [`abort`](Self::abort) when its process is seen to end.
///
/// A sleeper learns at once of the deaths of the first 31 that are attached, else at its tick.
///
/// # Examples
/// ```
/// use procession_sync::Barrier;
///
/// let start = Barrier::new(2)?;
/// let other = start.clone(); // or received from another process
/// let leads = std::thread::scope(|s| {
///     let thread = s.spawn(|| {
///         let _place = other.attach().expect("there are two places");
///         other.wait().map(|met| met.is_leader())
///     });
///     [start.wait().map(|met| met.is_leader()), thread.join().unwrap()]
/// });
/// assert!(leads == [Ok(true), Ok(false)] || leads == [Ok(false), Ok(true)]);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone, Shared)]
#[shared(check = Self::check)]
pub struct Barrier(Cell<Both<Meeting, [Place; Barrier::MAX]>, u32>);

/// The parties have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarrierWaitResult {
    index: usize,
}

/// The parties have not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BarrierBroken {
    /// The attached parties that are dead, as far as they are known.
    pub died: Vec<Participant>,
    /// What broke it, as far as this call knows.
    pub cause: Broken,
}

/// What broke a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Broken {
    /// A party died.
    Death,
    /// The limit of this call passed.
    TimedOut,
    /// Somebody aborted or reset the barrier, or the limit of another's call passed.
    Aborted,
}

/// A place in a [`Barrier`], which the thread has that has this: from now on its death breaks the barrier, and it meets in
/// this place. Dropping it gives the place back. Stays in its thread; in a forked child it has no place.
#[must_use = "the place is given back at once if it is not kept"]
pub struct Attached<'a> {
    to: &'a Barrier,
    at: raw::Attached,
    /// A forked child has a copy of this, and no place.
    epoch: Epoch,
    not_send: PhantomData<*const ()>,
}

impl Barrier {
    /// The most parties.
    pub const MAX: usize = raw::Barrier::MAX;

    /// A barrier for so many parties, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    ///
    /// # Panics
    /// If `parties` is 0 or more than [`MAX`](Self::MAX).
    pub fn new(parties: usize) -> Result<Self, ShmError> {
        Self::create(u32::try_from(parties).unwrap_or(u32::MAX))
    }

    /// How many parties meet.
    #[must_use]
    pub fn parties(&self) -> usize {
        (self.0.peek() as usize).clamp(1, Self::MAX)
    }

    /// How many wait at this moment; 0 if it is broken.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.view().n_waiting()
    }

    /// Whether it is broken at this moment: nobody waits until a [`reset`](Self::reset).
    #[doc(alias = "broken")]
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.view().is_broken()
    }

    /// Takes a place for the calling thread, until the drop of the answer. Does not block.
    ///
    /// While a thread keeps its place others come for the places that are left, and the meeting needs this thread.
    ///
    /// # Errors
    /// [`AttachError`]: all places are taken, this thread has one already, or its death could not be seen.
    pub fn attach(&self) -> Result<Attached<'_>, AttachError> {
        let at = self.view().attach(&self.0.party())?;
        Ok(Attached { to: self, at, epoch: epoch(), not_send: PhantomData })
    }

    /// Arrives, and waits until all parties have. What each did before it arrived is visible to all afterwards.
    ///
    /// Blocks. A thread that is not attached waits for a later meeting if all places are taken.
    ///
    /// # Errors
    /// [`BarrierBroken`], for all who waited or for none: only who has not yet left when the barrier is reset may find it
    /// broken although the others met.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(Deadline::NEVER)
    }

    /// Arrives and meets if all other parties have arrived; else `None`, and nothing is done. Does not block.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn try_wait(&self) -> Result<Option<BarrierWaitResult>, BarrierBroken> {
        let (view, party) = (self.view(), self.0.party());
        let met = view.try_wait(self.place(), &SharedPark, &party);
        met.map(|met| met.map(|index| BarrierWaitResult { index })).map_err(|unmet| self.broken(unmet))
    }

    /// [`wait`](Self::wait) for at most `timeout`. If that is too short, the barrier is broken for all.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(Deadline::after(timeout))
    }

    /// [`wait`](Self::wait) until `instant`. If that is too soon, the barrier is broken for all.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn wait_until(&self, instant: Instant) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(Deadline::at(instant))
    }

    /// Breaks the barrier: all who wait, and all who come until a [`reset`](Self::reset), get [`BarrierBroken`]. Does not
    /// block.
    pub fn abort(&self) {
        self.view().abort(&SharedPark);
    }

    /// Makes the barrier as new: who waits gets [`BarrierBroken`], the places of the dead are free. Who is attached and
    /// lives remains so. Does not block.
    pub fn reset(&self) {
        self.view().reset(&SharedPark, &self.0.party());
    }

    fn wait_by(&self, deadline: Deadline) -> Result<BarrierWaitResult, BarrierBroken> {
        // Who has a place holds nothing; those who are missing may be nobody yet.
        let (view, party, limit) = (self.view(), self.0.party().for_nobody(), Wait(deadline));
        let met = match self.place() {
            Some(at) => view.wait(at, &SharedPark, &party, &limit).map(|_| at.place),
            None => view.wait_as_guest(&SharedPark, &party, &limit),
        };
        met.map(|index| BarrierWaitResult { index }).map_err(|unmet| self.broken(unmet))
    }

    /// Where the calling thread is attached.
    fn place(&self) -> Option<raw::Attached> {
        // Who cannot be told from others can still be a guest.
        self.0.party().me().ok().and_then(|me| self.view().place_of(me))
    }

    #[cold]
    fn broken(&self, unmet: Unmet) -> BarrierBroken {
        let domain = self.0.domain();
        let lost: Vec<_> = self.view().lost(&self.0.party()).collect();
        // Others may wait for something that these were going to do.
        lost.iter().for_each(|&id| domain.note_death(id));
        let cause = match unmet {
            Unmet::TimedOut => Broken::TimedOut,
            _ if lost.is_empty() => Broken::Aborted,
            _ => Broken::Death,
        };
        let died = lost.into_iter().filter_map(|id| domain.dead_owner(id)).collect();
        BarrierBroken { died, cause }
    }

    fn view(&self) -> raw::Barrier<'_> {
        let Both(meeting, places) = self.0.words();
        raw::Barrier::new(meeting, &places[..self.parties()])
    }

    fn check(&self, is_new: bool) -> Result<(), ShmError> {
        let is_good = (1..=Self::MAX).contains(&(self.0.peek() as usize));
        assert!(is_good || !is_new, "a barrier has 1 to {} parties", Self::MAX);
        if is_good { Ok(()) } else { Err(Refusal::Damaged.into()) }
    }
}

impl BarrierWaitResult {
    /// Whether the caller is the one of those who met that leads, as who does for all what is done once. If it died at
    /// that moment, nobody is.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.index == 0
    }

    /// Which of those who met the caller is: a number below [`Barrier::parties`] for each; that of the leader is 0. Who is
    /// attached always has the same.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Attached<'_> {
    /// The [index](BarrierWaitResult::index) of the place.
    #[must_use]
    pub fn index(&self) -> usize {
        self.at.place
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if self.epoch == epoch() {
            // It fails only if somebody has stored over the word.
            let _ = self.to.view().detach(self.at, &SharedPark);
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, parties) = (self.n_waiting(), self.parties());
        f.debug_struct("Barrier")
            .field("n_waiting", &waiting)
            .field("parties", &parties)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Attached<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("index", &self.index()).finish_non_exhaustive()
    }
}

impl fmt::Display for BarrierBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Broken::Death => "waiting at a barrier: a party died",
            Broken::TimedOut => "waiting at a barrier: the time was up, and parties are missing",
            Broken::Aborted => "waiting at a barrier: it was aborted, or reset, or another's time was up",
        })?;
        self.died.iter().try_for_each(|dead| write!(f, "; dead: {dead}"))
    }
}

impl Error for BarrierBroken {}
