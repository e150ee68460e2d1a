//! The only crate of procession that talks to the kernel.
#![deny(unsafe_code)]

pub mod clock;
mod error;

pub use clock::Deadline;
pub use error::{OsError, Result};
