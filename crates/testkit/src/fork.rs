//! Forked copies of the process that runs the test: what else does a program that forks do to its objects?
//!
//! # Safety
//! The child runs one function, also to a panic, and ends without returning, so that it never comes back to the test
//! harness. It may allocate: glibc makes its allocator usable in a forked child, whatever other threads were doing. Other
//! locks that were held then stay so; a test that waits for one hangs, which the watchdog of the parent reports.
#![allow(unsafe_code, reason = "forks")]

use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;

/// Runs `child` in a forked copy of this process, in which there is no other thread, and waits for its end. What `child` has
/// borrowed is a copy. Its exit code is 1 if `child` panics, else 0.
///
/// # Blocking
/// Until the copy has ended.
///
/// # Panics
/// When there can be no other process.
///
/// ```
/// let mut n = 1;
/// assert!(procession_testkit::forked(|| n += 1).success());
/// assert_eq!(n, 1);
/// ```
pub fn forked(child: impl FnOnce()) -> ExitStatus {
    // SAFETY: see the page.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no process can be forked");
    if pid == 0 {
        let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
        // SAFETY: ends the process and does not return.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let mut status = 0;
    loop {
        // SAFETY: waits for the child just made, and writes one local variable.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if reaped == pid {
            return ExitStatus::from_raw(status);
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "waiting for a forked child: {error}");
    }
}
