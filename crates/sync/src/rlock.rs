//! A lock that its holder may take again.
//!
//! Invariant: a guard stands for one level of the thread that has it, in the process that took it; the last one that is
//! dropped, whichever that is, gives the lock back. Held by `tests/contract.rs` (`rlock`) and `tests/lock_steps.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::thread;
use std::time::{Duration, Instant};

use procession_raw::{self as raw, Id};
use procession_shm::domain::Participant;
use procession_shm::{Cell, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::futex::SharedPark;

use crate::error::{Failed, Guard, sealed};

/// A lock that the thread that holds it may take again, and that is free when it has given it back as often.
///
/// As Python's `RLock`. It protects no data of its own, because a holder may be inside twice. Handles and fairness are
/// those of [`Mutex`](crate::Mutex).
///
/// # If a peer dies
/// As with [`Mutex`](crate::Mutex), however often the dead had taken it. Until somebody says that all is as it should be,
/// also who takes it again is told [`Failed::Poisoned`].
///
/// # Examples
/// ```
/// use procession_sync::RLock;
///
/// fn print(lock: &RLock, lines: &[&str]) -> Result<(), procession_sync::LockError> {
///     let _guard = lock.lock()?;
///     lines.iter().try_for_each(|line| print_one(lock, line))
/// }
/// fn print_one(lock: &RLock, line: &str) -> Result<(), procession_sync::LockError> {
///     let _guard = lock.lock()?; // at once, if it comes from above
///     println!("{line}");
///     Ok(())
/// }
/// print(&RLock::new()?, &["together", "whoever else prints"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct RLock(Cell<raw::RLock>);

/// The thread that has this holds the [`RLock`], perhaps several times. Dropping it gives it back once, and poisons it if
/// the thread began to panic meanwhile. Stays in its thread; in a forked child it holds nothing.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    me: Id,
    /// A forked child has a copy of this, and holds nothing.
    epoch: Epoch,
    was_panicking: bool,
    nothing: (),
    not_send: PhantomData<*mut ()>,
}

impl RLock {
    /// A free one, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(())
    }

    /// Takes it, at once if this thread holds it. Else blocks until it is free or its holder is proved dead.
    ///
    /// # Errors
    /// [`Failed::OwnerDied`] and [`Failed::Poisoned`], with the guard; [`Failed::NoSlot`]; [`Failed::Corrupt`] if this
    /// thread took it 2³² times, or somebody stored that there.
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        self.lock_by(Deadline::NEVER)
    }

    /// Takes it if nobody else alive has it. Does not block.
    ///
    /// # Errors
    /// [`Failed::WouldBlock`], with who has it; as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        self.lock_by(Deadline::now()).map_err(Failed::at_once)
    }

    /// [`lock`](Self::lock) for at most `timeout`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with who has it; as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        self.lock_by(Deadline::after(timeout))
    }

    /// [`lock`](Self::lock) until `instant`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with who has it; as [`lock`](Self::lock).
    pub fn lock_until(&self, instant: Instant) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        self.lock_by(Deadline::at(instant))
    }

    /// Whether somebody has it at this moment, who may be dead: for diagnosis.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.0.words().inner().holder().is_some()
    }

    /// Who has it at this moment, and may be dead: for diagnosis. `None` also if that cannot be known.
    pub fn holder(&self) -> Option<Participant> {
        self.0.words().inner().holder().and_then(|id| self.0.domain().participant(id))
    }

    /// Who sleeps until it is free, as far as they have said so: for diagnosis. Looks at all slots of the domain.
    pub fn waiters(&self) -> Vec<Participant> {
        self.0.waiters()
    }

    fn lock_by(&self, deadline: Deadline) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        self.taken(self.0.words().lock(&SharedPark, &self.0.party(), &Wait(deadline)))
    }

    fn taken(
        &self,
        taken: Result<raw::Held, raw::LockError>,
    ) -> Result<RLockGuard<'_>, Failed<RLockGuard<'_>>> {
        let domain = self.0.domain();
        let raw::Held { me, state } = taken.map_err(|error| Failed::of(error, domain))?;
        let (epoch, was_panicking) = (epoch(), thread::panicking());
        let guard = RLockGuard { lock: self, me, epoch, was_panicking, nothing: (), not_send: PhantomData };
        Failed::check(guard, state, domain)
    }
}

impl RLockGuard<'_> {
    /// Says that all is as it should be, after a holder died or panicked: later holders are told nothing.
    pub fn mark_consistent(&self) {
        // It fails only if somebody has stored over the word.
        let _ = self.lock.0.words().inner().mark_consistent(self.me);
    }

    /// Gives the lock back wholly, does something, and takes it again as often, however long that takes.
    pub(crate) fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>) {
        let Self { lock, me, .. } = self;
        let is_ours = self.epoch == epoch();
        mem::forget(self);
        let words = lock.0.words();
        let depth = if is_ours { words.unlock_all(&SharedPark, me).unwrap_or(0) } else { 0 };
        let answer = what();
        let wait = Wait(Deadline::NEVER);
        (answer, lock.taken(words.relock(depth, &SharedPark, &lock.0.party(), &wait)))
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        if self.epoch != epoch() {
            return;
        }
        let words = self.lock.0.words();
        if !self.was_panicking && thread::panicking() {
            let _ = words.inner().poison(self.me);
        }
        // It fails only if somebody has stored over the word.
        let _ = words.unlock(&SharedPark, self.me);
    }
}

impl sealed::Sealed for RLockGuard<'_> {}

impl Guard for RLockGuard<'_> {
    type Data = ();

    fn data(&mut self) -> &mut () {
        &mut self.nothing
    }

    fn mark_consistent(&self) {
        self.mark_consistent();
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("holder", &self.holder()).finish()
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard").finish_non_exhaustive()
    }
}
