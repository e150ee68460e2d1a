//! Data that one thread at a time has, of all threads of all processes.
//!
//! Invariants: as those of [`Cell`]; a handle is nothing but a place in shared memory. Held by `tests/contract.rs`,
//! `tests/lock_steps.rs` (a kill at every instruction) and `tests/lock_storm.rs`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_raw as raw;
use procession_shm::domain::Participant;
use procession_shm::{Cell, Locked, Plain, Shared, ShmError, Wait};
use procession_sys::Deadline;

use crate::error::{Failed, Guard, LockError, OrRepair, sealed};

/// Data in shared memory that one thread at a time has, of all threads of all processes.
///
/// As the one of the standard library, between processes: the data is reached through a guard only, and the drop of the
/// guard gives it back. A holder that dies is an answer to the next caller, with the data and who it was.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same mutex, and so does a
/// fork. It can be a field of a struct that derives `Shared`. The memory is freed with the last handle anywhere. It is
/// fair to nobody: who comes at the right moment overtakes those who sleep.
///
/// # If a peer dies
/// The holder, thread or process, whatever ended it: the next `lock` answers [`Failed::OwnerDied`], at once, also if it
/// was asleep already. A thread that ends and has leaked its guard counts as dead. A holder that is stopped, or slow, is
/// not dead, and keeps the lock. Who dies while it waits changes nothing.
///
/// # Examples
/// ```
/// use procession_sync::Mutex;
///
/// let count = Mutex::new(0_u32)?;
/// let other = count.clone(); // or received from another process
/// *other.lock()? += 1;
/// assert_eq!(*count.lock()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct Mutex<T: Plain>(Cell<raw::Lock, T>);

/// What [`Mutex::lock`] answers instead of the data, or with it.
pub type LockFailed<'a, T> = Failed<MutexGuard<'a, T>>;

/// The data of a [`Mutex`], held by the thread that has this. Dropping it gives the mutex back, and poisons it if the
/// thread began to panic meanwhile. Stays in its thread; in a forked child it holds nothing.
#[must_use = "the mutex is given back at once if the guard is not kept"]
pub struct MutexGuard<'a, T: Plain>(Locked<'a, raw::Lock, T>);

impl<T: Plain> Mutex<T> {
    /// A free one with this data, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new(value: T) -> Result<Self, ShmError> {
        Self::create(value)
    }

    /// Takes it. Blocks until it is free or its holder is proved dead.
    ///
    /// # Errors
    /// [`Failed::OwnerDied`] and [`Failed::Poisoned`], with the guard; [`Failed::Deadlock`], [`Failed::NoSlot`].
    #[doc(alias = "acquire")]
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockFailed<'_, T>> {
        self.lock_by(Deadline::NEVER)
    }

    /// Takes it if nobody alive has it. Does not block.
    ///
    /// # Errors
    /// [`Failed::WouldBlock`], with who has it; as [`lock`](Self::lock).
    ///
    /// # Examples
    /// ```
    /// use procession_sync::{Failed, Mutex};
    ///
    /// let mutex = Mutex::new(())?;
    /// let guard = mutex.lock()?;
    /// std::thread::scope(|s| {
    ///     let other = s.spawn(|| match mutex.try_lock() {
    ///         Err(Failed::WouldBlock { holder }) => holder.map(|holder| holder.pid()),
    ///         other => panic!("{other:?}"),
    ///     });
    ///     assert_eq!(other.join().unwrap(), Some(std::process::id()));
    /// });
    /// # drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockFailed<'_, T>> {
        self.lock_by(Deadline::now()).map_err(Failed::at_once)
    }

    /// [`lock`](Self::lock) for at most `timeout`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with who has it; as [`lock`](Self::lock).
    #[inline]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, LockFailed<'_, T>> {
        self.lock_by(Deadline::after(timeout))
    }

    /// [`lock`](Self::lock) until `instant`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with who has it; as [`lock`](Self::lock).
    #[inline]
    pub fn lock_until(&self, instant: Instant) -> Result<MutexGuard<'_, T>, LockFailed<'_, T>> {
        self.lock_by(Deadline::at(instant))
    }

    /// Whether somebody has it at this moment, who may be dead: for diagnosis.
    #[doc(alias = "locked")]
    pub fn is_locked(&self) -> bool {
        self.0.holder().is_some()
    }

    /// Who has it at this moment, and may be dead: for diagnosis. `None` also if that cannot be known.
    pub fn holder(&self) -> Option<Participant> {
        self.0.holder().and_then(|id| self.0.domain().participant(id))
    }

    /// Who sleeps until it is free, as far as they have said so: for diagnosis. Looks at all slots of the domain.
    ///
    /// # Examples
    /// ```
    /// let mutex = procession_sync::Mutex::new(0_u32)?;
    /// assert!(mutex.waiters().is_empty());
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn waiters(&self) -> Vec<Participant> {
        self.0.waiters()
    }

    /// This mutex for users who never want to hear of a death or a panic, as in Python: they get the data as it is.
    ///
    /// An option of the handle, which travels with it; other handles go on as before.
    pub fn carrying_on(self) -> CarryingOn<T> {
        CarryingOn(self)
    }

    #[inline]
    fn lock_by(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>, LockFailed<'_, T>> {
        match self.0.lock(Wait(deadline)) {
            Ok((locked, raw::Protected::Consistent)) => Ok(MutexGuard(locked)),
            other => self.not_simply(other),
        }
    }

    #[cold]
    fn not_simply<'a>(
        &'a self,
        taken: Result<(Locked<'a, raw::Lock, T>, raw::Protected), raw::LockError>,
    ) -> Result<MutexGuard<'a, T>, LockFailed<'a, T>> {
        match taken {
            Ok((locked, state)) => Failed::check(MutexGuard(locked), state, self.0.domain()),
            Err(error) => Err(Failed::of(error, self.0.domain())),
        }
    }
}

/// A [`Mutex`] whose users go on with whatever a holder that died or panicked has left: [`Mutex::carrying_on`].
///
/// # Examples
/// ```
/// use procession_sync::Mutex;
///
/// let count = Mutex::new(0_u32)?.carrying_on();
/// *count.lock()? += 1;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Shared)]
pub struct CarryingOn<T: Plain>(Mutex<T>);

impl<T: Plain> CarryingOn<T> {
    /// [`Mutex::lock`].
    ///
    /// # Errors
    /// [`LockError::Deadlock`], [`LockError::NoSlot`].
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.0.lock().or_carry_on()
    }

    /// [`Mutex::try_lock`].
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; as [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.0.try_lock().or_carry_on()
    }

    /// [`Mutex::lock_timeout`].
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; as [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, LockError> {
        self.0.lock_timeout(timeout).or_carry_on()
    }

    /// [`Mutex::lock_until`].
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; as [`lock`](Self::lock).
    pub fn lock_until(&self, instant: Instant) -> Result<MutexGuard<'_, T>, LockError> {
        self.0.lock_until(instant).or_carry_on()
    }

    /// The mutex, which tells of deaths.
    pub fn mutex(&self) -> &Mutex<T> {
        &self.0
    }
}

impl<T: Plain> MutexGuard<'_, T> {
    /// Says that the data is as it should be, after a holder died or panicked: later holders are told nothing.
    pub fn mark_consistent(&self) {
        self.0.mark_consistent();
    }
}

impl<'a, T: Plain> MutexGuard<'a, T> {
    /// Gives the mutex back, does something, and takes it again, however long that takes.
    pub(crate) fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, LockFailed<'a, T>>) {
        let domain = self.0.cell().domain();
        let (answer, locked) = self.0.unlocked(what);
        let locked = match locked {
            Ok((locked, state)) => Failed::check(Self(locked), state, domain),
            Err(error) => Err(Failed::of(error, domain)),
        };
        (answer, locked)
    }
}

impl<T: Plain> sealed::Sealed for MutexGuard<'_, T> {}

impl<T: Plain> Guard for MutexGuard<'_, T> {
    type Data = T;

    fn data(&mut self) -> &mut T {
        self
    }

    fn mark_consistent(&self) {
        self.mark_consistent();
    }
}

impl<T: Plain> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Plain> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Plain> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("holder", &self.holder()).finish_non_exhaustive()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
