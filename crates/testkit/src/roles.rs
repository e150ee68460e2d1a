//! Child roles: a test runs its own binary again, as somebody else.
//!
//! The test asks [`role`] first. In the parent there is none, and it starts a [`Role`]; the child runs the
//! same test, finds the role and plays it. Lines of text go both ways: [`say`] and [`hear`] in the child,
//! [`RoleProcess::say`] and [`RoleProcess::hear`] in the parent.
//!
//! ```no_run
//! use procession_testkit::{guarded, roles::{self, Role}};
//! use std::time::Duration;
//!
//! // #[test]
//! fn the_other_process_answers() {
//!     if let Some(role) = roles::role() {
//!         let question = roles::hear().unwrap();
//!         return roles::say(&format!("{role} heard {question}"));
//!     }
//!     guarded(|| {
//!         let mut echo = Role::new("echo").spawn();
//!         echo.say("hello");
//!         assert_eq!(echo.hear(Duration::from_secs(10)).as_deref(), Some("echo heard hello"));
//!         echo.wait_with_output(Duration::from_secs(10)).expect_success();
//!     });
//! }
//! ```
//!
//! Invariants: a child that never asked for its role is an error and not a silent success (a mistyped test
//! path would run no test at all); a descriptor reaches the one child it was handed to and no other; only
//! processes started here are ended here.
//!
//! # Safety
//! Two facts are relied on. Between fork and exec the child runs one `fcntl` and nothing that allocates or
//! locks. A descriptor number from the environment becomes an `OwnedFd` once per process, and only if
//! something is open there.

#![allow(unsafe_code, reason = "a pre-exec step, and descriptors that arrive as numbers")]

mod process;

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::path::test_path;

pub use process::{RoleOutput, RoleProcess};

const ROLE: &str = "PROCESSION_TESTKIT_ROLE";
const HANDED: &str = "PROCESSION_TESTKIT_FD_";
/// Begins a line that was said, wherever in the harness's own output it stands.
const SAID: &str = "@said ";
/// The line that says that the child has found its role.
const STARTED: &str = "@role";

/// Another role of a test, not started yet.
#[derive(Debug)]
#[must_use = "nothing runs before `spawn`"]
pub struct Role {
    name: String,
    command: Command,
}

impl Role {
    /// The role `name` of the test that calls, in whose own thread this must be.
    ///
    /// # Panics
    /// When the path of this binary cannot be found.
    pub fn new(name: &str) -> Self {
        Self::of(&test_path(), name)
    }

    /// The role `name` of the test at `path`, such as `module::a_test`, in this binary.
    ///
    /// # Panics
    /// When the path of this binary cannot be found.
    pub fn of(path: &str, name: &str) -> Self {
        let mut command = Command::new(env::current_exe().expect("the path of this binary"));
        command.args(["--exact", path, "--nocapture", "--test-threads=1"]).env(ROLE, name);
        for (key, _) in env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with(HANDED)) {
            // Handed to this process, not to its children.
            command.env_remove(key);
        }
        Self { name: name.to_owned(), command }
    }

    /// Sets a variable in the child's environment.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Hands a descriptor to the child, which takes it by its name: [`handed`].
    ///
    /// The descriptor stays close-on-exec in this process, so no other child gets it, and is closed here
    /// once the child runs.
    pub fn hand(mut self, name: &str, fd: impl Into<OwnedFd>) -> Self {
        let fd = fd.into();
        self.command.env(format!("{HANDED}{name}"), fd.as_raw_fd().to_string());
        let keep_open = move || Ok(fcntl_setfd(&fd, FdFlags::empty())?);
        // SAFETY: the closure makes one system call; it neither allocates nor takes a lock, so it may run in
        // the forked child of a threaded process.
        unsafe { self.command.pre_exec(keep_open) };
        self
    }

    /// The command itself, with standard input and output closed to it: for [`step`](crate::step), and for
    /// whoever starts processes by other means.
    #[must_use]
    pub fn into_command(mut self) -> Command {
        self.command.stdin(Stdio::null()).stdout(Stdio::null());
        self.command
    }

    /// Starts the child.
    ///
    /// Its standard input and output carry what is said and heard; its standard error is kept and comes
    /// with the [`RoleOutput`], or on this process's standard error if the test fails.
    ///
    /// # Panics
    /// When no process can be started.
    pub fn spawn(mut self) -> RoleProcess {
        let errors = memfd_create("testkit-stderr", MemfdFlags::CLOEXEC).expect("a file for standard error");
        let errors = File::from(errors);
        let theirs = errors.try_clone().expect("a second descriptor for standard error");
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(theirs);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.name));
        RoleProcess::new(self.name, child, errors)
    }
}

/// The role that this process was started to play; `None` in the process that the test began in.
///
/// # Panics
/// When the parent that would hear the answer has ended.
#[must_use]
pub fn role() -> Option<String> {
    static ANSWERED: Once = Once::new();
    let role = env::var(ROLE).ok()?;
    ANSWERED.call_once(|| write_line(STARTED));
    Some(role)
}

/// Says a line to the parent.
///
/// # Blocking
/// When the pipe is full, until the parent hears.
///
/// # Panics
/// When the text is more than one line; when the parent has ended.
pub fn say(text: &str) {
    assert!(!text.contains('\n'), "one line at a time: {text:?}");
    write_line(&format!("{SAID}{text}"));
}

/// Hears the parent's next line; `None` when it will say no more: it closed its end or died.
///
/// # Blocking
/// Until there is a line. This is how a role waits for its turn, and for ever.
///
/// # Panics
/// When standard input cannot be read.
#[must_use]
pub fn hear() -> Option<String> {
    let mut line = String::new();
    let n_bytes = io::stdin().lock().read_line(&mut line).expect("a line from the parent");
    (n_bytes > 0).then(|| line.trim_end_matches('\n').to_owned())
}

/// Takes the descriptor that the parent handed over as `name` with [`Role::hand`].
///
/// # Panics
/// When there is none, and when it was taken before.
#[must_use]
pub fn handed(name: &str) -> OwnedFd {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    let key = format!("{HANDED}{name}");
    let raw = env::var(key).ok().and_then(|text| text.parse::<RawFd>().ok());
    let raw = raw.unwrap_or_else(|| panic!("no descriptor was handed over as {name}"));
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(!taken.contains(&raw), "descriptor {name} was taken before");
    assert!(Path::new(&format!("/proc/self/fd/{raw}")).exists(), "descriptor {name} ({raw}) is not open");
    taken.push(raw);
    // SAFETY: the descriptor is open, as was just seen; it was inherited under this number, so nobody in
    // this process opened it; and the list of those taken gives it to one owner only.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).expect("close-on-exec for a descriptor that is open");
    fd
}

fn write_line(line: &str) {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush());
    written.unwrap_or_else(|error| panic!("saying {line:?} to the parent: {error}"));
}

/// Everything written to a file so far.
fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind();
    let _ = file.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
