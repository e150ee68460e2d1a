//! Locks in a server for one who writes, or many who read.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_codec::Message;

use crate::error::CallError;
use crate::guard::{Failed, Lent};
use crate::manager::Manager;
use crate::proxy::proxy;
use crate::raw::Raw;
use crate::wire::{Kind, Load, Recipe, Share};

/// A lock in a server, and the value that it guards, for one who writes or for many who read; made by [`Manager::rwlock`].
///
/// It is lent in the order in which it was asked for: readers that come after a writer wait for it, so no writer starves.
/// Guards have copies of the value; that of a writer goes back as that of a [`Mutex`](crate::Mutex) does. It is not recursive.
///
/// **If a client dies** that reads, its share is free. If one dies that writes, the value is as it was before, and those who
/// get the lock are told, [`Failed::OwnerDied`]: all readers, until the first who writes was told, who can mend what does not
/// fit.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let names = manager.rwlock(vec!["one".to_owned()])?;
/// names.write()?.push("two".into());
/// let (one, other) = (names.read()?, names.read()?);
/// assert_eq!((one.len(), other.len()), (2, 2));
/// assert!(names.try_write().is_err());
/// # Ok(()) }
/// ```
pub struct RwLock<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(RwLock<T>, Kind::RwLock);

/// Why a lock was not got to read.
pub type ReadFailed<T> = Failed<RwLockReadGuard<T>>;

/// Why a lock was not got to write.
pub type WriteFailed<T> = Failed<RwLockWriteGuard<T>>;

impl Manager {
    /// A new lock for one who writes or many who read, which guards `value`.
    ///
    /// # Errors
    /// As [`dict`](Self::dict), or it does not encode.
    pub fn rwlock<T: Message>(&self, value: T) -> Result<RwLock<T>, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        Raw::make(self.session()?, Recipe::RwLock(value), load).map(RwLock::from_raw)
    }
}

impl<T: Message> RwLock<T> {
    /// Gets a share of the lock, with all others who read. Blocks while somebody writes, or waits to.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn read(&self) -> Result<RwLockReadGuard<T>, ReadFailed<T>> {
        self.read_by(true, None)
    }

    /// [`read`](Self::read) without waiting: [`CallError::WouldWait`] if it would have to.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn try_read(&self) -> Result<RwLockReadGuard<T>, ReadFailed<T>> {
        self.read_by(false, None)
    }

    /// [`read`](Self::read) for at most `timeout`.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn read_timeout(&self, timeout: Duration) -> Result<RwLockReadGuard<T>, ReadFailed<T>> {
        self.read_by(true, Instant::now().checked_add(timeout))
    }

    /// [`read`](Self::read) until `instant`.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn read_until(&self, instant: Instant) -> Result<RwLockReadGuard<T>, ReadFailed<T>> {
        self.read_by(true, Some(instant))
    }

    /// Gets the whole lock. Blocks while somebody else has it, or waits for it.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn write(&self) -> Result<RwLockWriteGuard<T>, WriteFailed<T>> {
        self.write_by(true, None)
    }

    /// [`write`](Self::write) without waiting: [`CallError::WouldWait`] if it would have to.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn try_write(&self) -> Result<RwLockWriteGuard<T>, WriteFailed<T>> {
        self.write_by(false, None)
    }

    /// [`write`](Self::write) for at most `timeout`.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn write_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<T>, WriteFailed<T>> {
        self.write_by(true, Instant::now().checked_add(timeout))
    }

    /// [`write`](Self::write) until `instant`.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn write_until(&self, instant: Instant) -> Result<RwLockWriteGuard<T>, WriteFailed<T>> {
        self.write_by(true, Some(instant))
    }

    fn read_by(&self, waits: bool, until: Option<Instant>) -> Result<RwLockReadGuard<T>, ReadFailed<T>> {
        let taken = Lent::take(&self.0, Share::Of(1), waits, until);
        taken.map(RwLockReadGuard).map_err(|failed| failed.map(RwLockReadGuard))
    }

    fn write_by(&self, waits: bool, until: Option<Instant>) -> Result<RwLockWriteGuard<T>, WriteFailed<T>> {
        let taken = Lent::take(&self.0, Share::All, waits, until);
        taken.map(RwLockWriteGuard).map_err(|failed| failed.map(RwLockWriteGuard))
    }
}

/// A share of a [`RwLock`], and a copy of its value.
#[derive(Debug)]
#[must_use = "dropping it gives the share back"]
pub struct RwLockReadGuard<T: Message>(Lent<T>);

/// The whole of a [`RwLock`], and a copy of its value, which goes back when it is dropped.
///
/// Of a value that does not encode, or is too long for a message, the one before stays: [`commit`](Self::commit) tells.
#[derive(Debug)]
#[must_use = "dropping it gives the lock back"]
pub struct RwLockWriteGuard<T: Message>(Lent<T>);

impl<T: Message> RwLockWriteGuard<T> {
    /// Puts the value back, and gives the lock back, when the server has done so.
    ///
    /// # Errors
    /// The value does not encode, the server is gone, or others; then the value there is the one before.
    pub fn commit(self) -> Result<(), CallError> {
        self.0.commit()
    }

    /// Puts the value back, and goes on as one who reads; nobody writes in between.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); the lock is given back then.
    pub fn downgrade(mut self) -> Result<RwLockReadGuard<T>, CallError> {
        self.0.downgrade()?;
        Ok(RwLockReadGuard(self.0))
    }
}

impl<T: Message> Deref for RwLockReadGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: Message> Deref for RwLockWriteGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: Message> DerefMut for RwLockWriteGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.value_mut()
    }
}
