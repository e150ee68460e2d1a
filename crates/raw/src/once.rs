//! Something that is done once, by one thread, while the others wait for it.
//!
//! Invariants: one thread at a time runs it, until one says that it is done, which is final; who dies running it or gives
//! up is followed by another; every change that may free a sleeper wakes all of them in the same step. Held by the unit
//! tests (a kill at every access), by `tests/loom.rs`, and by the table in the README beside the manifest.

use crate::atomic::{AtomicU32, Ordering};
use crate::limit::{Limit, Naps};
use crate::{Held, Id, LockError, NoSlot, NotHeld, Owners, Park, Protected};

/// Whether something that is done once is done, in one word. All zero is not yet.
///
/// | word | meaning | who moves it, to what |
/// |---|---|---|
/// | `0` | not done, nobody runs it | anybody, to `OWNED + id` |
/// | `OWNED + id` | runs, nobody sleeps | the runner, to `DONE`, or to `0` if it gives up; a waiter adds `WAITERS` |
/// | `OWNED + id + WAITERS` | runs, somebody may sleep | the runner, the same, and wakes all in the same step |
/// | the same, id is dead | left behind | anybody, to `OWNED + own id + WAITERS` |
/// | `DONE` | done | nobody |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Once {
    word: AtomicU32,
}

const WAITERS: u32 = 1 << 31;
const DONE: u32 = 1 << 30;
const OWNED: u32 = 1 << 29;

const _: () = assert!(Id::MASK == OWNED - 1);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Once>() == 4 && align_of::<Once>() == 4);

/// What a thread that comes to a [`Once`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the others wait until who runs it finishes or gives up"]
pub enum Begin {
    /// Nothing: it is done, and what its runner did before is visible.
    Done,
    /// To run it, and then to call [`Once::finish`] or [`Once::give_up`]. The state is [`Protected::OwnerDied`] if the one
    /// before died running it, which left it as it was at that moment.
    Run(Held),
}

impl Once {
    /// Not done yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is done at this moment. What its runner did before is then visible.
    pub fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// Waits until it is done, or is for the calling thread to run.
    ///
    /// Blocks while another thread runs it. A limit that has passed is one try.
    ///
    /// # Errors
    /// [`LockError`]; nothing was done. [`LockError::Deadlock`]: the calling thread runs it.
    ///
    /// # If a peer dies
    /// Who runs it: it is for the next one to run again, at once.
    pub fn begin(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Begin, LockError> {
        if self.is_done() { Ok(Begin::Done) } else { self.begin_undone(park, owners, limit) }
    }

    /// Says that it is done, and wakes all who wait. Does not block. `me` is that of [`Held`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not run it; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here has said so and woken all, or still runs it.
    pub fn finish(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.leave(park, me, DONE)
    }

    /// Says that it is not done and that another thread may run it, and wakes all who wait. Else as
    /// [`finish`](Self::finish).
    pub fn give_up(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.leave(park, me, 0)
    }

    /// Who runs it at this moment; it may be dead.
    pub fn runner(&self) -> Option<Id> {
        runner(self.word.load(Ordering::Relaxed))
    }

    fn leave(&self, park: &impl Park, me: Id, end: u32) -> Result<(), NotHeld> {
        match self.exchange(OWNED | me.to_bits(), end, Ordering::Release) {
            Ok(_) => Ok(()),
            Err(now) if runner(now) == Some(me) => {
                park.store_and_wake(&self.word, end, u32::MAX);
                Ok(())
            }
            Err(_) => Err(NotHeld),
        }
    }

    #[cold]
    fn begin_undone(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Begin, LockError> {
        let me = owners.me().map_err(|NoSlot| LockError::NoSlot)?;
        let mine = OWNED | me.to_bits();
        let mut naps = Naps::new(limit);
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & DONE != 0 {
                return Ok(Begin::Done);
            }
            let Some(now) = runner(word) else {
                // Nobody sleeps while it is free: who gave up has woken all.
                if self.exchange(word, mine, Ordering::Acquire).is_ok() {
                    return Ok(Begin::Run(Held { me, state: Protected::Consistent }));
                }
                continue;
            };
            if now == me {
                return Err(LockError::Deadlock);
            }
            if owners.is_dead(now) {
                if self.exchange(word, mine | WAITERS, Ordering::Acquire).is_ok() {
                    return Ok(Begin::Run(Held { me, state: Protected::OwnerDied(now) }));
                }
                continue;
            }
            if naps.passed() {
                return Err(LockError::TimedOut(now));
            }
            let waiting = word | WAITERS;
            if word != waiting && self.exchange(word, waiting, Ordering::Relaxed).is_err() {
                continue;
            }
            let Some(life) = owners.watch(now) else { continue };
            let words = [(&self.word, waiting), life];
            naps.nap(|time| park.wait_any(&words, time)).map_err(|_| LockError::TimedOut(now))?;
            if owners.is_dead(now) {
                owners.pass_on(now);
            }
        }
    }

    fn exchange(&self, word: u32, new: u32, order: Ordering) -> Result<u32, u32> {
        self.word.compare_exchange(word, new, order, Ordering::Relaxed)
    }
}

const fn runner(word: u32) -> Option<Id> {
    if word & (OWNED | DONE) == OWNED { Some(Id::from_bits(word)) } else { None }
}

#[cfg(all(test, not(loom)))]
mod tests;
