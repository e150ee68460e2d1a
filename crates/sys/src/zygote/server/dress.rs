//! The forked child's side of the server: it puts on what is left to put on, and goes on as a program that was started again.
//!
//! # Safety
//! The child never returns into the server's code, so what that owns is never used or closed again but here.
#![allow(unsafe_code, reason = "places descriptors by their numbers")]

use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::setrlimit;

use super::super::request::{Descriptors, Request};
use super::{Server, disposition, set_blocked};
use crate::forked::{NoWayBack, place};
use crate::signal::{self, Disposition, Signal};
use crate::spawn::CHILD_FD;
use crate::surroundings::LIMITS;
use crate::{OsError, Result, hook};

impl Server {
    /// In the forked child: what is left to put on; then as a program that was started again goes on.
    pub(super) fn become_child(&self, request: &Request, given: &Descriptors) -> ! {
        let _bomb = NoWayBack;
        let Ok((channel, parent)) = self.dress(request, given) else { crate::child::end_now(hook::NOT_OURS) };
        let _ = rustix::thread::set_name(&self.name);
        hook::go_on(request.nonce, &request.entry, channel, parent)
    }

    /// Answers the child's channel and its parent's pidfd.
    fn dress(&self, request: &Request, given: &Descriptors) -> Result<(OwnedFd, OwnedFd)> {
        let (wanted, worn) = (&request.surroundings, &self.worn.surroundings);
        for (number, descriptor) in (0..).zip(&given.standard) {
            match descriptor {
                Some(descriptor) => place(descriptor.as_fd(), number)?,
                // SAFETY: nobody in this process uses a standard descriptor that its caller has not.
                None => drop(unsafe { libc::close(number) }),
            }
        }
        // The requests come by this number: nothing else has it, and nothing reads them here.
        let channel = place_closing(given.channel.as_fd(), CHILD_FD)?;
        let parent = place_closing(self.parent.as_fd(), CHILD_FD + 1)?;
        // SAFETY: closes what belongs to the server, whose code does not go on here.
        unsafe { libc::close_range(CHILD_FD.cast_unsigned() + 2, u32::MAX, 0) };
        let failed = |errno| OsError::new("preparing a child", errno);
        for ((resource, limit), now) in LIMITS.into_iter().zip(wanted.limits).zip(worn.limits) {
            if limit != now {
                setrlimit(resource, limit).map_err(failed)?;
            }
        }
        if wanted.niceness != worn.niceness {
            rustix::process::setpriority_process(None, wanted.niceness).map_err(failed)?;
        }
        if disposition(wanted.ignored, libc::SIGCHLD) == Disposition::Ignore {
            signal::set(Signal::CHLD, Disposition::Ignore)?;
        }
        set_blocked(wanted.blocked)?;
        Ok((channel, parent))
    }
}

/// A copy of that one with this number, which programs that are executed do not have.
fn place_closing(descriptor: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd> {
    if descriptor.as_raw_fd() != number {
        // SAFETY: what had the number belongs to the server, whose code does not go on here.
        let answer = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
        if answer < 0 {
            return Err(OsError::new("placing a descriptor for a child", Error::last_os_error()));
        }
    }
    // SAFETY: it is open, and what owned the number is never dropped: this process does not return to the server's code.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
