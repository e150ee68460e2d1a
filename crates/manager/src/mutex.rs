//! Locks in a server that guard a value.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_codec::Message;

use crate::error::CallError;
use crate::guard::{Failed, Lent};
use crate::proxy::proxy;
use crate::raw::Raw;
use crate::wire::{Kind, Share};

/// A lock in a server, and the value that it guards, made by [`Manager::mutex`](crate::Manager::mutex).
///
/// The guard has a copy of the value. Dropping it puts what was changed back and gives the lock to the next one, in the order
/// in which they asked; [`MutexGuard::commit`] does it and says whether it went well. What a [`Dict`](crate::Dict) says of its
/// values, of sharing and of a dead server is true here. It is not recursive: a thread that locks it twice waits for itself.
///
/// **If a client dies** that has the lock, or its connection ends, the next one gets it, with the value as it was when the
/// dead one got it, and is told: [`Failed::OwnerDied`], with the guard.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let names = manager.mutex(vec!["one".to_owned()])?;
/// names.lock()?.push("two".into());
/// assert_eq!(names.lock()?.len(), 2);
/// # Ok(()) }
/// ```
pub struct Mutex<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(Mutex<T>, Kind::Mutex);

/// Why a mutex was not locked as it should be.
pub type LockFailed<T> = Failed<MutexGuard<T>>;

impl<T: Message> Mutex<T> {
    /// Gets the lock. Blocks until it is free.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn lock(&self) -> Result<MutexGuard<T>, LockFailed<T>> {
        self.lock_by(true, None)
    }

    /// [`lock`](Self::lock) without waiting: [`CallError::WouldWait`] if it is not free.
    pub fn try_lock(&self) -> Result<MutexGuard<T>, LockFailed<T>> {
        self.lock_by(false, None)
    }

    /// [`lock`](Self::lock) for at most `timeout`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<T>, LockFailed<T>> {
        self.lock_by(true, Instant::now().checked_add(timeout))
    }

    /// [`lock`](Self::lock) until `instant`.
    pub fn lock_until(&self, instant: Instant) -> Result<MutexGuard<T>, LockFailed<T>> {
        self.lock_by(true, Some(instant))
    }

    fn lock_by(&self, waits: bool, until: Option<Instant>) -> Result<MutexGuard<T>, LockFailed<T>> {
        MutexGuard::lock(&self.0, waits, until)
    }
}

/// The lock of a [`Mutex`], and a copy of its value, which goes back when it is dropped.
///
/// Of a value that does not encode, or is too long for a message, the one before stays: [`commit`](Self::commit) tells.
#[derive(Debug)]
#[must_use = "dropping it gives the lock back"]
pub struct MutexGuard<T: Message>(pub(crate) Lent<T>);

impl<T: Message> MutexGuard<T> {
    pub(crate) fn lock(raw: &Raw, waits: bool, until: Option<Instant>) -> Result<Self, LockFailed<T>> {
        Lent::take(raw, Share::All, waits, until).map(Self).map_err(|failed| failed.map(Self))
    }

    /// Puts the value back, and gives the lock back, when the server has done so.
    ///
    /// # Errors
    /// The value does not encode, the server is gone, or others; then the value there is the one before.
    pub fn commit(self) -> Result<(), CallError> {
        self.0.commit()
    }
}

impl<T: Message> Deref for MutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.value()
    }
}

impl<T: Message> DerefMut for MutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.value_mut()
    }
}
