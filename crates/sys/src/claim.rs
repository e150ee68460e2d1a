//! Claims: a byte of a file that is locked for as long as one description of the file is open anywhere, in a process or
//! in a message that nobody has received.
//!
//! The kernel unlocks it when the last duplicate of the descriptor is closed: by its holder, by the death of its holder,
//! or with the socket buffer in which it lay. So what is on its way to somebody can be told from what was lost on the
//! way, by anybody who has the file, whoever sent it and whether they live.
//!
//! Invariants: a claim is an open file description of its own, with one locked byte; the byte need not exist. A forked
//! child holds the claims that its parent had open, until it closes them or somebody releases them by name.
//! Held by the tests below.
//!
//! # Safety
//! `fcntl` reads and writes one `flock` structure of ours, and nothing of it outlives the call.
#![allow(unsafe_code, reason = "locks of open file descriptions have no safe form")]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::{OsError, Result};

/// Opens the file behind `file` anew and locks its byte with this number.
///
/// What comes back is a descriptor of the same file, for reading and writing, and the claim: duplicates of it, also those
/// in messages, hold the claim until the last of them is closed. Does not wait. Reads `/proc`.
///
/// # Errors
/// Somebody claims the byte; `/proc` cannot be read; there are no descriptors left.
///
/// # Examples
/// ```
/// use procession_sys::{claim, memory::Memfd};
/// use std::os::fd::AsFd;
/// let memory = Memfd::sealed("example", 4096)?;
/// let claimed = claim::take(memory.as_fd(), 7)?;
/// assert!(claim::is_taken(memory.as_fd(), 7)? && !claim::is_taken(memory.as_fd(), 8)?);
/// drop(claimed);
/// assert!(!claim::is_taken(memory.as_fd(), 7)?);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn take(file: BorrowedFd<'_>, byte: u32) -> Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let own: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| OsError::new(format!("opening {path} anew"), e))?;
    call(own.as_fd(), libc::F_OFD_SETLK, &mut lock(libc::F_WRLCK, byte))?;
    Ok(own.into())
}

/// Gives up the claim to a byte that `claimed` or any duplicate of it has, though they stay open.
///
/// # Errors
/// The kernel's, which nothing that is known leads to.
pub fn release(claimed: BorrowedFd<'_>, byte: u32) -> Result<()> {
    call(claimed, libc::F_OFD_SETLK, &mut lock(libc::F_UNLCK, byte))
}

/// Whether somebody claims the byte by another description than that of `file`.
///
/// # Errors
/// The kernel does not know such locks (before Linux 3.15, or a sandbox).
pub fn is_taken(file: BorrowedFd<'_>, byte: u32) -> Result<bool> {
    let mut answer = lock(libc::F_WRLCK, byte);
    call(file, libc::F_OFD_GETLK, &mut answer)?;
    Ok(answer.l_type != libc::F_UNLCK as libc::c_short)
}

fn lock(kind: libc::c_int, byte: u32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::from(byte),
        l_len: 1,
        l_pid: 0,
    }
}

fn call(file: BorrowedFd<'_>, command: libc::c_int, lock: &mut libc::flock) -> Result<()> {
    // SAFETY: the descriptor is open, and these commands read and write the one structure that is lent here.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut *lock) } {
        -1 => Err(OsError::new("locking a byte of a file", std::io::Error::last_os_error())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memfd;

    #[test]
    fn a_claim_lasts_as_long_as_its_last_duplicate_and_no_longer() {
        procession_testkit::guarded(|| {
            let memory = Memfd::sealed("claims", 4096).unwrap();
            let taken = |byte| is_taken(memory.as_fd(), byte).unwrap();
            let claim = take(memory.as_fd(), 1023).unwrap();
            let other = take(memory.as_fd(), 0).unwrap();
            assert!(take(memory.as_fd(), 1023).is_err());
            let duplicate = claim.try_clone().unwrap();
            drop(claim);
            assert!(taken(1023) && taken(0) && !taken(1));
            release(duplicate.as_fd(), 1023).unwrap();
            assert!(!taken(1023) && taken(0));
            drop(other);
            assert!(!taken(0));
        });
    }

    #[test]
    fn a_claim_lives_in_a_message_and_ends_with_it() {
        procession_testkit::guarded(|| {
            let memory = Memfd::sealed("claims", 4096).unwrap();
            let (here, there) = crate::socket::pair().unwrap();
            let claim = take(memory.as_fd(), 5).unwrap();
            let mut outgoing = crate::message::Outgoing::new();
            outgoing.send(&here, b"x", &[claim.as_fd()], crate::Deadline::NEVER).unwrap();
            drop(claim);
            drop(here);
            assert!(is_taken(memory.as_fd(), 5).unwrap(), "nobody has received it yet");
            drop(there);
            assert!(!is_taken(memory.as_fd(), 5).unwrap());
        });
    }
}
