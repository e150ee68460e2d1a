//! Why an array could not be had.

use std::error::Error;
use std::fmt;

use crate::domain::Participant;

/// Why the items of an array could not be read, written or split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArrayError {
    /// The time is up, and there are parts of the array: this process has one of them, or has sent it.
    Leased {
        /// The process, by its first thread.
        by: Participant,
    },
    /// The time is up, and another thread holds the array.
    TimedOut {
        /// That thread, if it is still known.
        by: Option<Participant>,
    },
    /// The calling thread holds the array itself.
    Deadlock,
    /// The calling thread has no place in the domain: 4096 threads have one, or it is ending.
    NoSlot,
}

impl fmt::Display for ArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leased { by } => {
                write!(
                    f,
                    "the array has parts, one of them with process {} (pid namespace {})",
                    by.pid, by.namespace
                )
            }
            Self::TimedOut { by: Some(by) } => write!(f, "the time is up and the array is held by {by}"),
            Self::TimedOut { by: None } => f.write_str("the time is up and another thread holds the array"),
            Self::Deadlock => f.write_str("this thread holds the array already"),
            Self::NoSlot => f.write_str("this thread has no place in the domain of the array"),
        }
    }
}

impl Error for ArrayError {}
