//! The watchdog: it bites what hangs, tells where, and leaves everything else alone.

use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::thread;
use std::time::Duration;

use procession_testkit::roles::{self, Role};
use procession_testkit::{Identity, Signal, guarded, guarded_for, role};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn what_hangs_is_reported_and_ended_with_its_children() {
    match role().as_deref() {
        Some("hangs") => {
            // Before the watch begins, so that the report has it however slow the machine is.
            let mut child = Role::new("stays").spawn();
            roles::say(&child.hear(LIMIT).expect("the child says its number"));
            guarded_for(Duration::from_millis(200), || hang());
        }
        Some(_) => {
            roles::say(&std::process::id().to_string());
            hang()
        }
        None => guarded(check_the_report),
    }
}

fn check_the_report() {
    let mut victim = Role::new("hangs").spawn();
    let pid = victim.pid();
    let child: u32 = victim.hear(LIMIT).expect("a number").parse().expect("a number");
    let identity = Identity::of(child);
    let output = victim.wait_with_output(LIMIT);
    assert_eq!(output.status.signal(), Some(6), "{output}");
    let report = &output.stderr;
    let test = "what_hangs_is_reported_and_ended_with_its_children";
    assert!(report.contains(&format!("watchdog: `{test}` has not ended after 200ms")), "{report}");
    assert!(report.contains(&format!("aborting process {pid}")), "{report}");
    assert!(report.contains("(watchdog): Running"), "{report}");
    // Every thread has a line, and the one that hangs sleeps.
    assert!(report.lines().any(|line| line.contains("(what_hangs_is_r): Sleeping, wchan")), "{report}");
    let its_child = report.lines().find(|line| line.contains(&format!("child {child} (")));
    assert!(its_child.is_some_and(|line| line.contains(&format!("parent {pid}"))), "{report}");
    if let Some(orphan) = identity.filter(|identity| !identity.wait_ended(LIMIT)) {
        orphan.kill(Signal::KILL).expect("it is ours to end");
        panic!("the child of an aborted test lives on");
    }
}

#[test]
fn a_panic_of_the_body_comes_out() {
    let caught = guarded(|| panic::catch_unwind(|| guarded(|| panic!("the reason"))));
    let reason = caught.expect_err("it panicked");
    assert_eq!(reason.downcast_ref::<&str>(), Some(&"the reason"));
}

#[test]
fn a_value_of_the_body_comes_out() {
    assert_eq!(guarded(|| 7), 7);
    assert_eq!(guarded_for(LIMIT, || guarded(|| 8)), 8, "one inside another");
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}
