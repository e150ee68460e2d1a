//! A lock in one word that says who holds it, so that a dead holder is found out and followed by somebody.
//!
//! Invariants: the lock changes hands only by unlocking or by the proof that its holder is dead, so there are never two
//! holders; a free word is reached only in one step with the wake of a waiter that had announced itself; what a dead
//! holder left is announced to everybody until somebody says that it is consistent again. Held by the unit tests (a
//! kill at every access), by `tests/loom.rs`, and by the table in the README beside the manifest.

use core::fmt;

use crate::atomic::{AtomicU32, Ordering};
use crate::limit::{Limit, Naps};
use crate::{Id, NoSlot, Owners, Park};

/// A lock for threads of any processes that map its word. All zero is a free lock.
///
/// It is fair to nobody: who comes at the right moment overtakes those who sleep.
///
/// | word | meaning | who moves it, to what |
/// |---|---|---|
/// | `0` | free | anybody, to `OWNED + id` |
/// | `POISON` | free, and a holder died or panicked | anybody, to `OWNED + id + POISON` |
/// | `OWNED + id` | held, nobody sleeps | the holder, to free; a waiter adds `WAITERS` |
/// | `OWNED + id + WAITERS` | held, somebody may sleep | the holder, to free, and wakes one in the same step |
/// | the same, id is dead | left behind | a waiter, to `OWNED + own id + WAITERS + POISON`, and who gives up what else it needs, back |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Lock {
    word: AtomicU32,
}

const WAITERS: u32 = 1 << 31;
const POISON: u32 = 1 << 30;
const OWNED: u32 = 1 << 29;

const _: () = assert!(Id::MASK == OWNED - 1);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Lock>() == 4 && align_of::<Lock>() == 4);

/// A lock that was taken. It does not unlock by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the lock is held until `unlock`"]
pub struct Held {
    /// The thread that holds it: the argument of [`Lock::unlock`].
    pub me: Id,
    /// What the holders before left.
    pub state: Protected,
}

/// In which state the data under a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protected {
    /// Every holder before left it as it should be.
    Consistent,
    /// This holder died and left it as it was at that moment.
    OwnerDied(Id),
    /// Some holder before died or panicked, and nobody called [`Lock::mark_consistent`] since.
    Poisoned,
}

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockError {
    /// The calling thread holds it already.
    Deadlock,
    /// The time is up, and this thread holds it.
    TimedOut(Id),
    /// The calling thread has no place in the domain.
    NoSlot,
    /// The calling thread took an [`RLock`](crate::RLock) 2³² times, or reads an [`RwLock`](crate::RwLock)
    /// [`MAX_DEPTH`](crate::RwLock::MAX_DEPTH) times, or somebody stored that there.
    TooDeep,
    /// The calling thread was to give the lock back meanwhile and does not hold it, or somebody stored that there. Only
    /// from [`Condvar::wait`](crate::Condvar::wait).
    NotHeld,
}

/// The thread named does not hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

impl Lock {
    /// A free lock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lock.
    ///
    /// Blocks until it is free, its holder is proved dead, or the limit passes. A limit that has passed is one try.
    ///
    /// # Errors
    /// [`LockError`]; the lock is then as it was.
    ///
    /// # If a peer dies
    /// The holder: the answer is [`Protected::OwnerDied`], at once. A waiter, after a wake was meant for it: the others
    /// look again at their tick.
    #[inline]
    pub fn lock(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let me = owners.me().map_err(|NoSlot| LockError::NoSlot)?;
        if self.lock_at_once(me) {
            return Ok(Held { me, state: Protected::Consistent });
        }
        self.lock_contended(park, owners, me, limit)
    }

    /// Takes the lock for the calling thread, which is `me`, if it is free and was left as it should be: the part of
    /// [`lock`](Self::lock) that needs nobody else.
    #[inline]
    #[must_use]
    pub fn lock_at_once(&self, me: Id) -> bool {
        self.take(0, OWNED | me.to_bits())
    }

    /// Gives the lock back if `me` holds it, nobody may sleep, and nothing is to be told: the part of
    /// [`unlock`](Self::unlock) that needs nobody else.
    #[inline]
    #[must_use]
    pub fn unlock_at_once(&self, me: Id) -> bool {
        self.word.compare_exchange(OWNED | me.to_bits(), 0, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives the lock back and wakes a waiter if there may be one.
    ///
    /// Does not block. Poison stays. `me` is that of [`Held`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here has either unlocked and woken, or still holds the lock.
    #[inline]
    pub fn unlock(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        if self.unlock_at_once(me) { Ok(()) } else { self.unlock_contended(park, me) }
    }

    /// Gives the lock back to `dead`, whom `me` followed: nobody was told of that death, so the next one follows it again,
    /// with the news. Wakes a waiter. Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here still holds the lock, or has given it back; if it woke nobody, its death does.
    pub(crate) fn unfollow(&self, park: &impl Park, me: Id, dead: Id) -> Result<(), NotHeld> {
        self.check(me)?;
        // Two steps will do: who sleeps by now watches this thread, and who comes later sees that `dead` is dead.
        self.word.store(OWNED | dead.to_bits() | WAITERS | POISON, Ordering::Release);
        park.wake(&self.word, 1);
        Ok(())
    }

    /// Says that the data is as it should be; later holders then find [`Protected::Consistent`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    pub fn mark_consistent(&self, me: Id) -> Result<(), NotHeld> {
        self.check(me)?;
        self.word.fetch_and(!POISON, Ordering::Relaxed);
        Ok(())
    }

    /// Says that the data is not as it should be; later holders then find [`Protected::Poisoned`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    pub fn poison(&self, me: Id) -> Result<(), NotHeld> {
        self.check(me)?;
        self.word.fetch_or(POISON, Ordering::Relaxed);
        Ok(())
    }

    /// Who holds the lock at this moment; it may be dead.
    pub fn holder(&self) -> Option<Id> {
        holder(self.word.load(Ordering::Relaxed))
    }

    /// In which state the data is; it means something to the holder only.
    pub(crate) fn state(&self) -> Protected {
        state(self.word.load(Ordering::Relaxed))
    }

    /// Who holds the lock, and in which state the data is, by one look in the one order of all such looks.
    pub(crate) fn look(&self) -> (Option<Id>, Protected) {
        let word = self.word.load(Ordering::SeqCst);
        (holder(word), state(word))
    }

    fn check(&self, me: Id) -> Result<(), NotHeld> {
        if self.holder() == Some(me) { Ok(()) } else { Err(NotHeld) }
    }

    #[cold]
    fn lock_contended(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        me: Id,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let mut naps = Naps::new(limit);
        // Who has slept keeps the bit: others may have slept with it.
        let waiters = |naps: &Naps<'_, _>| if naps.any() { WAITERS } else { 0 };
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let Some(owner) = holder(word) else {
                let state = state(word);
                if self.take(word, OWNED | me.to_bits() | waiters(&naps) | word & (POISON | WAITERS)) {
                    return Ok(Held { me, state });
                }
                continue;
            };
            if owner == me {
                return Err(LockError::Deadlock);
            }
            if owners.is_dead(owner) {
                if self.take(word, OWNED | me.to_bits() | WAITERS | POISON) {
                    return Ok(Held { me, state: Protected::OwnerDied(owner) });
                }
                continue;
            }
            // Before giving up, too: a wake may have been meant for this thread, and a holder that came in between
            // would not know of the others.
            let passed = naps.passed();
            if (naps.any() || !passed) && !self.announce(word) {
                continue;
            }
            if passed {
                return Err(LockError::TimedOut(owner));
            }
            let Some(life) = owners.watch(owner) else { continue };
            let words = [(&self.word, word | WAITERS), life];
            naps.nap(|time| park.wait_any(&words, time)).map_err(|_| LockError::TimedOut(owner))?;
            if owners.is_dead(owner) {
                owners.pass_on(owner);
            }
        }
    }

    #[cold]
    fn unlock_contended(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        let mut word = self.word.load(Ordering::Relaxed);
        while holder(word) == Some(me) {
            let free = word & POISON;
            if word & WAITERS != 0 {
                park.store_and_wake(&self.word, free, 1);
                return Ok(());
            }
            match self.word.compare_exchange(word, free, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
        Err(NotHeld)
    }

    /// Takes the lock if the word is still `word`.
    #[inline]
    fn take(&self, word: u32, mine: u32) -> bool {
        self.word.compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Adds `WAITERS` if the word is still `word`.
    fn announce(&self, word: u32) -> bool {
        let waiting = word | WAITERS;
        word == waiting
            || self.word.compare_exchange(word, waiting, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

const fn holder(word: u32) -> Option<Id> {
    if word & OWNED == 0 { None } else { Some(Id::from_bits(word)) }
}

const fn state(word: u32) -> Protected {
    if word & POISON == 0 { Protected::Consistent } else { Protected::Poisoned }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadlock => "taking a lock that this thread holds already",
            Self::TimedOut(_) => "taking a lock: the time is up and another thread holds it",
            Self::NoSlot => "taking a lock: this thread has no place in the domain",
            Self::TooDeep => "taking a lock: this thread has taken it too often",
            Self::NotHeld => "giving a lock back to wait: this thread does not hold it",
        })
    }
}

impl core::error::Error for LockError {}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("giving back what this thread does not hold")
    }
}

impl core::error::Error for NotHeld {}

#[cfg(all(test, not(loom)))]
mod tests;
