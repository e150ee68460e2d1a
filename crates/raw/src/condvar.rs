//! Waiting for a change of what a lock protects.
//!
//! Invariants: who waits records the count while it holds the lock, so no notification between unlocking and sleeping
//! is missed; a notification changes the count and wakes in one step; a notification that a dead waiter took with it
//! has still changed the count, so the others see it at their tick. Held by the unit tests, by `tests/loom.rs`, and by
//! the table in the README beside the manifest.

use core::time::Duration;

use crate::limit::{Limit, Naps};
use crate::{EventCount, Held, Id, Lock, LockError, NotHeld, Obituary, Owners, Park};

/// A count of notifications, in one word: an [`EventCount`]. All zero is none.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Condvar {
    notifications: EventCount,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Condvar>() == 4 && align_of::<Condvar>() == 4);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There was a notification since the wait began, perhaps for another thread.
    Notified,
    /// Somebody in the domain died: what the caller waits for may never come.
    Obituary,
    /// The time is up.
    TimedOut,
}

/// A place among those who wait; only what happened after it was taken ends the wait.
#[derive(Clone, Copy, Debug)]
#[must_use = "who enrolls goes on to sleep"]
pub struct Enrolled {
    notifications: u32,
    deaths: u32,
}

impl Condvar {
    /// Nobody waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `lock` back, waits for a notification, and takes the lock again.
    ///
    /// Blocks. The caller looks at what it waits for before and after, in a loop: the wait may end although nothing
    /// changed, and the thread that changed it may have died holding the lock. The limit is one of the wait; the lock
    /// is taken again however long that takes.
    ///
    /// # Errors
    /// [`LockError::NotHeld`]: `me` does not hold the lock, or somebody has stored over its word; nothing was waited for.
    /// Those of [`Lock::lock`]. The lock is then not held.
    ///
    /// # If a peer dies
    /// A holder of the lock: as [`Lock::lock`]. A waiter whom a notification woke: the others end their wait at their
    /// tick. Who was going to notify: the wait ends when the obituary rings, or at the limit.
    pub fn wait(
        &self,
        (lock, me): (&Lock, Id),
        obituary: &Obituary,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<(Signal, Held), LockError> {
        let enrolled = self.enroll(obituary);
        lock.unlock(park, me).map_err(|NotHeld| LockError::NotHeld)?;
        let signal = self.sleep(enrolled, obituary, park, limit);
        lock.lock(park, owners, &Unlimited(limit)).map(|held| (signal, held))
    }

    /// The first half of [`wait`](Self::wait), for locks of other kinds: to be called while the lock is held, which is
    /// then given back.
    pub fn enroll(&self, obituary: &Obituary) -> Enrolled {
        let notifications = self.notifications.enroll();
        Enrolled { notifications, deaths: obituary.watch().1 }
    }

    /// The second half: waits without the lock, which is taken again afterwards.
    pub fn sleep(
        &self,
        enrolled: Enrolled,
        obituary: &Obituary,
        park: &impl Park,
        limit: &impl Limit,
    ) -> Signal {
        let Enrolled { notifications, deaths } = enrolled;
        let words = [(self.notifications.word(), notifications), (obituary.watch().0, deaths)];
        let mut naps = Naps::new(limit);
        loop {
            if self.notifications.has_happened(notifications) {
                return Signal::Notified;
            }
            if obituary.has_rung(deaths) {
                return Signal::Obituary;
            }
            if naps.nap(|time| park.wait_any(&words, time)).is_err() {
                return Signal::TimedOut;
            }
        }
    }

    /// Ends the wait of one thread that waits now, or of a few.
    ///
    /// Does not block. To be called after the change, with or without the lock.
    ///
    /// # If a peer dies
    /// Who is killed in here has notified or not. Whom it woke may be killed: the others end their wait at their tick.
    pub fn notify_one(&self, park: &impl Park) {
        self.notify(park, 1);
    }

    /// Ends the wait of `n` threads that wait now, or of all if there are fewer. Else as [`notify_one`](Self::notify_one).
    pub fn notify(&self, park: &impl Park, n: u32) {
        self.notifications.notify(park, n);
    }

    /// Ends the wait of all threads that wait now. Else as [`notify_one`](Self::notify_one).
    pub fn notify_all(&self, park: &impl Park) {
        self.notifications.notify_all(park);
    }
}

/// The ticks of a limit without the limit.
struct Unlimited<'a, L>(&'a L);

impl<L: Limit> Limit for Unlimited<'_, L> {
    fn left(&self) -> Option<Duration> {
        None
    }

    fn tick(&self, n: u32) -> Duration {
        self.0.tick(n)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
