//! A child process of ours: its number, its pidfd, its status. Any number of threads may wait for it.
//!
//! Invariants: the status is taken from the kernel exactly once, under the lock, and kept; a signal is sent only while
//! the child has not been waited for, so never to a stranger with the same number. Where pidfds are missing (Linux
//! before 5.3, or forced off) waits look every few milliseconds. A child that a [fork server](crate::zygote) made is not
//! ours to wait for: the kernel remembers its status, or the server tells it. Held by `tests/hook.rs` and by the
//! contract suite of `procession-process`, which runs with and without pidfds.
//!
//! # Safety
//! The one unsafe call is `_exit`.
#![allow(unsafe_code, reason = "`_exit` has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

use crate::caps::{self, Capability};
use crate::poll::{self, Interest};
use crate::signal::Signal;
use crate::status::Exit;
use crate::zygote::{Report, Reported};
use crate::{Deadline, OsError, Result};

pub(crate) mod foreign;

/// How long to pause between looks where the kernel has no event that tells of a death.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How long whoever takes in the children of a dead fork server may take to wait for one of them.
const TAKEN_IN: Duration = Duration::from_millis(100);

/// A child process that this process, or its fork server, must wait for.
///
/// Send and Sync; not Clone. Dropping it neither ends nor waits for the child: that is for the layer above.
#[derive(Debug)]
pub struct Child {
    pub(crate) pid: Pid,
    pidfd: Option<OwnedFd>,
    exit: Mutex<Option<Exit>>,
    status: Status,
}

/// Where a child's status comes from.
#[derive(Debug)]
enum Status {
    /// We wait for it.
    Ours,
    /// Who made it waits for it, and reports.
    Reported(Reported),
    /// Nobody waits for it: the kernel clears it away when it ends, and remembers.
    Remembered,
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
        Self { pid, pidfd, exit: Mutex::new(exit), status: Status::Ours }
    }

    /// Takes charge of a child that a fork server has made and waits for.
    pub(crate) fn reported(pid: Pid, pidfd: OwnedFd, reported: Reported) -> Self {
        Self { pid, pidfd: Some(pidfd), exit: Mutex::new(None), status: Status::Reported(reported) }
    }

    /// Takes charge of a child that a fork server has made and leaves to the kernel to clear away.
    pub(crate) fn released(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd: Some(pidfd), exit: Mutex::new(None), status: Status::Remembered }
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

    /// How the child ended, if it has. Never blocks, but for the moment that a fork server takes to report a death (where the
    /// kernel does not: Linux before 6.15). Takes a finished child out of the process table.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        let mut exit = self.exit();
        if exit.is_none() {
            *exit = match &self.status {
                Status::Ours => self.reap()?,
                Status::Reported(reported) => self.hear(reported)?,
                Status::Remembered => self.remember()?,
            };
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

    /// What the fork server says.
    fn hear(&self, reported: &Reported) -> Result<Option<Exit>> {
        match reported.look(self.is_dead()) {
            Report::Ended(exit) => Ok(Some(exit)),
            Report::Awaited => Ok(None),
            Report::Lost => self.ask_after_the_server(),
        }
    }

    /// What the kernel remembers.
    fn remember(&self) -> Result<Option<Exit>> {
        if !self.is_dead() {
            return Ok(None);
        }
        let kept = self.pidfd.as_ref().and_then(|pidfd| foreign::kept(pidfd.as_fd()));
        // It is about to be cleared away; or it is an orphan, since the server died first.
        kept.map_or_else(|| self.ask_after_the_server(), |exit| Ok(Some(exit)))
    }

    /// The server has died first. The child is now somebody else's: ours, if orphans come to this process.
    #[cold]
    fn ask_after_the_server(&self) -> Result<Option<Exit>> {
        let (patience, mut is_waited_for) = (Deadline::after(TAKEN_IN), false);
        loop {
            match (self.reap()?, &self.pidfd) {
                (Some(Exit::Unknown), Some(pidfd)) if !is_waited_for && !patience.has_passed() => {
                    // That another has waited for it is an event (Linux 6.9), after which nothing new is told; that it has
                    // come to us is none.
                    is_waited_for = poll::one(pidfd, Interest::HangUp, Deadline::after(LOOK_AGAIN))?;
                }
                (exit, _) => return Ok(exit),
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.pidfd
            .as_ref()
            .is_some_and(|pidfd| poll::one(pidfd, Interest::Readable, Deadline::now()).unwrap_or(false))
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
        self.is_dead().then(|| foreign::status(self.pid, pidfd.as_fd()).unwrap_or(Exit::Unknown))
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

/// Ends this process at once: no exit handlers, no flushing, all threads.
pub fn end_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any number and does not return.
    unsafe { libc::_exit(code) }
}
