//! Signals by name, and what this process does on some of them.
//!
//! # Safety
//! Only the two dispositions that run no code (`SIG_IGN`, `SIG_DFL`) are ever installed here, so no handler of ours
//! can meet a program in the middle of anything.
#![allow(unsafe_code, reason = "signal dispositions are set through libc")]

use std::{fmt, io};

use crate::{OsError, Result};

/// A signal's number, with names for the usual ones, usable as a pattern: `Signal::KILL`.
///
/// Displays as its name (`SIGKILL`), a real-time signal as `SIGRTMIN+3`, another one as `signal 77`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub i32);

macro_rules! signals {
    ($($name:ident $full:ident $text:literal;)*) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($full), "`: ", $text, ".")]
            pub const $name: Self = Self(libc::$full);)*

            /// The usual name, where the signal has one: `SIGKILL`.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($full)),)*
                    _ => None,
                }
            }

            /// What the signal means, in a few words, where it has a name.
            pub fn meaning(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HUP SIGHUP "the terminal is gone";
    INT SIGINT "interrupted from the keyboard";
    QUIT SIGQUIT "quit from the keyboard";
    ILL SIGILL "illegal instruction";
    TRAP SIGTRAP "trace or breakpoint trap";
    ABRT SIGABRT "aborted by the program itself";
    BUS SIGBUS "bus error: memory that is mapped but not there";
    FPE SIGFPE "arithmetic error";
    KILL SIGKILL "killed";
    USR1 SIGUSR1 "user signal 1";
    SEGV SIGSEGV "invalid memory access";
    USR2 SIGUSR2 "user signal 2";
    PIPE SIGPIPE "write to a pipe nobody reads";
    ALRM SIGALRM "alarm clock";
    TERM SIGTERM "asked to end";
    CHLD SIGCHLD "a child changed state";
    CONT SIGCONT "continue";
    STOP SIGSTOP "stopped";
    TSTP SIGTSTP "stopped from the keyboard";
    XCPU SIGXCPU "over the limit of processor time";
    XFSZ SIGXFSZ "over the limit of file size";
    SYS SIGSYS "a system call that is not allowed";
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = libc::SIGRTMIN();
        match self.name() {
            Some(name) => f.write_str(name),
            None if (first..=libc::SIGRTMAX()).contains(&self.0) => write!(f, "SIGRTMIN+{}", self.0 - first),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}

/// What a process does when a signal arrives, of what needs no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing.
    Ignore,
    /// What the system does by default.
    Default,
}

/// Sets what this process does on `signal`.
pub fn set(signal: Signal, disposition: Disposition) -> Result<()> {
    let action = match disposition {
        Disposition::Ignore => libc::SIG_IGN,
        Disposition::Default => libc::SIG_DFL,
    };
    // SAFETY: neither SIG_IGN nor SIG_DFL runs code of ours; a bad signal number is answered by an error.
    let before = unsafe { libc::signal(signal.0, action) };
    if before == libc::SIG_ERR {
        return Err(OsError::new(format!("setting what {signal} does"), io::Error::last_os_error()));
    }
    Ok(())
}

/// Ends this process as `kill -9` does: at this very place, nothing more is run.
pub fn die() -> ! {
    loop {
        // Nobody can be refused to signal himself.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        assert_eq!(Signal(libc::SIGRTMIN() + 2).to_string(), "SIGRTMIN+2");
        assert_eq!(Signal(99).to_string(), "signal 99");
        assert_eq!(Signal::TERM.meaning(), Some("asked to end"));
        assert!(matches!(Signal(6), Signal::ABRT));
    }

    #[test]
    fn an_impossible_signal_is_an_error() {
        assert!(set(Signal(0x7fff), Disposition::Ignore).is_err());
        assert!(set(Signal::KILL, Disposition::Ignore).is_err());
    }
}
