//! Where a process hangs, in words: what the watchdog prints before it aborts.
//!
//! Invariant: the report only reads `/proc`; it takes no lock that the hanging test could hold.

use std::fmt::Write;
use std::process;
use std::time::Duration;

use crate::processes;
use crate::procfs::{self, Stat};

/// The whole report, one line per thread and per descendant.
pub(crate) fn hang(name: &str, limit: Duration) -> String {
    let pid = process::id();
    let mut text = format!("\nwatchdog: `{name}` has not ended after {limit:?}; aborting process {pid}\n");
    for tid in procfs::numbers("/proc/self/task") {
        let base = format!("/proc/self/task/{tid}");
        let comm = procfs::text(format!("{base}/comm")).unwrap_or_default();
        let _ = writeln!(text, "  thread {tid} ({comm}): {}, {}", letter(&base), place(&base));
    }
    for stat in processes::family(pid) {
        let _ = writeln!(text, "  {}", describe(&stat));
    }
    text
}

/// One line about a process other than this one.
pub(crate) fn describe(stat: &Stat) -> String {
    let Stat { pid, comm, state, parent, .. } = stat;
    let place = place(&format!("/proc/{pid}"));
    let command = procfs::command_line(*pid);
    format!("child {pid} ({comm}): {state:?}, parent {parent}, {place}, command: {command}")
}

/// In which kernel function and system call a thread waits.
fn place(base: &str) -> String {
    let read = |file: &str| procfs::text(format!("{base}/{file}")).filter(|text| !text.is_empty());
    let wchan = read("wchan").unwrap_or_else(|| "?".to_owned());
    let syscall = read("syscall").unwrap_or_else(|| "?".to_owned());
    format!("wchan {wchan}, syscall {syscall}")
}

/// The state of a thread of this process.
fn letter(base: &str) -> String {
    let state = procfs::text(format!("{base}/stat")).and_then(|line| procfs::parse(&line));
    state.map_or_else(|| "ended".to_owned(), |stat| format!("{:?}", stat.state))
}
