//! Locks and signals between processes, which tell their users when a user has died.
//!
//! # What belongs here
//! Mutex, reader-writer lock, condition variable, event, semaphore and barrier. Each is an object over a word
//! protocol of `procession-raw` that lives in memory of `procession-shm`; a holder that dies is an answer to
//! the next caller and never a wait without end.
//!
//! # What works today
//! Nothing: this crate exports no item yet, and no other crate depends on it.
//!
//! # Meanwhile
//! Let one process own the state and let the others ask it through a pipe: its end says when a peer is gone.
//! Between threads of one process, the standard library has all of these.
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
pub use mutex::{LockFailed, Mutex, MutexGuard};
pub use once::{LazyShared, Once, OnceError};
pub use procession_raw::{AcquireError, AttachError, NotHeld, TooMany};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{ReadFailed, RwLock, RwLockReadGuard, RwLockWriteGuard, WriteFailed};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use signals::SignalSemaphore;
