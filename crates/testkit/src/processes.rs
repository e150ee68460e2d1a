//! Processes as a test sees them: alive, ended, gone, and whose children they are.
//!
//! Invariants: a process is named by its [`Identity`], pid and start time, so that a number which the
//! kernel gave to somebody else is never taken for the old process. Waiting is done on a pidfd; a tick is
//! used only for what the kernel has no event for. Signals go through a pidfd whose identity was checked
//! after it was opened.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

pub use rustix::process::Signal;

use crate::poll;
use crate::procfs::{self, Stat};

/// What a process is doing, as the third field of `/proc/<pid>/stat` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Runs or is ready to run.
    Running,
    /// Waits and can be interrupted.
    Sleeping,
    /// Waits and cannot be interrupted.
    DiskSleep,
    /// Stopped by a signal.
    Stopped,
    /// Stopped by its tracer.
    Traced,
    /// Ended, and its parent has not asked for the status.
    Zombie,
    /// Ended and about to vanish.
    Dead,
    /// Any other letter.
    Other(char),
}

impl State {
    /// Whether a process in this state has ended.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Zombie | Self::Dead)
    }

    pub(crate) fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' => Self::Sleeping,
            'D' => Self::DiskSleep,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' => Self::Zombie,
            'X' | 'x' => Self::Dead,
            other => Self::Other(other),
        }
    }
}

/// One process for all time: its pid and the moment it started.
///
/// ```
/// use procession_testkit::processes::{self, Identity};
///
/// let me = Identity::of(std::process::id()).unwrap();
/// assert!(me.is_alive());
/// assert_eq!(processes::start_time(me.pid()), Some(me.start()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    pid: u32,
    start: u64,
}

impl Identity {
    /// The identity of the process that has the number `pid` now, also of a zombie; `None` when there is
    /// none.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        procfs::stat(pid).map(|stat| Self::from(&stat))
    }

    /// The process id.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since boot.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// What this very process is doing; `None` once it is gone, whoever has its number now.
    #[must_use]
    pub fn state(self) -> Option<State> {
        self.stat().map(|stat| stat.state)
    }

    /// Whether it still runs: it exists and is not a zombie.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.state().is_some_and(|state| !state.is_ended())
    }

    /// Waits until it has ended, reaped or not.
    ///
    /// Returns whether it has; `false` means that `limit` passed first.
    ///
    /// # Blocking
    /// Up to `limit`, on the process's pidfd.
    #[must_use]
    pub fn wait_ended(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let Some(handle) = self.open() else { return true };
        poll::until(&mut [PollFd::new(&handle, PollFlags::IN)], deadline)
    }

    /// Waits until it has ended and been reaped, so that nothing of it is left.
    ///
    /// Returns whether it has; `false` means that `limit` passed first. A zombie child of the caller stays
    /// until somebody asks for its status.
    ///
    /// # Blocking
    /// Up to `limit`: on the pidfd until the process ends, then for its reaping, which older kernels have no
    /// event for, at a tick.
    #[must_use]
    pub fn wait_gone(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let Some(handle) = self.open() else { return true };
        if !poll::until(&mut [PollFd::new(&handle, PollFlags::IN)], deadline) {
            return false;
        }
        while self.state().is_some() {
            if Instant::now() >= deadline {
                return false;
            }
            // With no events asked for, only the hang-up of a reaped process ends the wait early.
            let tick = deadline.min(Instant::now() + poll::TICK);
            poll::until(&mut [PollFd::new(&handle, PollFlags::empty())], tick);
        }
        true
    }

    /// Sends it `signal`.
    ///
    /// # Errors
    /// `ESRCH` when this very process is gone, whoever has its number now; else what the kernel says.
    pub fn kill(self, signal: Signal) -> io::Result<()> {
        let handle = self.open().ok_or(rustix::io::Errno::SRCH)?;
        Ok(pidfd_send_signal(handle, signal)?)
    }

    /// A pidfd of this very process; `None` once it is gone.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The number may have changed hands before the open; after it, the descriptor pins the process.
        self.stat().map(|_| handle)
    }

    fn stat(self) -> Option<Stat> {
        procfs::stat(self.pid).filter(|stat| stat.start == self.start)
    }
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { pid: stat.pid, start: stat.start }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} started at tick {}", self.pid, self.start)
    }
}

/// Whether a process with this number exists and is not a zombie.
#[must_use]
pub fn alive(pid: u32) -> bool {
    Identity::of(pid).is_some_and(Identity::is_alive)
}

/// What the process with this number is doing; `None` when there is none.
#[must_use]
pub fn state(pid: u32) -> Option<State> {
    procfs::stat(pid).map(|stat| stat.state)
}

/// When the process with this number started, in clock ticks since boot; `None` when there is none.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    Identity::of(pid).map(Identity::start)
}

/// The children of `pid`, zombies included.
#[must_use]
pub fn children(pid: u32) -> Vec<Identity> {
    procfs::all().iter().filter(|stat| stat.parent == pid).map(Identity::from).collect()
}

/// The children of `pid`, their children and so on, zombies included, each after its parent.
///
/// A process whose parent ended belongs to somebody else and is not found.
#[must_use]
pub fn descendants(pid: u32) -> Vec<Identity> {
    family(pid).iter().map(Identity::from).collect()
}

/// Waits until the process that has the number `pid` now is ended and reaped: [`Identity::wait_gone`].
///
/// # Blocking
/// Up to `limit`.
#[must_use]
pub fn wait_gone(pid: u32, limit: Duration) -> bool {
    Identity::of(pid).is_none_or(|process| process.wait_gone(limit))
}

/// Sends `signal` to the process that has the number `pid` now.
///
/// # Errors
/// `ESRCH` when there is none; else what the kernel says.
pub fn kill(pid: u32, signal: Signal) -> io::Result<()> {
    Identity::of(pid).ok_or(rustix::io::Errno::SRCH)?.kill(signal)
}

/// The stat lines of the descendants of `pid`, each after its parent.
pub(crate) fn family(pid: u32) -> Vec<Stat> {
    let mut rest = procfs::all();
    let mut found: Vec<Stat> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for child in rest.extract_if(.., |stat| stat.parent == parent) {
            parents.push(child.pid);
            found.push(child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_other_hands_is_not_the_old_process() {
        let me = Identity::of(std::process::id()).expect("this process");
        let former = Identity { start: me.start - 1, ..me };
        assert_eq!(former.state(), None);
        assert!(!former.is_alive() && former.wait_ended(Duration::ZERO) && former.wait_gone(Duration::ZERO));
        let refused = former.kill(Signal::KILL).expect_err("this process is somebody else");
        assert_eq!(refused.raw_os_error(), Some(libc::ESRCH));
    }
}
