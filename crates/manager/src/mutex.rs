//! Locks in a server that guard a value.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use procession_codec::Message;

use crate::error::CallError;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Kind, LeaseAsk, Load};

/// A lock in a server, and the value that it guards, made by [`Manager::mutex`](crate::Manager::mutex).
///
/// The guard has a copy of the value. Dropping it puts what was changed back and gives the lock to the next one, in the order
/// in which they asked; [`MutexGuard::commit`] does it and says whether it went well. What a [`Dict`](crate::Dict) says of its
/// values, of sharing and of a dead server is true here. It is not recursive: a thread that locks it twice waits for itself.
///
/// **If a client dies** that has the lock, or its connection ends, the next one gets it, with the value as it was when the
/// dead one got it, and is told: [`LockFailed::OwnerDied`], with the guard.
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

/// Why a lock was not got as it should be.
#[non_exhaustive]
pub enum LockFailed<T: Message> {
    /// The lock was got, and who had it before died with it. The value is as it was before that one got it, which may not fit
    /// what else it did.
    OwnerDied {
        /// The lock.
        guard: MutexGuard<T>,
        /// The process that died, by its number in the server's namespace; 0 if it has none there.
        pid: u32,
    },
    /// It was not got.
    Call(CallError),
}

impl<T: Message> Mutex<T> {
    /// Gets the lock. Blocks until it is free.
    ///
    /// # Errors
    /// See [`LockFailed`].
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
        let answer = self.0.ask_with(Ask::Lease(LeaseAsk::Take(waits)), Load::default(), until)?;
        let Answer::Lent { lease, item: Some(item), died } = answer else {
            return Err(unexpected(&answer).into());
        };
        let value = match item.unpack() {
            Ok(value) => value,
            Err(error) => {
                self.0.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
                return Err(CallError::Decode(error).into());
            }
        };
        let guard = MutexGuard { raw: self.0.clone(), lease: Some(lease), value, is_changed: false };
        match died {
            Some(pid) => Err(LockFailed::OwnerDied { guard, pid }),
            None => Ok(guard),
        }
    }
}

/// The lock of a [`Mutex`], and a copy of its value, which goes back when it is dropped.
///
/// Of a value that does not encode, or is too long for a message, the one before stays: [`commit`](Self::commit) tells.
#[must_use = "dropping it gives the lock back"]
pub struct MutexGuard<T: Message> {
    raw: Raw,
    /// `Some` until it is given back.
    lease: Option<u64>,
    value: T,
    is_changed: bool,
}

impl<T: Message> MutexGuard<T> {
    /// Puts the value back, and gives the lock back, when the server has done so.
    ///
    /// # Errors
    /// The value does not encode, the server is gone, or others; then the value there is the one before.
    pub fn commit(mut self) -> Result<(), CallError> {
        let Some(lease) = self.lease else { return Ok(()) };
        let mut load = Load::default();
        let item = load.pack(&self.value)?;
        self.lease = None;
        let given = self.raw.done(Ask::Lease(LeaseAsk::Give(lease, Some(item))), load);
        if let Err(CallError::NotSent(_) | CallError::Encode(_)) = given {
            self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
        }
        given
    }
}

impl<T: Message> Deref for MutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Message> DerefMut for MutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: Message> Drop for MutexGuard<T> {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let mut load = Load::default();
        // Encoding runs code of the user, which may panic; so not while one is on its way.
        let is_new = self.is_changed && !std::thread::panicking();
        let item = if is_new { load.pack(&self.value).ok() } else { None };
        if !self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, item)), load) {
            self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
        }
    }
}

impl<T: Message> From<CallError> for LockFailed<T> {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl<T: Message> fmt::Debug for MutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard").field("raw", &self.raw).finish_non_exhaustive()
    }
}

impl<T: Message> fmt::Debug for LockFailed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied { pid, .. } => {
                f.debug_struct("OwnerDied").field("pid", pid).finish_non_exhaustive()
            }
            Self::Call(error) => f.debug_tuple("Call").field(error).finish(),
        }
    }
}

impl<T: Message> fmt::Display for LockFailed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied { pid, .. } => {
                write!(f, "locking a mutex of a manager: process {pid}, which had it before, died with it")
            }
            Self::Call(e) => e.fmt(f),
        }
    }
}

impl<T: Message> Error for LockFailed<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Call(e) => e.source(),
            Self::OwnerDied { .. } => None,
        }
    }
}
