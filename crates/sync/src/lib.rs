//! Locks and signals between processes, which tell their users when a user has died.
//!
//! Each is a handle: it clones, travels in the arguments of a process and in messages, is inherited by a fork, and works
//! between threads, too. What it stands for is a few words in shared memory, which the kernel frees with the last handle
//! anywhere.
//!
//! | what | between threads | in Python |
//! |---|---|---|
//! | [`Mutex`]: data that one has at a time | `std::sync::Mutex` | `Value` with its lock |
//! | [`Lock`], [`RLock`]: the same without data; again by its holder | – | `Lock`, `RLock` |
//! | [`RwLock`]: data that many read or one writes | `std::sync::RwLock` | – |
//! | [`Condvar`]: waiting for a change under a lock | `std::sync::Condvar` | `Condition` |
//! | [`Event`]: a flag to wait for | – | `Event` |
//! | [`Semaphore`]: permits that know their holders; [`SignalSemaphore`]: a counter that anybody raises | – | `BoundedSemaphore`; `Semaphore` |
//! | [`Barrier`]: a meeting | `std::sync::Barrier` | `Barrier` |
//! | [`Once`], [`LazyShared`]: what is done once | `std::sync::Once`, `OnceLock` | – |
//!
//! # When somebody dies
//! A holder that died, of whatever, is an answer to the next caller, which has the lock then, and the data as it was
//! left: [`Failed::OwnerDied`]. [`OrRepair`] has the two usual ways to go on. Nobody waits for the dead: sleepers are woken
//! by the kernel when the thread dies that they wait for, and look again at a tick if it could not tell them. Nobody robs
//! the living, however slow: no time limit proves a death.
//!
//! ```
//! use procession_sync::{Condvar, Mutex, OrRepair};
//!
//! let queue = Mutex::new([0_u32; 8])?;
//! let changed = Condvar::new()?;
//! // In any process that has the handles:
//! queue.lock().or_repair(|queue, dead| {
//!     eprintln!("process {} died with the queue", dead.pid());
//!     *queue = [0; 8];
//! })?[0] = 1;
//! changed.notify_all();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Waiting
//! What blocks has a `try_` form, which does not wait, a `_timeout` and an `_until` form. The clock is monotonic. A lock
//! that nobody holds is taken and given back without a system call.
//!
//! Who waits for whom can be read ([`Mutex::waiters`], [`Mutex::holder`]), and with `PROCESSION_DEADLOCK=1`, or after
//! [`report_deadlocks`], a wait that takes long is reported with the circle it is part of.
//!
//! # When not to use it
//! Between threads of one process the standard library is enough. Where one process can own the state and the others can
//! ask it, a pipe is simpler, and says by its end when a peer is gone. Values that are only replaced as a whole need no
//! lock of their own: `procession_shm::Value`.
//!
//! # What it does not do
//! It is fair to nobody: who comes at the right moment overtakes those who sleep. It uses no POSIX condition variable in
//! shared memory, because killing a waiter can block its signaller for good.
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
pub use procession_shm::domain::{DeadlockReport, report_deadlocks};
pub use rlock::{RLock, RLockGuard};
pub use rwlock::{ReadFailed, RwLock, RwLockReadGuard, RwLockWriteGuard, WriteFailed};
pub use semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use signals::SignalSemaphore;
