//! Starting children by forking this very process.
//!
//! The child is a copy of it with one thread, and goes on in the closure that it was started with. It meets its parent as
//! other children do: the first packet, the hello, the socket. All descriptors of the parent are open in it, but for the
//! parent's ends of what belongs to this child.
//!
//! Only libc's `fork` is used: a bare system call would leave stale thread numbers in robust mutexes.
//!
//! | the parent has | what its child may do |
//! |---|---|
//! | one thread | everything |
//! | more | what a lock cannot stop that another thread held: libc's allocator works, other libraries may not |
//!
//! # Safety
//! The child never returns into the code that called: it ends in the closure, or aborts. So what lies on the stack above
//! stays as it is, and nothing there is dropped twice. It has one thread when its environment is exchanged, and what the
//! environment then points to is never freed in the child.
#![allow(unsafe_code, reason = "forks, and places descriptors by their numbers")]

use std::ffi::{OsString, c_char};
use std::io::{Error, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::process::Pid;

use crate::child::{Child, end_now};
use crate::hook::{self, Bootstrap, Invitation, Started};
use crate::signal::Signal;
use crate::spawn::{self, Differences};
use crate::zygote::{block, pointers};
use crate::{Deadline, OsError, Result};

/// How many threads this process has.
///
/// # Errors
/// `/proc` is not mounted, or no descriptor is left.
pub fn n_threads() -> Result<usize> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|e| OsError::new("counting threads", e))?;
    Ok(tasks.count())
}

/// Forks this process; the child runs `child`, whose answer is its exit code.
///
/// The environment is `environment` there, if there is one; `differences` hold but for the program; `ours` are closed.
/// What is still to be written to standard output is written first, so that it is not written twice. Errors: no process can
/// be made (`EAGAIN`, `ENOMEM`), or it cannot be in the group that it shall be in; then there is no child.
pub fn start(
    environment: Option<Vec<(OsString, OsString)>>,
    differences: &Differences<'_>,
    ours: &[BorrowedFd<'_>],
    child: impl FnOnce(Bootstrap) -> i32,
) -> Result<Started> {
    let invitation = hook::invite(|_| hook::NOT_OURS)?;
    let mut block = environment.map(|variables| block(&variables)).transpose()?;
    let mut pointers = block.as_mut().map(pointers);
    let standard = (0..).zip(differences.standard).filter_map(|(number, one)| Some((one?, number)));
    let placed = standard.map(spawn::out_of_the_way).collect::<Result<Vec<_>>>()?;
    let _ = std::io::stdout().flush();
    // SAFETY: a null pointer stands for all streams of C.
    unsafe { libc::fflush(ptr::null_mut()) };
    // SAFETY: what the child may do is for the caller of this function to know (module page); no memory is at stake.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let prepared = prepare(pointers.as_mut(), differences, ours, &placed);
        std::mem::forget((block, pointers));
        go_on(prepared, invitation, child)
    }
    let pid = if pid > 0 { Pid::from_raw(pid) } else { None };
    let pid = pid.ok_or_else(|| OsError::new("forking this process", Error::last_os_error()))?;
    let started = invitation.into_started(Child::adopt(pid));
    if let Some(group) = differences.group {
        set_group(pid, group).inspect_err(|_| {
            let killed = started.child.signal(Signal::KILL);
            let _ = killed.and_then(|_| started.child.wait(Deadline::NEVER));
        })?;
    }
    Ok(started)
}

fn set_group(pid: Pid, group: u32) -> Result<()> {
    let doing = || format!("preparing a child in the group of processes {group}");
    let group = i32::try_from(group).map_err(|_| OsError::from_errno(doing(), libc::EINVAL))?;
    rustix::process::setpgid(Some(pid), Pid::from_raw(group)).map_err(|e| OsError::new(doing(), e))
}

/// Ends the process rather than let a child return into its parent's code.
pub(crate) struct NoWayBack;

impl Drop for NoWayBack {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// In the child.
fn go_on(prepared: Result<()>, invitation: Invitation, child: impl FnOnce(Bootstrap) -> i32) -> ! {
    let _bomb = NoWayBack;
    let Some(bootstrap) = prepared.ok().and_then(|()| invitation.accept()) else { end_now(hook::NOT_OURS) };
    std::process::exit(child(bootstrap))
}

/// In the child: what it has otherwise than its parent.
fn prepare(
    pointers: Option<&mut Vec<*mut c_char>>,
    differences: &Differences<'_>,
    ours: &[BorrowedFd<'_>],
    placed: &[spawn::Placed<'_>],
) -> Result<()> {
    if let Some(directory) = differences.directory {
        rustix::process::fchdir(directory)
            .map_err(|e| OsError::new("entering the directory of a child", e))?;
    }
    for (descriptor, number) in placed {
        place(descriptor.as_fd(), *number)?;
    }
    for one in ours {
        // SAFETY: it belongs to code of the parent, which does not go on here.
        unsafe { libc::close(one.as_raw_fd()) };
    }
    if let Some(pointers) = pointers {
        crate::zygote::set_environ(pointers);
    }
    Ok(())
}

/// The descriptor `number` of this process is a copy of that one.
pub(crate) fn place(descriptor: BorrowedFd<'_>, number: RawFd) -> Result<()> {
    let failed = || OsError::new("placing a descriptor for a child", Error::last_os_error());
    if descriptor.as_raw_fd() == number {
        // As a copy would be, it stays open in programs that are executed.
        // SAFETY: sets a flag of a descriptor that is borrowed.
        let answer = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
        return if answer < 0 { Err(failed()) } else { Ok(()) };
    }
    // SAFETY: what had the number belongs to code of the parent, which does not go on here.
    if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 { Err(failed()) } else { Ok(()) }
}
