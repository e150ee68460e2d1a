//! The limits of this process, and the one we move: how many descriptors it may have open.

use std::sync::OnceLock;
use std::{fmt, fs};

use rustix::process::{self, Rlimit, getrlimit, setrlimit};

use crate::{OsError, Result};

/// A limit: what binds now, and how far the process itself may raise that. `None` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What binds now.
    pub soft: Option<u64>,
    /// The most that `soft` can be set to without privilege.
    pub hard: Option<u64>,
}

impl Limit {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { soft: None, hard: None };

    pub(crate) fn to_raw(self) -> Rlimit {
        Rlimit { current: self.soft, maximum: self.hard }
    }
}

/// As what binds and as its own maximum: it cannot be raised again without privilege.
impl From<u64> for Limit {
    fn from(limit: u64) -> Self {
        Self { soft: Some(limit), hard: Some(limit) }
    }
}

macro_rules! resources {
    ($($name:ident $raw:ident $full:literal $text:literal;)*) => {
        /// What a process may have only so much of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Resource {
            $(#[doc = concat!($text, " (`", $full, "`).")]
            $name,)*
        }

        impl Resource {
            pub(crate) fn to_raw(self) -> process::Resource {
                match self {
                    $(Self::$name => process::Resource::$raw,)*
                }
            }

            /// The name that the system gives to the limit: `RLIMIT_NOFILE`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $full,)*
                }
            }
        }
    };
}

resources! {
    AddressSpace As "RLIMIT_AS" "Bytes of address space";
    CoreDump Core "RLIMIT_CORE" "Bytes of a core dump";
    Data Data "RLIMIT_DATA" "Bytes of memory that can be written and is not shared";
    Descriptors Nofile "RLIMIT_NOFILE" "One more than the highest descriptor number";
    FileSize Fsize "RLIMIT_FSIZE" "Bytes of a file, shared memory included";
    LockedMemory Memlock "RLIMIT_MEMLOCK" "Bytes locked in memory";
    Processes Nproc "RLIMIT_NPROC" "Processes and threads of the user";
    ProcessorTime Cpu "RLIMIT_CPU" "Seconds of processor time; then `SIGXCPU`, and at the hard limit `SIGKILL`";
    Stack Stack "RLIMIT_STACK" "Bytes of the main thread's stack, and of the thread that runs a task";
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The limits that matter to processes which share memory and descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// One more than the highest descriptor number (`RLIMIT_NOFILE`).
    pub descriptors: Limit,
    /// Bytes of address space (`RLIMIT_AS`).
    pub address_space: Limit,
    /// Bytes of a file, shared memory included (`RLIMIT_FSIZE`).
    pub file_size: Limit,
    /// Processes and threads of this user (`RLIMIT_NPROC`).
    pub processes: Limit,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    pub core_dump: Limit,
    /// Bytes of the main thread's stack (`RLIMIT_STACK`).
    pub stack: Limit,
}

/// The limits of this process now.
pub fn get() -> Limits {
    let limit = |resource: Resource| Limit::from(getrlimit(resource.to_raw()));
    Limits {
        descriptors: limit(Resource::Descriptors),
        address_space: limit(Resource::AddressSpace),
        file_size: limit(Resource::FileSize),
        processes: limit(Resource::Processes),
        core_dump: limit(Resource::CoreDump),
        stack: limit(Resource::Stack),
    }
}

/// How large the stack of a thread shall be that stands in for the main one, in bytes: what binds, from 2 MiB to 1 GiB.
pub fn task_stack() -> usize {
    const USUAL: u64 = 8 << 20;
    let limit = getrlimit(process::Resource::Stack).current.unwrap_or(USUAL);
    usize::try_from(limit.clamp(2 << 20, 1 << 30)).unwrap_or(8 << 20)
}

/// Raises the soft limit of open descriptors to the hard one, the first time it is called; says what binds then.
///
/// Later calls answer the same without looking, so a program that lowers its limit afterwards keeps its choice.
///
/// # Errors
/// The system's refusal; the limit is then as before.
///
/// # Examples
/// ```
/// let now = procession_sys::limits::raise_descriptor_limit()?;
/// assert_eq!(now.soft, now.hard);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn raise_descriptor_limit() -> Result<Limit> {
    static RAISED: OnceLock<std::result::Result<Limit, i32>> = OnceLock::new();
    RAISED
        .get_or_init(raise)
        .map_err(|errno| OsError::from_errno("raising the limit of open descriptors to its maximum", errno))
}

/// How many descriptors this process has open. Reads a directory, so it costs more the more there are.
///
/// # Errors
/// Where `/proc` is not mounted, or no descriptor is left to read it with.
pub fn open_descriptors() -> Result<usize> {
    let doing = "counting open descriptors in /proc/self/fd";
    let entries = fs::read_dir("/proc/self/fd").map_err(|error| OsError::new(doing, error))?;
    // One of them is the directory being read.
    Ok(entries.count().saturating_sub(1))
}

fn raise() -> std::result::Result<Limit, i32> {
    let now = getrlimit(process::Resource::Nofile);
    if now.current == now.maximum {
        return Ok(now.into());
    }
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    setrlimit(process::Resource::Nofile, wanted).map_err(rustix::io::Errno::raw_os_error)?;
    Ok(getrlimit(process::Resource::Nofile).into())
}

impl From<Rlimit> for Limit {
    fn from(limit: Rlimit) -> Self {
        Self { soft: limit.current, hard: limit.maximum }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.soft, self.hard) {
            (None, _) => f.write_str("unlimited"),
            (Some(soft), Some(hard)) if soft == hard => write!(f, "{soft}"),
            (Some(soft), Some(hard)) => write!(f, "{soft} of {hard}"),
            (Some(soft), None) => write!(f, "{soft} of unlimited"),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, address_space, file_size, processes, core_dump, stack } = self;
        write!(f, "descriptors {descriptors}, address space {address_space}, file size {file_size}, ")?;
        write!(f, "processes {processes}, core dump {core_dump}, stack {stack}")
    }
}
