//! Child roles: lines both ways, descriptors for one child only, and nothing left running.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use procession_testkit::roles::{self, Role};
use procession_testkit::{Signal, counted, guarded, role, test_path};

const LIMIT: Duration = Duration::from_secs(30);

/// Says every line back until the parent is done.
fn echo() {
    while let Some(line) = roles::hear() {
        roles::say(&format!("{line}!"));
    }
}

/// The text of a panic.
fn reason(body: impl FnOnce()) -> String {
    let caught = panic::catch_unwind(AssertUnwindSafe(body)).expect_err("it panics");
    caught.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn lines_go_both_ways_and_nothing_stays() {
    if role().is_some() {
        return echo();
    }
    counted(|| {
        let mut child = Role::new("echo").spawn();
        for line in ["one", "", "with @said in it"] {
            child.say(line);
            assert_eq!(child.hear(LIMIT), Some(format!("{line}!")));
        }
        child.say("last");
        let output = child.wait_with_output(LIMIT).expect_success();
        assert_eq!(output.said, ["last!"]);
    });
}

#[test]
fn a_dropped_child_is_ended_and_reaped() {
    if role().is_some() {
        return echo();
    }
    guarded(|| {
        let child = Role::new("echo").spawn();
        let identity = child.identity();
        assert_eq!(identity.pid(), child.pid());
        drop(child);
        assert_eq!(identity.state(), None);
    });
}

#[test]
fn a_stopped_child_is_ended_too() {
    if role().is_some() {
        rustix::process::kill_process(rustix::process::getpid(), Signal::STOP).expect("a stop");
    }
    guarded(|| {
        let mut child = Role::new("stops").spawn();
        let identity = child.identity();
        let silence = reason(|| drop(child.hear(Duration::from_millis(300))));
        assert!(silence.contains("stops said nothing within 300ms: child "), "{silence}");
        drop(child);
        assert_eq!(identity.state(), None);
    });
}

#[test]
fn a_killed_child_says_no_more() {
    if role().is_some() {
        return echo();
    }
    guarded(|| {
        let mut child = Role::new("echo").spawn();
        child.say("before");
        assert_eq!(child.hear(LIMIT).as_deref(), Some("before!"));
        child.kill();
        assert_eq!(child.hear(LIMIT), None);
        // Its pipe closes a moment before it has ended.
        assert!(child.identity().wait_ended(LIMIT));
        assert_eq!(child.wait_with_output(LIMIT).status.signal(), Some(9));
    });
}

#[test]
fn a_descriptor_reaches_one_child_only() {
    match role().as_deref() {
        None => guarded(|| {
            let (mut ours, theirs) = UnixStream::pair().expect("a pair");
            let number = theirs.as_raw_fd();
            let child = Role::new("owner").hand("end", theirs).spawn();
            let mut text = String::new();
            ours.read_to_string(&mut text).expect("all that the child writes");
            assert_eq!(text, "from the child", "and the end of file shows that nobody else has it");
            let said = child.wait_with_output(LIMIT).expect_success().said;
            assert_eq!(said, ["taken", "not inherited"], "number {number}");
        }),
        Some("owner") => {
            let mut end = UnixStream::from(roles::handed("end"));
            let again = reason(|| drop(roles::handed("end")));
            assert!(again.contains("taken before"), "{again}");
            roles::say("taken");
            let other = Role::new("other").spawn().wait_with_output(LIMIT).expect_success();
            other.said.iter().for_each(|line| roles::say(line));
            end.write_all(b"from the child").expect("the parent reads");
        }
        Some(_) => {
            let none = reason(|| drop(roles::handed("end")));
            assert!(none.contains("no descriptor was handed over as end"), "{none}");
            let number_of_sockets = std::fs::read_dir("/proc/self/fd")
                .expect("our descriptors")
                .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                .filter(|target| target.to_string_lossy().starts_with("socket:"))
                .count();
            roles::say(if number_of_sockets == 0 { "not inherited" } else { "inherited" });
        }
    }
}

#[test]
fn a_role_has_its_environment_and_its_test_s_name() {
    if role().is_some() {
        roles::say(&format!("{} {:?}", std::env::var("COLOUR").expect("set"), std::env::var_os("HOME")));
        return roles::say(&test_path());
    }
    guarded(|| {
        let child = Role::new("named").env("COLOUR", "blue").env_remove("HOME").spawn();
        let said = child.wait_with_output(LIMIT).expect_success().said;
        assert_eq!(said, ["blue None", "a_role_has_its_environment_and_its_test_s_name"]);
    });
}

#[test]
fn a_failing_role_shows_why() {
    if role().is_some() {
        panic!("for this reason");
    }
    guarded(|| {
        let output = Role::new("fails").spawn().wait_with_output(LIMIT);
        assert!(output.stderr.contains("for this reason"), "{output}");
        let text = reason(|| drop(output.expect_success()));
        assert!(text.contains("for this reason"), "{text}");
    });
}

#[test]
fn a_mistyped_test_is_no_success() {
    guarded(|| {
        let child = Role::of("no::such_test", "nobody").spawn();
        let text = reason(|| drop(child.wait_with_output(LIMIT)));
        assert!(text.contains("never asked for its role"), "{text}");
    });
}

#[test]
fn a_child_that_does_not_end_is_given_up() {
    if role().is_some() {
        roles::say("here");
        let _ = File::open("/dev/null");
        loop {
            std::thread::park();
        }
    }
    guarded(|| {
        let mut child = Role::new("stays").spawn();
        assert_eq!(child.hear(LIMIT).as_deref(), Some("here"));
        let identity = child.identity();
        let text = reason(|| drop(child.wait_with_output(Duration::from_millis(100))));
        assert!(text.contains("has not ended within 100ms") && text.contains("Sleeping"), "{text}");
        assert_eq!(identity.state(), None);
    });
}

#[test]
fn much_output_holds_nobody_up() {
    if role().is_some() {
        for n in 0..20_000 {
            roles::say(&n.to_string());
            let line = format!("a line of standard error, to be longer than any pipe: {n}\n");
            std::io::stderr().write_all(line.as_bytes()).expect("there is room in a file");
        }
        return;
    }
    guarded(|| {
        let output = Role::new("writes").spawn().wait_with_output(LIMIT).expect_success();
        assert_eq!(output.said.len(), 20_000);
        assert_eq!(output.stderr.lines().filter(|line| line.contains("a line of")).count(), 20_000);
    });
}
