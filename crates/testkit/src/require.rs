//! What a test needs from the machine, and what becomes of the test where it is missing.
//!
//! Invariants: a test never passes silently for want of something: it is either recorded as skipped or, where
//! the need is declared as met, fails. What a need means is found out once per process.
//!
//! Two variables steer this. [`SKIP_LOG`] names a file that gets a line `test path TAB need TAB reason` for
//! every skip. [`REQUIRE`] is a comma list of needs that this machine must meet, such as `ptrace,python3`.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, access};

use crate::path::test_path;
use crate::step;

/// The variable that names the file for skips. Without it they are only printed.
pub const SKIP_LOG: &str = "PROCESSION_SKIP_LOG";

/// The variable that lists the needs without which a test fails and is not skipped.
pub const REQUIRE: &str = "PROCESSION_REQUIRE";

/// Whether the machine has what the calling test needs.
///
/// `ptrace`: a child can be traced by single instructions. `cgroup`: a control group (version 2) that
/// limits memory can be made below this process's own. Any other word is a program in `PATH` that answers to `--version`.
///
/// When it is missing, the skip has been recorded and printed: the test has only to return.
///
/// # Blocking
/// While the need is tried, the first time in a process.
///
/// # Panics
/// When it is missing and [`REQUIRE`] lists it; when [`SKIP_LOG`] cannot be written.
///
/// ```
/// // #[test]
/// fn ours_agrees_with_theirs() {
///     if !procession_testkit::need("python3") {
///         return;
///     }
///     // …
/// }
/// ```
#[must_use = "a test whose need is not met has to return"]
pub fn need(need: &str) -> bool {
    match try_once(need) {
        Ok(()) => true,
        Err(reason) => {
            skip(need, &reason);
            false
        }
    }
}

/// Records that the calling test is skipped for want of `need`; the macro [`skip!`](crate::skip) also
/// returns.
///
/// # Panics
/// When [`REQUIRE`] lists the need; when [`SKIP_LOG`] cannot be written.
pub fn skip(need: &str, reason: &str) {
    let test = test_path();
    let required = env::var(REQUIRE).unwrap_or_default();
    assert!(
        !required.split(',').any(|one| one.trim() == need),
        "`{test}` needs {need}, which {REQUIRE} promises: {reason}"
    );
    let reason = reason.replace(['\n', '\t'], " ");
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: needs {need}: {reason}");
    if let Some(path) = env::var_os(SKIP_LOG) {
        record(Path::new(&path), &format!("{test}\t{need}\t{reason}\n"));
    }
}

/// Skips the rest of the calling test: `skip!("need", "reason")`.
///
/// For what [`need`](crate::need) cannot know by itself. Returns from the function it stands in.
///
/// # Panics
/// When `PROCESSION_REQUIRE` lists the need.
#[macro_export]
macro_rules! skip {
    ($need:expr, $reason:expr $(,)?) => {{
        $crate::require::skip($need, $reason);
        return;
    }};
}

/// One write of the whole line to a file opened for appending: lines of several processes do not mix.
fn record(path: &Path, line: &str) {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("recording a skip in {}: {error}", path.display()));
}

fn try_once(need: &str) -> Result<(), String> {
    static KNOWN: Mutex<BTreeMap<String, Result<(), String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(need.to_owned()).or_insert_with(|| try_now(need)).clone()
}

fn try_now(need: &str) -> Result<(), String> {
    match need {
        "ptrace" => step::works().map_err(|error| format!("single steps do not work: {error}")),
        "cgroup" => cgroup(),
        program => runs(program),
    }
}

/// A script in `PATH` may be there and start nothing, so it is asked for its version.
fn runs(program: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program} --version` ended with {status}")),
        Err(error) => Err(format!("`{program} --version`: {error}")),
    }
}

/// Only looked at, not tried: a group made for a trial would be one more thing that can be left behind.
fn cgroup() -> Result<(), String> {
    let group = own_cgroup()?;
    let shown = group.display();
    let controllers = fs::read_to_string(group.join("cgroup.controllers"));
    let controllers = controllers.map_err(|error| format!("controllers of {shown}: {error}"))?;
    if !controllers.split_whitespace().any(|one| one == "memory") {
        return Err(format!("{shown} does not control memory"));
    }
    access(&group, Access::WRITE_OK).map_err(|error| format!("making a group in {shown}: {error}"))
}

/// The directory of this process's control group of version 2, wherever that is mounted.
fn own_cgroup() -> Result<PathBuf, String> {
    let read = |path| fs::read_to_string(path).map_err(|error| format!("reading {path}: {error}"));
    let (mounts, groups) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let mount = mount.and_then(|line| line.split(' ').nth(4)).ok_or("version 2 is not mounted")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(Path::new(mount).join(own.ok_or("this process is in no group of version 2")?))
}
