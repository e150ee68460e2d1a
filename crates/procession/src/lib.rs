//! Python's `multiprocessing` for Rust, without the ways to hang.
//!
//! ```
//! use procession::prelude::*;
//!
//! fn area(w: f64, h: f64) -> f64 {
//!     w * h
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A function in another process; its value comes back.
//! assert_eq!(procession::spawn!(area(3.0, 4.0))?.join()?, 12.0);
//!
//! // Two ends of a pipe, one of them in a child.
//! let (ours, theirs) = procession::pipe::<String, usize>()?;
//! let child = procession::spawn(|end: Duplex<usize, String>| end.send(&end.recv().unwrap().len()).unwrap(), theirs)?;
//! ours.send(&"hello".into())?;
//! assert_eq!(ours.recv()?, 5);
//! child.join()?;
//!
//! // A pool of workers, and what becomes of a task whose worker dies.
//! let pool = Pool::new(2)?;
//! assert_eq!(pool.map(f64::sqrt, [1.0, 4.0])?, [1.0, 2.0]);
//! let lost = pool.submit(|()| -> () { std::process::abort() }, ())?.get();
//! assert!(matches!(lost, Err(TaskFailed::WorkerDied { .. })));
//! # Ok(()) }
//! ```
//!
//! There is nothing to set up: no macro, no call in `main`; the same in tests, doctests, examples and benches. Every way
//! a child can end is a value. Nothing outlives its owner.
//!
//! | what | where |
//! |---|---|
//! | run a function in a child: [`spawn`](fn@spawn), [`spawn!`], [`scope`], [`Process`], [`JoinError`] | [`process`] |
//! | what a child has otherwise than its parent: [`Builder`](process::Builder), [`Stdio`], [`Limit`] | [`process`] |
//! | how it is started: [`StartMethod`], [`set_start_method`] | [`process`] |
//! | who is who: [`current`], [`parent`], [`active_children`]; what to do at the end: [`at_exit`] | [`process`] |
//! | two connected ends: [`pipe()`], [`Duplex`] | [`pipe`](mod@pipe) |
//! | processes that are not related meet: [`Listener`], [`Client`], [`AuthKey`], [`Connection`] | [`pipe`](mod@pipe) |
//! | which of many things are ready: [`pipe::wait`], [`Waitable`] | [`pipe`](mod@pipe) |
//! | many who send, many who receive: [`queue::bounded`], [`queue::unbounded`], [`Queue`], [`Sender`], [`Receiver`] | [`queue`] |
//! | jobs that are finished, and come back when their worker dies: [`queue::jobs`], [`JobSender`], [`JobReceiver`], [`Job`] | [`queue`] |
//! | many tasks on a few workers: [`Pool`], [`Task`], [`ParProcs`], [`as_completed`], [`Priority`]; how far they are, and where the time goes: [`Progress`], [`Insights`] | [`pool`] |
//! | why a task failed, and running it again: [`pool::Report`], [`replay`], [`pool::Chaos`], `PROCESSION_SERIAL` | [`pool`] |
//! | one lock for all processes, which tells of a dead holder: [`Mutex`], [`RwLock`], [`RLock`], [`Condvar`], [`LockError`] | [`sync`] |
//! | signals, limits, what is done once: [`Event`], [`Barrier`], [`Semaphore`], [`Once`] | [`sync`] |
//! | memory that several processes see at once: [`Value`], [`Array`], [`Atomic`], [`Encoded`], [`List`] | [`shm`] |
//! | what may live there, and many things in one piece of it: [`Plain`], [`Shared`] | [`shm`] |
//! | objects in a process of their own, for all others: [`Manager`], [`Dict`], [`CallError`]; of your own traits: [`remote`](macro@remote) | [`manager`] |
//! | how values travel: [`Codec`](codec::Codec), [`Bytes`], [`Descriptor`] | [`codec`] |
//!
//! With the feature `async`, what waits has a form that is a future, for any runtime: `send_async`, `recv_async`,
//! `join_async`, `wait_async`, `get_async`; a task of a pool is awaited as it is. With the feature `progress`, maps over pools
//! show how far they are: a bar, or plain lines. With the features `log` and `tracing`, the module `log` brings what children log
//! to the loggers of their parent.
//!
//! Each module is a crate of its own that can be used alone. Here there is nothing but re-exports.
#![forbid(unsafe_code)]

pub use procession_codec as codec;
#[cfg(any(feature = "log", feature = "tracing"))]
pub use procession_log as log;
pub use procession_pipe as pipe;
pub use procession_pool as pool;
pub use procession_process as process;
pub use procession_queue as queue;
pub use procession_sync as sync;

/// Objects in a process of their own: see the crate's own page.
pub mod manager {
    pub use procession_macros::remote_in_umbrella as remote;
    pub use procession_manager::*;
}

/// Shared memory: see the crate's own page.
pub mod shm {
    pub use procession_macros::{PlainInUmbrella as Plain, SharedInUmbrella as Shared};
    pub use procession_shm::*;
}

pub use codec::{Bytes, Descriptor, Message};
pub use manager::{CallError, Dict, Manager, remote};
pub use pipe::{
    Address, AuthKey, Client, Connection, Duplex, Listener, PipeError, RecvError, SendError, Waitable, pipe,
};
pub use pool::{
    Insights, MapTask, ParProcs, Pool, Priority, Progress, Task, TaskFailed, TaskId, TaskOptions,
    as_completed, replay,
};
pub use queue::{Job, JobReceiver, JobSender, Queue, Receiver, Sender, SimpleQueue};
pub use shm::{Array, Atomic, Encoded, List, Nameable, Part, Plain, Shared, ShmError, Value};
pub use sync::{
    Barrier, BoundedSemaphore, Condvar, Event, LazyShared, Lock, LockError, LockFailed, Mutex, Once,
    OrRepair, RLock, RwLock, Semaphore, SignalSemaphore,
};

pub use process::{
    ActiveChild, Current, Exit, ExitHook, Hint, JoinError, Limit, Line, Output, Panic, Parent, Process,
    Resource, Scope, ScopedProcess, Setting, Signal, SpawnError, StartMethod, Stdio, TaskError, TaskFailure,
    active_children, at_exit, current, exit_limit, init, parent, scope, set_start_method, spawn,
    start_method,
};

/// What most programs name: `use procession::prelude::*;`.
///
/// Functions stay behind the crate's name, so that a call reads `procession::spawn(..)`. Not here are [`Mutex`],
/// [`RwLock`], [`Condvar`], [`Barrier`] and [`Once`], which the standard library has too: they are named in full.
pub mod prelude {
    pub use crate::{
        Array, Atomic, AuthKey, Bytes, Client, Connection, Dict, Duplex, Encoded, Event, Exit, Job,
        JobReceiver, JobSender, JoinError, List, Listener, Lock, LockError, Manager, Nameable, OrRepair,
        ParProcs, Part, Plain, Pool, Priority, Process, Queue, RLock, Receiver, RecvError, Semaphore,
        SendError, Sender, Shared, Signal, SignalSemaphore, SimpleQueue, SpawnError, StartMethod, Task,
        TaskError, TaskFailed, TaskOptions, Value,
    };
}

/// The README's program, so that it is a tested one.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
