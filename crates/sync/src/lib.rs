//! Locks and signals between processes, which tell their users when a user has died.
//!
//! # What belongs here
//! Mutex, reader-writer lock, condition variable, event, semaphore and barrier. Each is an object over a word
//! protocol of `procession-raw` that lives in memory of `procession-shm`; a holder that dies is an answer to
//! the next caller and never a wait without end.
//!
//! # What works today
//! - [`Mutex`]: data that one thread at a time has; [`Lock`]: the same without data; [`RLock`]: for a holder that comes
//!   back.
//! - [`Condvar`]: waiting for a change under one of these.
//! - [`RwLock`], [`Event`], [`Semaphore`] and [`BoundedSemaphore`], [`SignalSemaphore`], [`Barrier`], [`Once`].
//! - [`OrRepair`]: the two usual answers to a holder that died; [`Failed`] and [`LockError`]: all others.
//!
//! ```
//! use procession_sync::{Condvar, Mutex, OrRepair};
//!
//! // Handles: they clone, and travel in arguments and messages.
//! let (queue, changed) = (Mutex::new([0_u64; 8])?, Condvar::new()?);
//! queue.lock().or_repair(|queue, dead| {
//!     eprintln!("process {} died in the middle of a change", dead.pid());
//!     *queue = [0; 8];
//! })?[0] = 1;
//! changed.notify_all();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//! It uses no POSIX condition variable in shared memory, because killing a waiter can block its signaller for
//! good.
#![forbid(unsafe_code)]

mod barrier;
mod condvar;
mod error;
mod event;
mod lock;
mod mutex;
mod once;
mod rlock;
mod rwlock;
mod semaphore;
mod signals;

pub use barrier::{Attached, Barrier, BarrierBroken, BarrierWaitResult, Broken};
pub use condvar::{Condvar, TimedWait, WaitGuard, WaitTimeoutResult};
pub use error::{Dead, Failed, Guard, LockError, OrRepair, OwnerDied, Participant, Poisoned};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use mutex::{CarryingOn, LockFailed, Mutex, MutexGuard};
pub use once::{LazyShared, Once, OnceError};
pub use procession_raw::{AcquireError, AttachError, NotHeld, TooMany};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{ReadFailed, RwLock, RwLockReadGuard, RwLockWriteGuard, WriteFailed};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use signals::SignalSemaphore;
