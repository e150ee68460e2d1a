//! What can be said about a domain: who died, how full it is, and which mechanisms tell a death here.
//!
//! Invariant: a report is a snapshot and claims nothing about the next instant.

use std::fmt;
use std::time::Duration;

use procession_sys::caps::{self, Capability};
use procession_sys::fork::{self, Detection};
use procession_sys::life::SlotOwner;
use serde::{Deserialize, Serialize};

/// A thread that takes part in a domain, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Participant {
    /// The number of its process, in its own pid namespace.
    pub pid: u32,
    /// The number of the thread, in its own pid namespace.
    pub tid: u32,
    /// The inode of that namespace, as in `/proc/PID/ns/pid`; 0 if it could not be known.
    pub namespace: u64,
    /// Start time of the thread in clock ticks since boot; 0 if it could not be known.
    pub started: u64,
}

impl Participant {
    /// The number of its process, in its own pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl From<SlotOwner> for Participant {
    fn from(owner: SlotOwner) -> Self {
        Self { pid: owner.pid, tid: owner.tid, namespace: owner.namespace, started: owner.thread_started }
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} of process {} (pid namespace {})", self.tid, self.pid, self.namespace)
    }
}

/// How many slots of a domain are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// Belong to threads that are alive, as far as is known without asking.
    pub living: u32,
    /// Belonged to threads that were ended, and can be taken.
    pub dead: u32,
    /// Never used, or left.
    pub free: u32,
}

/// How deaths are told in one domain, as this process sees it. Displays in a few lines, for reports of trouble.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnostics {
    /// What the kernel gives.
    pub system: caps::Diagnostics,
    /// Whether the kernel marks the death of threads that join here; else their identity proves it, at ticks.
    pub kernel_tells: bool,
    /// Whether a sleeper is woken by the death it waits for; else it looks at ticks.
    pub death_wakes: bool,
    /// How a fork is noticed.
    pub fork: Detection,
    /// How long a wait sleeps before it looks again.
    pub tick: Duration,
    /// Whether this process tells others of the deaths it learns of.
    pub obituary: bool,
    /// How full the domain is.
    pub occupancy: Occupancy,
    /// Whether threads of several pid namespaces, or of one that is unknown, have joined.
    pub mixed_namespaces: bool,
}

impl Diagnostics {
    pub(super) fn new(tick: Duration, obituary: bool, occupancy: Occupancy, mixed_namespaces: bool) -> Self {
        Self {
            system: caps::diagnostics(),
            kernel_tells: caps::has(Capability::RobustList),
            death_wakes: caps::has(Capability::RobustList) && caps::has(Capability::Waitv),
            fork: fork::detection(),
            tick,
            obituary,
            occupancy,
            mixed_namespaces,
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tells = if self.kernel_tells { "the kernel" } else { "their identity, at ticks" };
        writeln!(f, "deaths are told by: {tells}")?;
        writeln!(f, "sleepers are woken by a death: {}", if self.death_wakes { "yes" } else { "at ticks" })?;
        let fork = match self.fork {
            Detection::WipedPage => "a page that is wiped",
            _ => "the number of the process",
        };
        writeln!(f, "forks are noticed by: {fork}")?;
        writeln!(f, "tick: {:?}", self.tick)?;
        writeln!(f, "obituary: {}", if self.obituary { "on" } else { "switched off" })?;
        let Occupancy { living, dead, free } = self.occupancy;
        writeln!(f, "slots: {living} living, {dead} dead, {free} free")?;
        let mixed = if self.mixed_namespaces { "several, or unknown" } else { "one" };
        writeln!(f, "pid namespaces: {mixed}")?;
        write!(f, "{}", self.system)
    }
}
