//! Data that many threads read, or one of them changes, of all threads of all processes.
//!
//! Invariants: as those of [`Cell`]; a handle is nothing but a place in shared memory. Held by `tests/contract.rs`
//! (`rwlock`), `tests/signal_steps.rs` (a kill at the instructions), `tests/signal_storm.rs` and
//! `tests/garbage_signals.rs`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_raw as raw;
use procession_shm::domain::Participant;
use procession_shm::{Cell, Locked, Plain, ReadLocked, Shared, ShmError, Wait};
use procession_sys::Deadline;

use crate::error::{Failed, Guard, sealed};

type Words = raw::RwLock;

/// Data in shared memory that many threads read or one of them changes, of all threads of all processes.
///
/// As the one of the standard library, between processes. Each reader has a word of its own, so readers do not slow each
/// other; who writes passes over them all. Use a [`Mutex`](crate::Mutex) where reading takes no longer than locking.
///
/// **Writers go first.** Who comes to read waits while a writer has it or waits for the readers before it. A thread that
/// reads already may read again at any time. Between two writers, readers may come in.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same lock, and so does a
/// fork. It can be a field of a struct that derives `Shared`. Takes 16 KiB beside the data.
///
/// # If a peer dies
/// Who writes: one of the next answers, to read or to write, is [`Failed::OwnerDied`], at once, and all others are
/// [`Failed::Poisoned`] until a writer has repaired. A writer that panicked poisons, too. Who reads: nobody waits for it,
/// and nothing is said. A holder that is stopped, or slow, keeps the lock.
///
/// # Examples
/// ```
/// use procession_sync::RwLock;
///
/// let prices = RwLock::new([1_u64, 2, 3])?;
/// let other = prices.clone(); // or received from another process
/// prices.write()?[0] = 7;
/// let (one, two) = (prices.read()?, other.read()?);
/// assert_eq!((one[0], two[0]), (7, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct RwLock<T: Plain>(Cell<Words, T>);

/// The data of an [`RwLock`], to read, held by the thread that has this. Stays in its thread; in a forked child it holds
/// nothing.
///
/// # Safety
/// The data stays as it is as long as this thread lives: do not leak a guard and hand its reference to another thread.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct RwLockReadGuard<'a, T: Plain>(ReadLocked<'a, Words, T>);

/// The data of an [`RwLock`], to write, held by the thread that has this. Dropping it gives the lock back, and poisons it
/// if the thread began to panic meanwhile. Stays in its thread; in a forked child it holds nothing.
///
/// # Safety
/// The data is only ours as long as this thread lives: do not leak a guard and hand its reference to another thread.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: Plain>(Locked<'a, Words, T>);

/// What [`RwLock::read`] answers instead of the data, or with it.
pub type ReadFailed<'a, T> = Failed<RwLockReadGuard<'a, T>>;
/// What [`RwLock::write`] answers instead of the data, or with it.
pub type WriteFailed<'a, T> = Failed<RwLockWriteGuard<'a, T>>;

impl<T: Plain> RwLock<T> {
    /// A free one with this data, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new(value: T) -> Result<Self, ShmError> {
        Self::create(value)
    }

    /// Takes it to read. Blocks until no writer has it or waits for it, or that is proved dead.
    ///
    /// # Errors
    /// [`Failed::OwnerDied`] and [`Failed::Poisoned`], with the guard; [`Failed::Deadlock`] for who writes;
    /// [`Failed::NoSlot`]; [`Failed::Corrupt`], also for a thread that has 16383 guards to read already.
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, ReadFailed<'_, T>> {
        self.read_by(Deadline::NEVER)
    }

    /// Takes it to read if no writer alive has it or waits for it. Does not block.
    ///
    /// # Errors
    /// [`Failed::WouldBlock`]; as [`read`](Self::read).
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, ReadFailed<'_, T>> {
        self.read_by(Deadline::now()).map_err(Failed::at_once)
    }

    /// [`read`](Self::read) for at most `timeout`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`]; as [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Result<RwLockReadGuard<'_, T>, ReadFailed<'_, T>> {
        self.read_by(Deadline::after(timeout))
    }

    /// [`read`](Self::read) until `instant`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`]; as [`read`](Self::read).
    pub fn read_until(&self, instant: Instant) -> Result<RwLockReadGuard<'_, T>, ReadFailed<'_, T>> {
        self.read_by(Deadline::at(instant))
    }

    /// Takes it to write. Blocks until nobody else has it, or all who have are proved dead; meanwhile no new reader comes.
    ///
    /// # Errors
    /// [`Failed::OwnerDied`] and [`Failed::Poisoned`], with the guard; [`Failed::Deadlock`] for who reads or writes;
    /// [`Failed::NoSlot`].
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, WriteFailed<'_, T>> {
        self.write_by(Deadline::NEVER)
    }

    /// Takes it to write if nobody alive has it. Does not block.
    ///
    /// # Errors
    /// [`Failed::WouldBlock`], with one who has it; as [`write`](Self::write).
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, WriteFailed<'_, T>> {
        self.write_by(Deadline::now()).map_err(Failed::at_once)
    }

    /// [`write`](Self::write) for at most `timeout`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with one who has it; as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<'_, T>, WriteFailed<'_, T>> {
        self.write_by(Deadline::after(timeout))
    }

    /// [`write`](Self::write) until `instant`.
    ///
    /// # Errors
    /// [`Failed::TimedOut`], with one who has it; as [`write`](Self::write).
    pub fn write_until(&self, instant: Instant) -> Result<RwLockWriteGuard<'_, T>, WriteFailed<'_, T>> {
        self.write_by(Deadline::at(instant))
    }

    /// Who reads at this moment: for diagnosis. Those are left out that cannot be known.
    #[must_use]
    pub fn readers(&self) -> Vec<Participant> {
        let readers = self.0.readers();
        readers.filter_map(|id| self.0.domain().participant(id)).collect()
    }

    /// Who writes at this moment, or waits for the readers before it, and may be dead: for diagnosis. `None` also if that
    /// cannot be known.
    #[must_use]
    pub fn writer(&self) -> Option<Participant> {
        self.0.holder().and_then(|id| self.0.domain().participant(id))
    }

    fn read_by(&self, deadline: Deadline) -> Result<RwLockReadGuard<'_, T>, ReadFailed<'_, T>> {
        match self.0.read(Wait(deadline)) {
            Ok((locked, raw::Protected::Consistent)) => Ok(RwLockReadGuard(locked)),
            Ok((locked, state)) => Failed::check(RwLockReadGuard(locked), state, self.0.domain()),
            Err(error) => Err(Failed::of(error, self.0.domain())),
        }
    }

    fn write_by(&self, deadline: Deadline) -> Result<RwLockWriteGuard<'_, T>, WriteFailed<'_, T>> {
        match self.0.lock(Wait(deadline)) {
            Ok((locked, raw::Protected::Consistent)) => Ok(RwLockWriteGuard(locked)),
            Ok((locked, state)) => Failed::check(RwLockWriteGuard(locked), state, self.0.domain()),
            Err(error) => Err(Failed::of(error, self.0.domain())),
        }
    }
}

impl<'a, T: Plain> RwLockWriteGuard<'a, T> {
    /// Says that the data is as it should be, after a writer died or panicked: later holders are told nothing.
    pub fn mark_consistent(&self) {
        self.0.mark_consistent();
    }

    /// Goes on to read, with no writer between. Does not block.
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard(self.0.downgrade())
    }
}

impl<T: Plain> sealed::Sealed for RwLockWriteGuard<'_, T> {}

impl<T: Plain> Guard for RwLockWriteGuard<'_, T> {
    type Data = T;

    fn data(&mut self) -> &mut T {
        self
    }

    fn mark_consistent(&self) {
        self.mark_consistent();
    }
}

impl<T: Plain> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Plain> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Plain> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Plain> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").field("writer", &self.writer()).finish_non_exhaustive()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
