//! The only crate of procession that talks to the kernel.
#![deny(unsafe_code)]

pub mod caps;
mod cgroup;
pub mod child;
pub mod clock;
pub mod cpu;
mod error;
pub mod event;
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
pub mod poll;
pub mod random;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod status;

pub use clock::Deadline;
pub use error::{OsError, Result};
