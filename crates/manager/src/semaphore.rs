//! Semaphores in a server.

use std::time::{Duration, Instant};

use crate::error::CallError;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Kind, LeaseAsk, Load, Share};

/// A number of permits in a server, made by [`Manager::semaphore`](crate::Manager::semaphore).
///
/// Permits are lent in the order in which they were asked for, and come back with their guard. What a [`Dict`](crate::Dict)
/// says of sharing and of a dead server is true here. **If a client dies** its permits are free again.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let seats = manager.semaphore(2)?;
/// let (one, _two) = (seats.acquire()?, seats.acquire()?);
/// assert!(seats.try_acquire().is_err());
/// drop(one);
/// assert_eq!(seats.available()?, 1);
/// # Ok(()) }
/// ```
pub struct Semaphore(Raw);

proxy!(Semaphore, Kind::Semaphore);

/// A permit of a [`Semaphore`]; goes back when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit {
    raw: Raw,
    lease: u64,
}

impl Semaphore {
    /// Takes a permit. Blocks until there is one.
    pub fn acquire(&self) -> Result<Permit, CallError> {
        self.acquire_by(1, true, None)
    }

    /// [`acquire`](Self::acquire) without waiting: [`CallError::WouldWait`] if there is none.
    pub fn try_acquire(&self) -> Result<Permit, CallError> {
        self.acquire_by(1, false, None)
    }

    /// [`acquire`](Self::acquire) for at most `timeout`.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, CallError> {
        self.acquire_by(1, true, Instant::now().checked_add(timeout))
    }

    /// [`acquire`](Self::acquire) until `instant`.
    pub fn acquire_until(&self, instant: Instant) -> Result<Permit, CallError> {
        self.acquire_by(1, true, Some(instant))
    }

    /// Takes `n` permits at once, which come back together. Blocks until there are so many: those who ask later wait, too.
    ///
    /// # Errors
    /// [`CallError::Refused`] where there are never so many, or `n` is 0; and others.
    pub fn acquire_many(&self, n: u64) -> Result<Permit, CallError> {
        self.acquire_by(n, true, None)
    }

    /// [`acquire_many`](Self::acquire_many) without waiting.
    pub fn try_acquire_many(&self, n: u64) -> Result<Permit, CallError> {
        self.acquire_by(n, false, None)
    }

    /// [`acquire_many`](Self::acquire_many) for at most `timeout`.
    pub fn acquire_many_timeout(&self, n: u64, timeout: Duration) -> Result<Permit, CallError> {
        self.acquire_by(n, true, Instant::now().checked_add(timeout))
    }

    /// How many permits are free now.
    pub fn available(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Lease(LeaseAsk::Available))
    }

    fn acquire_by(&self, n: u64, waits: bool, until: Option<Instant>) -> Result<Permit, CallError> {
        match self.0.ask_with(Ask::Lease(LeaseAsk::Take(Share::Of(n), waits)), Load::default(), until)? {
            Answer::Lent { lease, .. } => Ok(Permit { raw: self.0.clone(), lease }),
            other => Err(unexpected(&other)),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.raw.tell(Ask::Lease(LeaseAsk::Give(self.lease, None)), Load::default());
    }
}
