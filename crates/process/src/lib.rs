//! Run a function in another process and get its value back.
//!
//! ```
//! fn area(w: f64, h: f64) -> f64 {
//!     w * h
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let child = procession_process::spawn!(area(3.0, 4.0))?;
//! assert_eq!(child.join()?, 12.0);
//! # Ok(()) }
//! ```
//!
//! A task is a `fn(A) -> R`: a function, an instantiated generic (`f::<u8>`, `f64::sqrt`), or a closure that captures
//! nothing. Argument and result are serde types, or handles (descriptors, pipe ends). There is nothing to set up: no
//! macro, no call in `main`; the program is started again, a hook that runs before `main` takes the function, and
//! `main` is never entered in the child. The same in tests, doctests, examples and benches.
//!
//! Whatever ends the child is a value: see [`JoinError`]. A dropped [`Process`] ends its child; [`Process::detach`]
//! lets it run on; [`scope`] joins all of its children. Children end when their parent does, however that dies.
//!
//! How a child is started can be chosen: [`StartMethod`]. With [`Builder::fork`] a closure that captures runs in a copy of
//! this process. Its standard streams are inherited, nobody's, piped, or come line by line: [`Stdio`].
//!
//! Each process knows its place in the tree: [`current`], [`parent`], [`active_children`].
//!
//! All processes of a tree are in one domain (`procession_shm::domain`), so that shared objects of one are known to all:
//! a child has it before its argument is decoded. Whoever learns of a child's death, by joining, dropping or in the
//! background, tells it there before reporting it, and wakes who waits for something that the child held.
//!
//! When *not* to use it: for many small tasks (a start costs about a millisecond: use a pool), or where a thread would
//! do, because nothing may crash and memory is shared anyway.
//!
//! Invariants: `main` never runs in a child (`tests/build_kinds.rs` of the umbrella); exactly one outcome per process
//! (`tests/contract.rs`); no process outlives its parent or its handle (`tests/lifetime.rs`); one domain in a tree, and
//! deaths are told before they are reported (`tests/domain.rs`).
#![forbid(unsafe_code)]

mod builder;
mod child;
pub mod companion;
mod domain;
mod error;
mod exit;
mod failure;
#[cfg(feature = "async")]
mod future;
mod lines;
mod macros;
mod outcome;
mod panics;
mod process;
mod reaper;
mod scope;
mod settings;
mod start_method;
mod stdio;
mod tree;
mod wait;
mod wire;

pub use builder::{Builder, spawn};
pub use error::{Hint, JoinError, Panic, Setting, SpawnError, Who};
pub use exit::{ExitHook, at_exit, exit_limit};
pub use failure::{TaskError, TaskFailure};
pub use lines::{Line, OutputStream};
pub use panics::{catch_panic, record_panics};
pub use process::Process;
pub use procession_codec::Message;
pub use procession_sys::Deadline;
pub use procession_sys::hook::init;
pub use procession_sys::limits::{Limit, Resource};
pub use procession_sys::signal::Signal;
pub use procession_sys::status::Exit;
pub use scope::{Scope, ScopedProcess, scope};
pub use start_method::{StartMethod, set_start_method, start_method};
pub use stdio::{Output, Stdio};
pub use tree::{ActiveChild, Current, Parent, active_children, current, parent};
