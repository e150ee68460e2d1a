//! Who made the other end of a local socket.
//!
//! # Safety
//! `getsockopt` writes one structure of ours that has no invalid values, and nothing of it outlives the call. The safe
//! form at hand takes the process id for one that is never 0; of a process in another namespace it is.
#![allow(unsafe_code, reason = "credentials of processes that have no number here have no safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{OsError, Result};

/// The credentials that the kernel noted when the other end connected, listened, or was made.
pub(super) fn of_peer(socket: BorrowedFd<'_>) -> Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open; both pointers are to variables of this function, and `len` is the size of the
    // first.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if answer != 0 {
        return Err(OsError::new("asking who is at the other end of a socket", io::Error::last_os_error()));
    }
    Ok(credentials)
}

/// The user in whose name this process acts, as others see it in [`Peer`](super::Peer).
#[must_use]
pub fn our_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
