//! Why an item of a list could not be read or set.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use crate::error::ShmError;
use crate::value::ValueError;

/// Why something with a [`List`](crate::List) failed. Its items are as they were.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListError {
    /// There is no such slot.
    OutOfRange {
        /// The slot.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The item has more bytes than its slot has room for.
    TooLarge {
        /// The slot.
        index: usize,
        /// How many bytes the item has.
        len: usize,
        /// How many it may have.
        capacity: usize,
    },
    /// The lock was not taken.
    Lock(ValueError),
    /// What is in the slot is no item: somebody wrote over it.
    Damaged {
        /// The slot.
        index: usize,
    },
    /// The memory could not be had.
    Memory(ShmError),
}

impl Display for ListError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { index, len } => write!(f, "slot {index} of a shared list that has {len}"),
            Self::TooLarge { index, len, capacity } => {
                write!(f, "an item of {len} bytes for slot {index} of a shared list, which has {capacity}")
            }
            Self::Lock(error) => error.fmt(f),
            Self::Damaged { index } => {
                write!(f, "slot {index} of a shared list holds no item: somebody wrote over it")
            }
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl Error for ListError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::OutOfRange { .. } | Self::TooLarge { .. } | Self::Damaged { .. } => None,
        }
    }
}

impl From<ShmError> for ListError {
    fn from(error: ShmError) -> Self {
        Self::Memory(error)
    }
}
