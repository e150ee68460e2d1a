//! Why the lock of a value was not taken.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use crate::domain::Participant;

/// Why the lock of a [`Value`](crate::Value) was not taken. The value is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueError {
    /// The calling thread holds it already, by a guard or in an `update`.
    Deadlock,
    /// The domain's table of participants is full, or the thread is ending.
    NoSlot,
    /// Another thread holds it, and the time is up; at once, for the `try_` forms.
    TimedOut {
        /// Who held it at that moment; `None` if it has ended since.
        holder: Option<Participant>,
    },
}

impl Display for ValueError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock => f.write_str("locking a shared value: this thread holds its lock already"),
            Self::NoSlot => {
                f.write_str("locking a shared value: this thread has no place in the domain of its users")
            }
            Self::TimedOut { holder: Some(holder) } => {
                write!(f, "locking a shared value: the time is up, and {holder} holds its lock")
            }
            Self::TimedOut { holder: None } => {
                f.write_str("locking a shared value: the time is up, and its lock was held until then")
            }
        }
    }
}

impl Error for ValueError {}
