//! Starting a program with `posix_spawn`, which costs the same whatever the parent's size.
//!
//! The child gets the caller's environment, directory, limits, affinity, signal mask and stdio of the moment of the
//! call, one descriptor as [`CHILD_FD`], and nothing else: every other descriptor is closed, also one that a foreign
//! library forgot to mark close-on-exec.
//!
//! # Safety
//! The two wrappers below own a libc object each, made by its `init` and destroyed once, in `Drop`. All strings passed
//! to the kernel outlive the call.
#![allow(unsafe_code, reason = "posix_spawn has no safe wrapper that takes file actions")]

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::process::Pid;

use crate::child::Child;
use crate::{OsError, Result};

/// The number under which the child finds the descriptor it was started with.
pub const CHILD_FD: RawFd = 3;

/// Starts `program` with `arguments` (the first is its own name) and `environment` (`NAME=value` each); `descriptor`
/// becomes [`CHILD_FD`].
///
/// Returns once the new program is in place, some 0.5–1 ms. Errors: the program cannot be run, or no process can be
/// made (`EAGAIN`, `ENOMEM`); then there is no child.
pub fn spawn(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    descriptor: BorrowedFd<'_>,
) -> Result<Child> {
    let doing = || format!("starting {}", program.to_string_lossy());
    let mut actions = FileActions::new()?;
    actions.place(descriptor, CHILD_FD)?;
    actions.close_from(CHILD_FD + 1)?;
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    let mut pid = 0;
    // SAFETY: all pointers are to live, null-terminated data; the actions were initialised; null attributes are allowed.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            ptr::null(),
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(error, doing)?;
    let pid = Pid::from_raw(pid).ok_or_else(|| OsError::from_errno(doing(), libc::ECHILD))?;
    Ok(Child::adopt(pid))
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

fn check(error: i32, doing: impl FnOnce() -> String) -> Result<()> {
    if error == 0 { Ok(()) } else { Err(OsError::from_errno(doing(), error)) }
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the pointer is to writable memory of the right type.
        let error = unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) };
        check(error, || "preparing file actions".into())?;
        // SAFETY: `init` succeeded, so it filled the object.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    /// The child's descriptor `number` is a copy of `descriptor`, kept over exec.
    fn place(&mut self, descriptor: BorrowedFd<'_>, number: RawFd) -> Result<()> {
        // SAFETY: the object is initialised; the descriptor is open while it is borrowed, thus until after the spawn.
        let error = unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut self.0, descriptor.as_raw_fd(), number)
        };
        check(error, || format!("placing descriptor {}", descriptor.as_raw_fd()))
    }

    fn close_from(&mut self, number: RawFd) -> Result<()> {
        // SAFETY: the object is initialised.
        let error = unsafe { libc::posix_spawn_file_actions_addclosefrom_np(&raw mut self.0, number) };
        check(error, || format!("closing descriptors from {number} on in the child"))
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed only here.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}
