//! Permits that know who holds them, so that those of the dead come back.
//!
//! Invariants: a permit changes hands in one access, by its holder or by the proof that its holder is dead, so there are
//! never more holders than permits and no permit is lost; who sleeps has looked at all permits after it announced itself.
//! Held by the unit tests, by `tests/loom.rs`, and by the table in the README beside the manifest.

use core::fmt;
use core::time::Duration;

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::limit::{Limit, Naps};
use crate::{EventCount, Id, NoSlot, NotHeld, Owners, Park, Waited};

/// One permit, in one word. All zero is a free permit.
///
/// | word | meaning | who moves it, to what |
/// |---|---|---|
/// | `0` | free | anybody, to `OWNED + id` |
/// | `OWNED + id` | held | the holder, to 0 |
/// | the same, id is dead | left behind | anybody, to `OWNED + own id` |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Permit {
    word: AtomicU32,
}

const OWNED: u32 = 1 << 29;
const _: () = assert!(Id::MASK == OWNED - 1);

/// How many holders a sleeper watches; the death of another is found out at the tick.
const WATCHED: usize = 31;

/// A view of permits and of those who wait for one.
#[derive(Clone, Copy, Debug)]
pub struct Semaphore<'a> {
    queue: &'a EventCount,
    permits: &'a [Permit],
}

/// A permit that was taken. It is not given back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the permit is held until `release`"]
pub struct Acquired {
    /// The thread that holds it.
    pub me: Id,
    /// Which permit it is.
    pub permit: usize,
    /// Who died holding it, if somebody did. It is said once.
    pub left_by: Option<Id>,
}

/// Why no permit was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The time is up.
    TimedOut,
    /// The calling thread has no place in the domain.
    NoSlot,
}

impl Permit {
    /// A free permit.
    pub fn new() -> Self {
        Self::default()
    }

    fn holder(&self) -> (u32, Option<Id>) {
        let word = self.word.load(Ordering::Relaxed);
        (word, (word & OWNED != 0).then(|| Id::from_bits(word)))
    }

    fn take(&self, word: u32, me: Id) -> bool {
        let mine = OWNED | me.to_bits();
        self.word.compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl<'a> Semaphore<'a> {
    /// The most permits: each look passes over all of them.
    pub const MAX: usize = 1024;

    /// A view; all views of the same permits must have the same queue.
    ///
    /// # Panics
    /// If there are no permits, or more than [`Semaphore::MAX`].
    pub fn new(queue: &'a EventCount, permits: &'a [Permit]) -> Self {
        assert!((1..=Self::MAX).contains(&permits.len()), "a semaphore has 1 to 1024 permits");
        Self { queue, permits }
    }

    /// Takes a permit.
    ///
    /// Blocks until one is free, one of its holders is proved dead, or the limit passes. A limit that has passed is one
    /// look at all permits.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing was taken.
    ///
    /// # If a peer dies
    /// A holder: its permits go to the next takers, at once if it is among the 31 whom a sleeper watches, else at the
    /// tick. A waiter, after a wake was meant for it: the others look again at their tick.
    pub fn acquire(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Acquired, AcquireError> {
        let me = owners.me().map_err(|NoSlot| AcquireError::NoSlot)?;
        let mut naps = Naps::new(limit);
        loop {
            if let Some(acquired) = self.try_take(owners, me) {
                return Ok(acquired);
            }
            if naps.passed() {
                return Err(AcquireError::TimedOut);
            }
            let record = self.queue.enroll();
            // Either this look sees a permit that was given back, or its giver sees that somebody may sleep.
            fence(Ordering::SeqCst);
            if let Some(acquired) = self.try_take(owners, me) {
                return Ok(acquired);
            }
            // That the limit has passed since is found out above, after one more look.
            let _ = naps.nap(|time| self.sleep(record, park, owners, time));
        }
    }

    /// Gives a permit back and wakes one who waits.
    ///
    /// Does not block. `permit` and `me` are those of [`Acquired`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold this permit; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here has given back or not. If it did and woke nobody, its death wakes one who watched it.
    pub fn release(&self, park: &impl Park, permit: usize, me: Id) -> Result<(), NotHeld> {
        let word = &self.permits.get(permit).ok_or(NotHeld)?.word;
        let mine = OWNED | me.to_bits();
        word.compare_exchange(mine, 0, Ordering::Release, Ordering::Relaxed).map_err(|_| NotHeld)?;
        fence(Ordering::SeqCst);
        self.queue.notify(park, 1);
        Ok(())
    }

    /// A permit that the thread holds, for callers who did not keep [`Acquired::permit`].
    pub fn held_by(&self, me: Id) -> Option<usize> {
        self.permits.iter().position(|permit| permit.holder().1 == Some(me))
    }

    /// Who holds the permits at this moment, each as often as it holds one; they may be dead.
    pub fn holders(&self) -> impl Iterator<Item = Id> {
        self.permits.iter().filter_map(|permit| permit.holder().1)
    }

    /// How many permits could be taken at this moment.
    pub fn available(&self, owners: &impl Owners) -> usize {
        let is_available = |permit: &&Permit| permit.holder().1.is_none_or(|id| owners.is_dead(id));
        self.permits.iter().filter(is_available).count()
    }

    /// A free permit, or else one of a dead holder. Starts at a place of the caller's own, so that few meet.
    fn try_take(&self, owners: &impl Owners, me: Id) -> Option<Acquired> {
        let n = self.permits.len();
        let start = me.slot() as usize;
        let all = || (start..start + n).map(|at| (at % n, &self.permits[at % n]));
        let free = all().find(|(_, permit)| permit.holder().1.is_none() && permit.take(0, me));
        if let Some((permit, _)) = free {
            return Some(Acquired { me, permit, left_by: None });
        }
        all().find_map(|(at, permit)| {
            let (word, holder) = permit.holder();
            let dead = holder.filter(|&id| owners.is_dead(id))?;
            permit.take(word, me).then_some(Acquired { me, permit: at, left_by: Some(dead) })
        })
    }

    /// Sleeps until a permit is given back or somebody who holds one dies.
    fn sleep(&self, record: u32, park: &impl Park, owners: &impl Owners, time: Option<Duration>) -> Waited {
        let mut words = [(self.queue.word(), record); 1 + WATCHED];
        let mut n = 1;
        for permit in self.permits.iter().take(WATCHED) {
            // A permit that is free by now may have a giver who dies before it wakes anybody, and whom nobody watches.
            let Some(life) = permit.holder().1.and_then(|id| owners.watch(id)) else {
                return Waited::Changed;
            };
            words[n] = life;
            n += 1;
        }
        let waited = park.wait_any(&words[..n], time);
        // Who died has left a permit: the others who watched it are to look, too.
        let holders = self.permits.iter().take(WATCHED).filter_map(|permit| permit.holder().1);
        holders.filter(|&id| owners.is_dead(id)).for_each(|id| owners.pass_on(id));
        waited
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "taking a permit: the time is up and all are held",
            Self::NoSlot => "taking a permit: this thread has no place in the domain",
        })
    }
}

impl core::error::Error for AcquireError {}

#[cfg(all(test, not(loom)))]
mod tests;
