//! Objects that live in a process of their own, and proxies through which all others use them.
//!
//! ```
//! use procession_manager::Manager;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = Manager::start()?;
//! let scores = manager.dict::<String, u32>()?;
//! let child = procession_process::spawn(|scores: procession_manager::Dict<String, u32>| {
//!     scores.insert("child".into(), 7).unwrap();
//! }, scores.clone())?;
//! child.join()?;
//! assert_eq!(scores.get("child")?, Some(7));
//! # Ok(()) }
//! ```
//!
//! A [`Manager`] starts a server: a process that keeps objects. Its methods make them, and each gives a proxy, which is a
//! value: clone it, send it to any process of the tree, put it into another object.
//!
//! # What works today
//! [`Manager`] for processes that are related, and these objects:
//!
//! | object | with |
//! |---|---|
//! | [`Dict`], [`Set`], [`List`], [`Value`] | the methods of the standard library that make sense from afar; `update`, `get_or_insert`, `extend`, snapshots; waiting for a key |
//! | [`Array`], [`Namespace`] | a list of fixed length; fields of any types |
//! | [`Queue`], [`Event`] | `try_`, `_timeout` and `_until` forms of what waits |
//! | [`JobQueue`] | the same; what a dead worker had is done by another one |
//! | [`Mutex`], [`RwLock`], [`Semaphore`] | the same; what a dead process had is free again, and the next owner of a lock is told |
//! | [`Condvar`], [`Barrier`] | the same; a dead waiter takes no notification along, and breaks the barrier |
//! | of your own traits: [`remote`](mod@remote), [`Manager::register`] | their methods; errors come back as themselves, panics with both backtraces |
//!
//! # Not there yet
//! Futures of calls; servers that listen at an address, for processes that are not related; rings in shared memory in place
//! of sockets.
//!
//! # When *not* to use it
//! What lies in shared memory is some ten to a hundred times faster: see the crates for values, locks and queues. A manager
//! is for what does not fit there: maps that grow, values of any type and size.
//!
//! # What it does not do
//! It is no server for strangers: everybody who talks to it was started by, or was let in by, the same tree.
#![forbid(unsafe_code)]

mod array;
mod barrier;
mod condvar;
mod dict;
mod error;
mod event;
mod frozen;
mod guard;
mod jobs;
mod list;
mod manager;
mod mutex;
mod namespace;
mod proxy;
mod queue;
mod raw;
mod register;
pub mod remote;
mod rwlock;
mod semaphore;
mod server;
mod session;
mod set;
mod value;
mod wire;

pub use array::Array;
pub use barrier::{Barrier, BarrierBroken, BarrierWaitResult, Broken};
pub use condvar::{Condvar, TimedWait, WaitTimeoutResult};
pub use dict::Dict;
pub use error::{CallError, StartError};
pub use event::Event;
pub use frozen::Iter;
pub use guard::Failed;
pub use jobs::{DeadLetter, GivenUp, Job, JobOptions, JobQueue, JobsError};
pub use list::List;
pub use manager::{Counts, Manager};
pub use mutex::{LockFailed, Mutex, MutexGuard};
pub use namespace::{Namespace, Snapshot};
pub use procession_macros::remote;
pub use queue::Queue;
pub use remote::{Remote, RemotePanic, RemoteProxy};
pub use rwlock::{ReadFailed, RwLock, RwLockReadGuard, RwLockWriteGuard, WriteFailed};
pub use semaphore::{Permit, Semaphore};
pub use set::Set;
pub use value::Value;
