//! A lock without data: for what is not in shared memory, such as a file or a terminal.

use std::fmt;
use std::time::{Duration, Instant};

use procession_shm::domain::Participant;
use procession_shm::{Shared, ShmError};

use crate::error::{Failed, Guard, sealed};
use crate::mutex::{LockFailed, Mutex, MutexGuard};

/// A lock that one thread at a time holds, of all threads of all processes, and that protects no data of its own.
///
/// As Python's `Lock`, except that it belongs to the thread that took it, which alone gives it back, so that its death
/// can be known. Where any process may release what another took, use
/// [`SignalSemaphore`](crate::SignalSemaphore). For
/// data in shared memory, use [`Mutex`]. Handles and fairness are those of [`Mutex`].
///
/// # If a peer dies
/// As with [`Mutex`].
///
/// # Examples
/// ```
/// let terminal = procession_sync::Lock::new()?;
/// let guard = terminal.lock()?;
/// println!("one line, not mixed with those of others");
/// drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct Lock(Mutex<()>);

/// The thread that has this holds the [`Lock`]. Dropping it gives the lock back, and poisons it if the thread began to
/// panic meanwhile. Stays in its thread; in a forked child it holds nothing.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct LockGuard<'a>(MutexGuard<'a, ()>);

impl Lock {
    /// A free one, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(())
    }

    /// Takes it. Blocks until it is free or its holder is proved dead.
    ///
    /// # Errors
    /// As [`Mutex::lock`].
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, Failed<LockGuard<'_>>> {
        LockGuard::of(self.0.lock())
    }

    /// Takes it if nobody alive has it. Does not block.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`].
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, Failed<LockGuard<'_>>> {
        LockGuard::of(self.0.try_lock())
    }

    /// [`lock`](Self::lock) for at most `timeout`.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`].
    #[inline]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, Failed<LockGuard<'_>>> {
        LockGuard::of(self.0.lock_timeout(timeout))
    }

    /// [`lock`](Self::lock) until `instant`.
    ///
    /// # Errors
    /// As [`Mutex::lock_until`].
    #[inline]
    pub fn lock_until(&self, instant: Instant) -> Result<LockGuard<'_>, Failed<LockGuard<'_>>> {
        LockGuard::of(self.0.lock_until(instant))
    }

    /// Whether somebody has it at this moment, who may be dead: for diagnosis.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Who has it at this moment, and may be dead: for diagnosis. `None` also if that cannot be known.
    pub fn holder(&self) -> Option<Participant> {
        self.0.holder()
    }

    /// Who sleeps until it is free, as far as they have said so: for diagnosis. Looks at all slots of the domain.
    pub fn waiters(&self) -> Vec<Participant> {
        self.0.waiters()
    }
}

impl<'a> LockGuard<'a> {
    /// Says that all is as it should be, after a holder died or panicked: later holders are told nothing.
    pub fn mark_consistent(&self) {
        self.0.mark_consistent();
    }

    #[inline]
    fn of(taken: Result<MutexGuard<'a, ()>, LockFailed<'a, ()>>) -> Result<Self, Failed<Self>> {
        taken.map(Self).map_err(|failed| failed.map(Self))
    }

    /// Gives the lock back, does something, and takes it again, however long that takes.
    pub(crate) fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>) {
        let (answer, taken) = self.0.unlocked(what);
        (answer, Self::of(taken))
    }
}

impl sealed::Sealed for LockGuard<'_> {}

impl Guard for LockGuard<'_> {
    type Data = ();

    fn data(&mut self) -> &mut () {
        &mut self.0
    }

    fn mark_consistent(&self) {
        self.mark_consistent();
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("holder", &self.holder()).finish()
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}
