//! Tests without a harness, of what only a program of its own can show: the test program runs itself, as one of its mains.
//!
//! Invariant: a main runs first and alone: no thread but the first is there, and nothing of this crate has run.

use std::io::Write;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use crate::watchdog::Watchdog;

const ROLE: &str = "PROCESSION_TEST_MAIN";
const LIMIT: Duration = Duration::from_secs(60);

/// A main, by the name of what it shows.
pub type Main = (&'static str, fn());

/// For the `main` of a test program: is one of `mains` if this process was started as one; else runs each in a process of
/// its own, prepared by `prepare`, and fails if one does, or if `is_right` says no to what it has written.
///
/// # Panics
/// If the program cannot be run, or nobody reads what this writes.
pub fn run(
    mains: &[Main],
    prepare: impl Fn(&str, &mut Command),
    is_right: impl Fn(&str, &Output) -> bool,
) -> ExitCode {
    let role = std::env::var(ROLE).ok();
    if let Some((_, main)) = mains.iter().find(|(name, _)| Some(*name) == role.as_deref()) {
        main();
        return ExitCode::SUCCESS;
    }
    let _watchdog = Watchdog::start("mains", LIMIT);
    let (mut failed, mut out) = (0, std::io::stdout());
    for (name, _) in mains {
        let mut command = Command::new("/proc/self/exe");
        prepare(name, command.env(ROLE, name));
        let output = command.output().expect("this program runs again");
        let ok = output.status.success() && is_right(name, &output);
        failed += u8::from(!ok);
        writeln!(out, "test {name} ... {}", if ok { "ok" } else { "FAILED" }).expect("somebody reads");
        if !ok {
            let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            writeln!(out, "{}\n{}\n{}", output.status, text[0], text[1]).expect("somebody reads");
        }
    }
    let (word, passed) = (if failed == 0 { "ok" } else { "FAILED" }, mains.len() - usize::from(failed));
    writeln!(out, "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored")
        .expect("somebody reads");
    ExitCode::from(failed)
}
