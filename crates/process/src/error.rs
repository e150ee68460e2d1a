//! What can go wrong between two processes, as values to branch on.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use procession_codec::{DecodeError, EncodeError};
use procession_sys::OsError;
use procession_sys::limits::Resource;
use procession_sys::signal::Signal;
use procession_sys::status::Exit;
use serde::{Deserialize, Serialize};

use crate::failure::TaskFailure;

/// Why no child was started. Nothing was: there is no process, and handles in the argument are still ours.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The argument does not encode.
    Argument(EncodeError),
    /// A setting of the [`Builder`](crate::Builder) was refused.
    Setting {
        /// Which.
        setting: Setting,
        /// What was to be set to what, and why it was refused.
        error: OsError,
    },
    /// This process was to be [forked](crate::StartMethod::Fork), and has more than one thread: what the others hold at that
    /// moment, a lock of a library for instance, nobody in the child would ever let go. See
    /// [`allow_threads`](crate::Builder::allow_threads).
    Threads {
        /// How many threads it has.
        n: usize,
    },
    /// The system refused: processes, memory or descriptors have run out, or this program cannot be started again.
    Os(OsError),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(e) => write!(f, "encoding the argument of a child: {e}"),
            Self::Threads { n } => write!(
                f,
                "forking a process with {n} threads; start the child by another method, or allow it with `allow_threads`"
            ),
            Self::Setting { error: e, .. } | Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for SpawnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Argument(e) => Some(e),
            Self::Threads { .. } => None,
            Self::Setting { error: e, .. } | Self::Os(e) => Some(e.os_error()),
        }
    }
}

/// A setting of a process that is still to be started, in [`SpawnError::Setting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// The file it is started from: [`program`](crate::Builder::program).
    Program,
    /// A variable of its environment: [`env`](crate::Builder::env), [`env_remove`](crate::Builder::env_remove).
    Environment,
    /// The directory it works in: [`current_dir`](crate::Builder::current_dir).
    Directory,
    /// Its standard input, output or error: [`stdin`](crate::Builder::stdin) and the others.
    Stdio,
    /// The processors it may run on: [`affinity`](crate::Builder::affinity).
    Affinity,
    /// Its [`niceness`](crate::Builder::niceness).
    Niceness,
    /// A [`limit`](crate::Builder::limit).
    Limit(Resource),
    /// The group it is in: [`process_group`](crate::Builder::process_group).
    ProcessGroup,
}

impl From<OsError> for SpawnError {
    fn from(error: OsError) -> Self {
        Self::Os(error)
    }
}

/// Which process an error speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The name given, or `Process-N`.
    pub name: String,
    /// The process number it had.
    pub pid: u32,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (pid {})", self.name, self.pid)
    }
}

/// A panic that happened in a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// What it said; `Box<dyn Any>` for a payload that is no text.
    pub message: String,
    /// `file:line:column`, or `unknown location` where the task replaced our panic hook.
    pub location: String,
    /// The thread that panicked.
    pub thread: String,
    /// The backtrace in the child, at most 16 KiB of it.
    pub backtrace: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at {}: {}", self.location, self.message)
    }
}

/// A likely reason for a death by signal. A guess, and said to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(Cow<'static, str>);

impl Hint {
    /// What such an end most often means, where it was a signal that means something.
    pub fn of(exit: Exit) -> Option<Self> {
        exit.signal().and_then(Self::for_signal)
    }

    fn for_signal(signal: Signal) -> Option<Self> {
        let text = match signal {
            Signal::KILL => "kill -9 by somebody, or the kernel's out-of-memory killer (see dmesg)",
            Signal::SEGV | Signal::BUS => "a memory error in unsafe or foreign code, or a stack overflow",
            Signal::ABRT => "abort(), a failed allocation, or a panic that could not unwind",
            Signal::TERM => "somebody asked it to end",
            Signal::INT => "Ctrl-C reaches every process of the terminal",
            Signal::ILL | Signal::TRAP => "code compiled for another processor, or an intrinsic abort",
            Signal::XCPU => "its limit of processor time (ulimit -t)",
            Signal::SYS => "a sandbox that forbids a system call",
            _ => return None,
        };
        Some(Self(Cow::Borrowed(text)))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a child gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked.
    Panicked(Panic),
    /// The task returned an error (only from `join_flat`; `join` returns it as the value it is).
    Failed(TaskFailure),
    /// A signal ended the child.
    Killed {
        /// Which process.
        who: Who,
        /// The signal.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
        /// What such a death most often means.
        hint: Option<Hint>,
    },
    /// The task ended the child by itself, for instance with `std::process::exit`, before returning a value.
    Exited {
        /// Which process.
        who: Who,
        /// The exit code.
        code: i32,
    },
    /// The child ended before it could take its task.
    NeverStarted {
        /// Which process.
        who: Who,
        /// How it ended.
        exit: Exit,
    },
    /// The child did not report within its start timeout and was killed.
    NoHandshake {
        /// Which process.
        who: Who,
        /// The timeout.
        after: Duration,
    },
    /// What was started is another build of the program: functions cannot be called across.
    NotSameImage {
        /// Which process.
        who: Who,
        /// What differs.
        difference: String,
    },
    /// The child started, but could not come so far as to run its task: memory, descriptors or threads have run out
    /// there.
    NotRun {
        /// Which process.
        who: Who,
        /// What was missing.
        error: String,
    },
    /// The child could not decode its argument: the type's `Deserialize` refuses what its `Serialize` wrote.
    Argument {
        /// Which process.
        who: Who,
        /// What the decoder said.
        error: String,
    },
    /// The task returned, but its value does not encode.
    ResultNotEncoded {
        /// Which process.
        who: Who,
        /// What the encoder said.
        error: String,
    },
    /// The task returned a value that does not decode here.
    ResultNotDecoded {
        /// Which process.
        who: Who,
        /// Why.
        error: DecodeError,
    },
    /// The child ended, but another part of this program took its status (it waits for every child, or ignores
    /// `SIGCHLD`), and no value had arrived.
    StatusLost {
        /// Which process.
        who: Who,
    },
    /// Another call took the value.
    AlreadyTaken {
        /// Which process.
        who: Who,
    },
    /// What the child wrote on its private channel makes no sense.
    Garbled {
        /// Which process.
        who: Who,
        /// What was wrong.
        error: String,
    },
    /// The system failed us.
    Os(OsError),
}

impl JoinError {
    /// The panic, if one it was.
    pub fn panic(&self) -> Option<&Panic> {
        if let Self::Panicked(panic) = self { Some(panic) } else { None }
    }

    /// The signal that ended the child, where one did.
    pub fn signal(&self) -> Option<Signal> {
        if let Self::Killed { signal, .. } = self { Some(*signal) } else { None }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => panic.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
            Self::Killed { who, signal, core_dumped, hint } => {
                let dump = if *core_dumped { ", core dumped" } else { "" };
                write!(f, "{who} was killed by {signal}{dump}")?;
                hint.as_ref().map_or(Ok(()), |hint| write!(f, " (likely: {hint})"))
            }
            Self::Exited { who, code } => write!(f, "{who} exited with code {code} before returning a value"),
            Self::NeverStarted { who, exit } => write!(f, "{who} {exit} before it could take its task"),
            Self::NoHandshake { who, after } => write!(
                f,
                "{who} did not report within {after:?} and was killed; if this program's linker drops constructors, \
                 call `procession::init()` first in `main`"
            ),
            Self::NotSameImage { who, difference } => {
                write!(f, "{who} runs another build of this program: {difference}")
            }
            Self::NotRun { who, error } => write!(f, "{who} could not run its task: {error}"),
            Self::Argument { who, error } => write!(f, "{who} could not decode its argument: {error}"),
            Self::ResultNotEncoded { who, error } => write!(f, "{who} could not encode its result: {error}"),
            Self::ResultNotDecoded { who, error } => write!(f, "decoding the result of {who}: {error}"),
            Self::StatusLost { who } => {
                write!(f, "{who} ended, but another part of this program took its exit status")
            }
            Self::AlreadyTaken { who } => write!(f, "the value of {who} was taken by an earlier call"),
            Self::Garbled { who, error } => write!(f, "{who} wrote garbage on its channel: {error}"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(failure) => failure.source(),
            Self::ResultNotDecoded { error, .. } => Some(error),
            Self::Os(e) => Some(e.os_error()),
            _ => None,
        }
    }
}

impl From<OsError> for JoinError {
    fn from(error: OsError) -> Self {
        Self::Os(error)
    }
}
