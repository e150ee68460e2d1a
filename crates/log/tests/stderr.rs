//! `log_to_stderr`: one line for each record, of this process and of all below it.

use std::time::Duration;

use log::LevelFilter;
use procession_process::Process;
use procession_testkit::roles::Role;
use procession_testkit::{guarded, role};

#[test]
fn records_of_the_tree_are_lines_on_standard_error() {
    if role().is_some() {
        procession_log::log_to_stderr(LevelFilter::Info).unwrap();
        log::info!("begins");
        let task = |()| {
            // Only sets the level, as the logger is there.
            procession_log::log_to_stderr(LevelFilter::Debug).unwrap();
            log::warn!("is in a child");
            log::debug!("more than the parent wants");
        };
        Process::builder().name("calc").spawn(task, ()).unwrap().join().unwrap();
        procession_log::log_to_stderr(LevelFilter::Error).unwrap();
        log::info!("is not printed");
        return;
    }
    guarded(|| {
        let output = Role::new("program").spawn().wait_with_output(Duration::from_secs(20)).expect_success();
        let lines: Vec<_> = output.stderr.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(lines, ["[INFO/MainProcess] begins", "[WARN/calc] is in a child"]);
    });
}
