//! A process that may have only so much, for the length of a call.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

use procession_testkit::{Role, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long the role may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Limits are the process's: plays `body` in one of its own, with so many descriptors at most.
pub(crate) fn in_a_process_of_its_own(n_descriptors: u64, body: fn()) {
    if role().is_none() {
        let output = Role::new("poor").spawn().wait_with_output(LIMIT).expect_success();
        // What it measured.
        for line in output.said {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        return;
    }
    let limit = Rlimit { current: Some(n_descriptors), maximum: Some(n_descriptors) };
    setrlimit(Resource::Nofile, limit).expect("a limit can be lowered");
    body();
}

/// Holds all descriptors but so many that this process may have, for as long as the answer lives.
pub(crate) fn leave_descriptors(n: usize) -> Vec<File> {
    let mut held: Vec<File> =
        std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect();
    assert!(held.len() >= n, "{} were left", held.len());
    held.truncate(held.len() - n);
    held
}

/// Runs `call` with a soft limit of the `resource`.
pub(crate) fn limited<R>(resource: Resource, most: u64, call: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(most), maximum: before.maximum }).expect("a lower limit");
    let answer = call();
    setrlimit(resource, before).expect("the limit from before");
    answer
}

/// Runs `call` where no descriptor can be opened, however many are closed meanwhile.
pub(crate) fn without_new_descriptors<R>(call: impl FnOnce() -> R) -> R {
    /// As few as may be: the numbers below are in use all the time. `poll` takes no longer lists.
    const LOWEST: u64 = 5;
    let fill = || File::open("/dev/null").expect("there are descriptors");
    let below = std::iter::repeat_with(fill).take_while(|file| (file.as_raw_fd() as u64) < LOWEST);
    let below: Vec<File> = below.collect();
    let answer = limited(Resource::Nofile, LOWEST, call);
    drop(below);
    answer
}
