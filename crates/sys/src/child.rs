//! A child process of ours: its number, its pidfd, its status. Any number of threads may wait for it.
//!
//! Invariants: the status is taken from the kernel exactly once, under the lock, and kept; a signal is sent only while
//! the child has not been waited for, so never to a stranger with the same number. Where pidfds are missing (Linux
//! before 5.3, or forced off) waits look every few milliseconds. Held by `tests/hook.rs` and by the
//! contract suite of `procession-process`, which runs with and without pidfds.
//!
//! # Safety
//! One unsafe call is an `ioctl` that writes into a structure of the size its number announces; the other is `_exit`.
#![allow(unsafe_code, reason = "PIDFD_GET_INFO has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::caps::{self, Capability};
use crate::poll::{self, Interest};
use crate::signal::Signal;
use crate::status::Exit;
use crate::{Deadline, OsError, Result};

/// How long to pause between looks where the kernel has no event that tells of a death.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A child process that this process must wait for.
///
/// Send and Sync; not Clone. Dropping it neither ends nor waits for the child: that is for the layer above.
#[derive(Debug)]
pub struct Child {
    pub(crate) pid: Pid,
    pidfd: Option<OwnedFd>,
    exit: Mutex<Option<Exit>>,
}

impl Child {
    /// Takes charge of the child `pid`, just started and not yet waited for.
    pub(crate) fn adopt(pid: Pid) -> Self {
        let (pidfd, exit) = match open(pid) {
            Ok(pidfd) => (pidfd, None),
            // Somebody else has waited for it, so its number may be a stranger's: never to be signalled or waited for.
            Err(e) if e.errno() == Some(libc::ESRCH) => (None, Some(Exit::Unknown)),
            // No descriptor is left for it: it goes by its number, which is its own until we wait for it.
            Err(_) => (None, None),
        };
        Self { pid, pidfd, exit: Mutex::new(exit) }
    }

    /// The process number.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The pidfd: readable once the child has ended. `None` where the kernel gives none.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Sends `signal`; `false` if the child has ended already, which is not an error.
    pub fn signal(&self, signal: Signal) -> Result<bool> {
        let exit = self.exit();
        if exit.is_some() {
            return Ok(false);
        }
        let doing = || format!("sending {signal} to process {}", self.pid());
        let named = rustix::process::Signal::from_named_raw(signal.0)
            .ok_or_else(|| OsError::new(doing(), io::Error::from(io::ErrorKind::InvalidInput)))?;
        let sent = match &self.pidfd {
            Some(pidfd) => rustix::process::pidfd_send_signal(pidfd, named),
            // The lock is held and the child not waited for: the number is still its own.
            None => rustix::process::kill_process(self.pid, named),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(e) => Err(OsError::new(doing(), e)),
        }
    }

    /// How the child ended, if it has. Never blocks. Takes a finished child out of the process table.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        let mut exit = self.exit();
        if exit.is_none() {
            *exit = self.reap()?;
        }
        Ok(*exit)
    }

    /// Waits until the child has ended, or `deadline` (then `None`). Any number of threads at once.
    pub fn wait(&self, deadline: Deadline) -> Result<Option<Exit>> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            match &self.pidfd {
                Some(pidfd) => drop(poll::ready(&[(pidfd.as_fd(), Interest::Readable)], deadline)?),
                // To block on a bare number would be to wait for a stranger, should another thread have waited first and
                // the number have been given out again.
                None => {
                    std::thread::sleep(deadline.remaining().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)));
                }
            }
        }
    }

    pub(crate) fn exit(&self) -> MutexGuard<'_, Option<Exit>> {
        // The value is a plain copy written in one assignment: a panic elsewhere cannot leave it half made.
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) -> Result<Option<Exit>> {
        loop {
            let whom = match &self.pidfd {
                Some(pidfd) => WaitId::PidFd(pidfd.as_fd()),
                None => WaitId::Pid(self.pid),
            };
            match rustix::process::waitid(whom, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(status) => return Ok(status.map(|status| exit_of(&status))),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => return Ok(self.after_somebody_else()),
                Err(e) => return Err(OsError::new(format!("waiting for process {}", self.pid()), e)),
            }
        }
    }

    /// Not ours to wait for any more: with a pidfd the kernel may still tell how it ended; without, we never guess.
    #[cold]
    fn after_somebody_else(&self) -> Option<Exit> {
        let Some(pidfd) = &self.pidfd else { return Some(Exit::Unknown) };
        if let Some(exit) = kept_status(pidfd.as_fd()) {
            return Some(exit);
        }
        let ended =
            poll::ready(&[(pidfd.as_fd(), Interest::Readable)], Deadline::now()).is_ok_and(|ready| ready[0]);
        ended.then_some(Exit::Unknown)
    }
}

/// A pidfd of the running process `pid`; `None` where the kernel has no pidfds.
fn open(pid: Pid) -> Result<Option<OwnedFd>> {
    if !caps::has(Capability::Pidfd) {
        return Ok(None);
    }
    let number = pid.as_raw_nonzero();
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    pidfd.map(Some).map_err(|e| OsError::new(format!("opening a pidfd of process {number}"), e))
}

/// A pidfd of this process, for children that must end with it; `None` where the kernel has no pidfds.
pub fn own_pidfd() -> Result<Option<OwnedFd>> {
    open(rustix::process::getpid())
}

fn exit_of(status: &WaitIdStatus) -> Exit {
    if let Some(code) = status.exit_status() {
        return Exit::Code(code);
    }
    match status.terminating_signal() {
        Some(signal) => Exit::Signal { signal: Signal(signal), core_dumped: status.dumped() },
        None => Exit::Unknown,
    }
}

/// `struct pidfd_info` of `linux/pidfd.h`, first version (64 bytes).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);
const INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xff, 11, struct pidfd_info)` for the first version's size.
const GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xff << 8) | 11;

/// How a process ended that has been waited for, from Linux 6.15 on.
fn kept_status(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the size of `PidfdInfo`, and the kernel writes at most that much into it.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & INFO_EXIT != 0).then(|| Exit::from_wait_status(info.exit_code))
}

/// Ends this process at once: no exit handlers, no flushing, all threads.
pub fn end_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(code) }
}
