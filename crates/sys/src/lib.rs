//! The only crate of procession that talks to the kernel.
//!
//! | what | where |
//! |---|---|
//! | what this kernel can do, and tests of doing without | [`caps`] |
//! | a program started again as a child, functions that travel | [`hook`], [`image`], [`spawn`], [`child`], [`status`], [`signal`], [`exit`] |
//! | packets and messages with descriptors | [`socket`], [`message`] |
//! | shared memory and sleeping on its words | [`memory`], [`named`], [`futex`] |
//! | who is alive | [`identity`], [`life`], [`fork`], [`claim`] |
//! | waiting, for one thing or for many | [`poll`], [`event`], [`wait`], [`reactor`] |
//! | deadlines, limits | [`clock`], [`limits`], [`cpu`], [`random`] |
//!
//! Errors are [`OsError`]: what was being done to what, and the system's own error. Nothing here logs or prints.
//!
//! When *not* to use it: in a program. The crates above have types, codecs and outcomes; here are descriptors and bytes.
#![deny(unsafe_code)]

mod adjust;
pub mod caps;
mod cgroup;
pub mod child;
pub mod claim;
pub mod clock;
pub mod cpu;
mod error;
pub mod event;
pub mod exit;
pub mod fork;
pub mod futex;
pub mod hook;
pub mod identity;
pub mod image;
pub mod life;
pub mod limits;
pub mod memory;
pub mod message;
pub mod named;
mod per_process;
pub mod poll;
pub mod random;
pub mod reactor;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod status;
pub mod stderr;
mod symbols;
pub mod thread_end;
pub mod wait;

pub use clock::Deadline;
pub use error::{OsError, Result};
pub use wait::Waitable;
