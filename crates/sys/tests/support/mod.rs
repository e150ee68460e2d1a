//! What the tests of this crate share: a watchdog, and this test program run again in another role.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Ends the whole test program if it is not dropped in time: a lost wake must be red, and not a hang.
#[must_use]
pub(crate) struct Watchdog {
    _alive: mpsc::Sender<()>,
}

pub(crate) fn watchdog() -> Watchdog {
    let (alive, watched) = mpsc::channel::<()>();
    thread::spawn(move || {
        if watched.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
            let _ = writeln!(std::io::stderr(), "the watchdog ends a test that hangs");
            std::process::abort();
        }
    });
    Watchdog { _alive: alive }
}

const ROLE: &str = "PROCESSION_SYS_TEST_ROLE";

/// The role that this process was started in, if it was started by [`again`].
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// This test program, to be run again for the test `name` alone, in a role.
pub(crate) fn again(name: &str, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test program has a path"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ROLE, role).stdout(Stdio::null());
    command
}
