//! How a process ended.

use std::fmt;

use crate::signal::Signal;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// It left by itself, with this code (0–255).
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
    /// It ended, but somebody else took its status: another part of this program waited for every child, or ignores
    /// `SIGCHLD`. Never a guess.
    Unknown,
}

impl Exit {
    /// Whether it left by itself with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// Python's `exitcode`: the code, or the negative signal number; `None` when the status was lost.
    #[doc(alias = "exitcode")]
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal { signal, .. } => Some(-signal.0),
            Self::Unknown => None,
        }
    }

    /// The signal that ended it, where one did.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// From the status word of `wait(2)`, as the kernel also gives it for a process that somebody else waited for.
    pub(crate) fn from_wait_status(status: i32) -> Self {
        let signal = status & 0x7f;
        if signal == 0 {
            Self::Code((status >> 8) & 0xff)
        } else {
            Self::Signal { signal: Signal(signal), core_dumped: status & 0x80 != 0 }
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            Self::Signal { signal, core_dumped: true } => write!(f, "killed by {signal}, core dumped"),
            Self::Unknown => f.write_str("ended, its status was taken by somebody else"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words() {
        assert_eq!(Exit::from_wait_status(0), Exit::Code(0));
        assert_eq!(Exit::from_wait_status(7 << 8).code(), Some(7));
        assert_eq!(Exit::from_wait_status(9).code(), Some(-9));
        assert_eq!(
            Exit::from_wait_status(6 | 0x80),
            Exit::Signal { signal: Signal::ABRT, core_dumped: true }
        );
    }
}
