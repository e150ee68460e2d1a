//! How a process ended that is somebody else's to wait for.
//!
//! As long as nobody has waited for it, its entry in `/proc` tells; afterwards its pidfd does, from Linux 6.15 on. Invariant:
//! what is told is of the process that the pidfd stands for, never of another with the same number. Held by
//! `tests/fork_server.rs` of `procession-process`.
//!
//! # Safety
//! The `ioctl` writes into a structure of the size that its number announces.
#![allow(unsafe_code, reason = "PIDFD_GET_INFO has no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use crate::status::Exit;

/// How the process behind `pidfd`, whose number is or was `pid`, has ended, where the kernel tells.
pub(super) fn status(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<Exit> {
    // Somebody may wait for it between the two questions: then the first has no answer yet, and the second none any more.
    kept(pidfd).or_else(|| unreaped(pid, pidfd)).or_else(|| kept(pidfd))
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

/// Of one that has been waited for, or cleared away by the kernel.
pub(crate) fn kept(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the size of `PidfdInfo`, and the kernel writes at most that much into it.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) };
    (answer == 0 && info.mask & INFO_EXIT != 0).then(|| Exit::from_wait_status(info.exit_code))
}

/// Of one that has ended and has not been waited for.
fn unreaped(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<Exit> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_ascii_whitespace();
    // The third field, and the fifty-second: see proc(5).
    let (state, status) = (fields.next()?, fields.nth(48)?);
    let status = (state == "Z").then(|| status.parse().ok())??;
    // As long as it can be signalled, the number is its own: what was read is of this process. A reader without the right to
    // know it is told 0, as of a success, which then cannot be told from one.
    let still = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::CONT);
    let known = status != 0 || may_know(pid);
    (matches!(still, Ok(())) && known).then(|| Exit::from_wait_status(status))
}

/// Whether the kernel tells us of this process all that it tells anybody.
fn may_know(pid: Pid) -> bool {
    // The same right is needed to look at what it executes, of which a dead process has none: then the link is missing and
    // not forbidden.
    let link = format!("/proc/{}/exe", pid.as_raw_nonzero());
    matches!(rustix::fs::readlink(link, Vec::new()), Ok(_) | Err(Errno::NOENT))
}
