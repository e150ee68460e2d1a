//! Starting a program with `posix_spawn`, which costs the same whatever the parent's size.
//!
//! The child gets the caller's environment, directory, limits, affinity, signal mask and stdio of the moment of the
//! call, but for what [`Differences`] says, one descriptor as [`CHILD_FD`], and nothing else: every other descriptor is closed, also one that a foreign
//! library forgot to mark close-on-exec.
//!
//! # Safety
//! The two wrappers below own a libc object each, made by its `init` and destroyed once, in `Drop`. All strings and
//! descriptors passed to the kernel outlive the call.
#![allow(unsafe_code, reason = "posix_spawn has no safe wrapper that takes file actions")]

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::process::Pid;

use crate::child::Child;
use crate::{OsError, Result};

/// The number under which the child finds the descriptor it was started with.
pub const CHILD_FD: RawFd = 3;

/// What a child has otherwise than its parent; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Differences<'a> {
    /// The file that is started, where it is not the one asked for.
    pub program: Option<&'a CStr>,
    /// The directory it works in.
    pub directory: Option<BorrowedFd<'a>>,
    /// Its standard input, output and error.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// The group of processes it is in; 0 is a new one, whose number is that of the child.
    pub group: Option<u32>,
}

/// A directory for [`Differences`]. Needs the right to enter it, and none to list it.
///
/// # Errors
/// It is not there, is no directory, or may not be entered.
pub fn directory(path: &Path) -> Result<OwnedFd> {
    let failed = |e| OsError::new(format!("entering the directory {} for a child", path.display()), e);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    // To look up a name in it takes the same right as to enter it.
    rustix::fs::statat(&directory, ".", AtFlags::empty()).map_err(failed)?;
    Ok(directory)
}

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
    differences: &Differences<'_>,
) -> Result<Child> {
    let program = differences.program.unwrap_or(program);
    let doing = || format!("starting {}", program.to_string_lossy());
    let mut actions = FileActions::new()?;
    // First of all: a descriptor placed below may take the number of this one.
    if let Some(directory) = differences.directory {
        actions.enter(directory)?;
    }
    let standard = (0..).zip(differences.standard).filter_map(|(number, one)| Some((one?, number)));
    let placed = standard.chain([(descriptor, CHILD_FD)]).map(out_of_the_way).collect::<Result<Vec<_>>>()?;
    for (descriptor, number) in &placed {
        actions.place(descriptor.as_fd(), *number)?;
    }
    actions.close_from(CHILD_FD + 1)?;
    let attributes = differences.group.map(Attributes::with_group).transpose()?;
    let attributes = attributes.as_ref().map_or(ptr::null(), |attributes| &raw const attributes.0);
    let arguments = pointers(arguments);
    let environment = pointers(environment);
    let mut pid = 0;
    // SAFETY: all pointers are to live, null-terminated data; actions and attributes were initialised, or the latter are
    // null, which is allowed.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            attributes,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(error, doing)?;
    let pid = Pid::from_raw(pid).ok_or_else(|| OsError::from_errno(doing(), libc::ECHILD))?;
    Ok(Child::adopt(pid))
}

/// A descriptor and the number it gets in the child.
pub(crate) type Placed<'a> = (Either<'a>, RawFd);

/// The caller's descriptor, or a copy of it.
pub(crate) enum Either<'a> {
    Theirs(BorrowedFd<'a>),
    Copy(OwnedFd),
}

impl AsFd for Either<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Theirs(descriptor) => *descriptor,
            Self::Copy(descriptor) => descriptor.as_fd(),
        }
    }
}

/// A descriptor whose number another one shall have is copied to where nothing is placed.
pub(crate) fn out_of_the_way((descriptor, number): (BorrowedFd<'_>, RawFd)) -> Result<Placed<'_>> {
    if descriptor.as_raw_fd() > CHILD_FD || descriptor.as_raw_fd() == number {
        return Ok((Either::Theirs(descriptor), number));
    }
    let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, CHILD_FD + 1);
    let copy = copy.map_err(|e| OsError::new("copying a descriptor for a child", e))?;
    Ok((Either::Copy(copy), number))
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

    /// The child works in `directory`.
    fn enter(&mut self, directory: BorrowedFd<'_>) -> Result<()> {
        // SAFETY: the object is initialised; the descriptor is open while it is borrowed, thus until after the spawn.
        let error =
            unsafe { libc::posix_spawn_file_actions_addfchdir_np(&raw mut self.0, directory.as_raw_fd()) };
        check(error, || "preparing the child's directory".into())
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

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn with_group(group: u32) -> Result<Self> {
        let doing = || format!("preparing a child in the group of processes {group}");
        let group = libc::pid_t::try_from(group).map_err(|_| OsError::from_errno(doing(), libc::EINVAL))?;
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the pointer is to writable memory of the right type.
        let error = unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) };
        check(error, doing)?;
        // SAFETY: `init` succeeded, so it filled the object.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let flags = libc::POSIX_SPAWN_SETPGROUP as libc::c_short;
        // SAFETY: the object is initialised.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags) }, doing)?;
        // SAFETY: the object is initialised.
        check(unsafe { libc::posix_spawnattr_setpgroup(&raw mut attributes.0, group) }, doing)?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `with_group`, destroyed only here.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
