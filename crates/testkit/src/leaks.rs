//! Leak counting: what a process holds before and after, and what did not come back.
//!
//! Counted are the open descriptors, the bytes mapped from shared memory, the names in `/dev/shm` and in the
//! temporary directory that begin with a given prefix, and the descendants, zombies included.
//!
//! Invariants: descriptors are compared by kind (what `/proc/self/fd` shows, without the inode), so that a
//! runtime may replace one socket by another; processes and names are compared one by one. What dies
//! asynchronously is waited for, so a leak is what is still there at the limit. Tests that run beside would
//! be counted as well: [`counted`] therefore has the process for itself, see [`turn`].
//!
//! Not seen: threads, private memory, and processes whose parent has ended.

mod snapshot;

use std::fmt;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::path::test_path;
use crate::processes::{Identity, State};
use crate::watchdog::{LIMIT, Watchdog};
use crate::{poll, turn};

pub use snapshot::Leaks;

/// How long [`counted`] waits for everything to come back unless told otherwise.
pub const RETURN_LIMIT: Duration = Duration::from_secs(10);

/// Runs the body of a test alone in the process, twice, and fails if the second run leaves anything behind.
///
/// The first run is the warm-up: what a runtime creates once per process and keeps is there before the
/// count begins. [`Counted`] has the options.
///
/// # Blocking
/// Until every other test of the binary has ended its turn; then as the body does, under a watchdog.
///
/// # Panics
/// As the body does; and when something leaked, naming each thing, after [`RETURN_LIMIT`].
///
/// ```
/// procession_testkit::counted(|| {
///     let file = std::fs::File::open("/proc/self/stat").unwrap();
///     drop(file); // std::mem::forget(file) would fail here
/// });
/// ```
pub fn counted(body: impl FnMut()) {
    Counted::new().run(body);
}

/// A leak-counting test and its options; [`counted`] is the plain form.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `run`"]
pub struct Counted {
    prefixes: Vec<String>,
    allowed: Vec<String>,
    limit: Duration,
    watchdog: Duration,
    warm_ups: u32,
}

impl Counted {
    /// One warm-up, no names, [`RETURN_LIMIT`] and a watchdog of [`LIMIT`].
    pub fn new() -> Self {
        Self { prefixes: Vec::new(), allowed: Vec::new(), limit: RETURN_LIMIT, watchdog: LIMIT, warm_ups: 1 }
    }

    /// Also counts the names in `/dev/shm` and in the temporary directory that begin with `prefix`.
    ///
    /// Other processes make names there as well: the prefix should hold this process's id.
    pub fn names(mut self, prefix: impl Into<String>) -> Self {
        self.prefixes.push(prefix.into());
        self
    }

    /// Lets pass what [`Leak`] describes with a text that contains `text`.
    pub fn allow(mut self, text: impl Into<String>) -> Self {
        self.allowed.push(text.into());
        self
    }

    /// How long to wait for everything to come back.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long the whole test may run.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = limit;
        self
    }

    /// How often the body runs before the run that is counted.
    pub fn warm_ups(mut self, runs: u32) -> Self {
        self.warm_ups = runs;
        self
    }

    /// Runs the test: see [`counted`].
    ///
    /// # Panics
    /// As the body does; when something leaked; and inside another turn of the same thread.
    pub fn run(self, mut body: impl FnMut()) {
        let _turn = turn::exclusive();
        let _watchdog = Watchdog::start(test_path(), self.watchdog);
        for _ in 0..self.warm_ups {
            body();
        }
        let before = Leaks::with_names(self.prefixes);
        body();
        if let Err(leaked) = before.check_except(self.limit, &self.allowed) {
            panic!("{leaked}");
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::new()
    }
}

impl Leaks {
    /// Waits until everything that was not there at the snapshot is gone.
    ///
    /// # Blocking
    /// Up to `limit`: on the pidfds of processes that still run, and at a tick for what has no event.
    ///
    /// # Errors
    /// What is still there at the limit.
    pub fn check(&self, limit: Duration) -> Result<(), Leaked> {
        self.check_except(limit, &[])
    }

    fn check_except(&self, limit: Duration, allowed: &[String]) -> Result<(), Leaked> {
        let deadline = Instant::now() + limit;
        let mut tick = Duration::from_millis(1);
        loop {
            let mut items = self.compare();
            items.retain(|item| {
                let text = item.to_string();
                !allowed.iter().any(|allowed| text.contains(allowed))
            });
            if items.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Leaked { items, limit });
            }
            wait(&items, deadline.min(Instant::now() + tick));
            tick = poll::TICK.min(tick * 2);
        }
    }
}

/// Waits for the death of a process that still runs, at most until the deadline.
fn wait(items: &[Leak], deadline: Instant) {
    let handles: Vec<_> = items.iter().filter_map(Leak::runs).filter_map(Identity::open).collect();
    let mut fds: Vec<_> = handles.iter().map(|handle| PollFd::new(handle, PollFlags::IN)).collect();
    poll::until(&mut fds, deadline);
}

/// What a test left behind. Its text names each thing on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaked {
    items: Vec<Leak>,
    limit: Duration,
}

impl Leaked {
    /// Each thing that did not come back.
    #[must_use]
    pub fn items(&self) -> &[Leak] {
        &self.items
    }
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} leaked and did not come back within {:?}:", self.items.len(), self.limit)?;
        self.items.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

impl std::error::Error for Leaked {}

/// One thing that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leak {
    /// An open descriptor.
    Descriptor {
        /// Its number.
        fd: RawFd,
        /// What `/proc/self/fd` says it is.
        target: String,
    },
    /// A mapping of a memfd, of a name in `/dev/shm` or of anonymous shared memory.
    Mapping {
        /// The name of what is mapped.
        path: String,
        /// The addresses, as `/proc/self/maps` has them.
        range: String,
        /// The size in bytes.
        bytes: u64,
    },
    /// A name in `/dev/shm` or in the temporary directory.
    Name(PathBuf),
    /// A child, or a child of a child.
    Process {
        /// Which.
        identity: Identity,
        /// What it was doing when it was last looked at.
        state: State,
        /// Its command name.
        comm: String,
        /// Its command line; empty for a zombie.
        command: String,
    },
}

impl Leak {
    /// The process that is worth waiting for: one that has not ended.
    fn runs(&self) -> Option<Identity> {
        match self {
            Self::Process { identity, state, .. } if !state.is_ended() => Some(*identity),
            _ => None,
        }
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor { fd, target } => write!(f, "descriptor {fd} -> {target}"),
            Self::Mapping { path, range, bytes } => write!(f, "mapping {range} of {path}, {bytes} bytes"),
            Self::Name(path) => write!(f, "name {}", path.display()),
            Self::Process { identity, state, comm, command } => {
                write!(f, "child {} ({comm}), {state:?}, command: {command}", identity.pid())
            }
        }
    }
}
