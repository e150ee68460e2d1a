//! The only crate of procession that talks to the kernel.
#![deny(unsafe_code)]

pub mod caps;
mod cgroup;
pub mod clock;
pub mod cpu;
mod error;
pub mod event;
pub mod futex;
pub mod limits;
pub mod memory;
pub mod message;
pub mod poll;
pub mod socket;

pub use clock::Deadline;
pub use error::{OsError, Result};
