//! Needs: met, skipped with a record, or required.

use std::env;
use std::fs;
use std::process::{self, Command};
use std::time::Duration;

use procession_testkit::require::{REQUIRE, SKIP_LOG};
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, need, role, skip};

const LIMIT: Duration = Duration::from_secs(30);
const NOBODY_HAS: &str = "procession-no-such-program";

/// A role of the calling test that does not inherit what the machine's runner has set.
fn plain(name: &str) -> Role {
    Role::new(name).env_remove(REQUIRE).env_remove(SKIP_LOG)
}

#[test]
fn what_is_missing_is_skipped_and_recorded() {
    if role().is_some() {
        return roles::say(if need(NOBODY_HAS) { "ran" } else { "skipped" });
    }
    guarded(|| {
        let log = env::temp_dir().join(format!("testkit-skips-{}", process::id()));
        for _ in 0..2 {
            let child = plain("needs").env(SKIP_LOG, &log).env(REQUIRE, "ptrace,other").spawn();
            let output = child.wait_with_output(LIMIT).expect_success();
            assert_eq!(output.said, ["skipped"]);
            assert!(output.stderr.contains("SKIPPED what_is_missing_is_skipped_and_recorded"), "{output}");
        }
        let text = fs::read_to_string(&log).expect("the log");
        fs::remove_file(&log).expect("the log is ours");
        let start = format!("what_is_missing_is_skipped_and_recorded\t{NOBODY_HAS}\t");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.starts_with(&start) && line.len() > start.len()), "{text}");
    });
}

#[test]
fn what_is_required_must_be_there() {
    if role().is_some() {
        return roles::say(if need(NOBODY_HAS) { "ran" } else { "skipped" });
    }
    guarded(|| {
        let child = plain("needs").env(REQUIRE, format!("ptrace, {NOBODY_HAS}")).spawn();
        let output = child.wait_with_output(LIMIT);
        assert!(!output.status.success() && output.said.is_empty(), "{output}");
        assert!(output.stderr.contains(&format!("needs {NOBODY_HAS}, which {REQUIRE} promises")), "{output}");
    });
}

#[test]
fn a_skip_ends_the_test() {
    if role().is_some() {
        roles::say("before");
        if role().is_some() {
            skip!("weather", "it\nrains");
        }
        roles::say("after");
    }
    guarded(|| {
        let output = plain("skips").spawn().wait_with_output(LIMIT).expect_success();
        assert_eq!(output.said, ["before"]);
        assert!(output.stderr.contains("SKIPPED a_skip_ends_the_test: needs weather: it rains"), "{output}");
        let output = plain("skips").env(REQUIRE, "weather").spawn().wait_with_output(LIMIT);
        assert!(!output.status.success(), "{output}");
    });
}

#[test]
fn a_program_that_cannot_start_is_missing() {
    if role().is_some() {
        return roles::say(if need("/dev/null") { "ran" } else { "skipped" });
    }
    guarded(|| {
        let output = plain("needs").spawn().wait_with_output(LIMIT).expect_success();
        assert_eq!(output.said, ["skipped"]);
    });
}

#[test]
fn python3_runs() {
    guarded(|| {
        if !need("python3") {
            return;
        }
        let output = Command::new("python3").args(["-c", "print(6 * 7)"]).output().expect("it runs");
        assert_eq!(output.stdout, b"42\n");
    });
}

#[test]
fn a_cgroup_can_be_asked_for() {
    guarded(|| {
        if need("cgroup") {
            // Asked once per process: the second answer is the first one.
            assert!(need("cgroup"));
        }
    });
}
