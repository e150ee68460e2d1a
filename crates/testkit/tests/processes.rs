//! Other processes: what they do, whose they are, and when they are gone.

use std::process::{Command, Stdio};
use std::time::Duration;

use procession_testkit::processes::{self, State};
use procession_testkit::roles::{self, Role};
use procession_testkit::{Identity, Signal, guarded, role};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_life_is_followed_to_its_end() {
    if role().is_some() {
        roles::say("here");
        return drop(roles::hear());
    }
    guarded(|| {
        let mut child = Role::new("lives").spawn();
        assert_eq!(child.hear(LIMIT).as_deref(), Some("here"));
        let (pid, identity) = (child.pid(), child.identity());
        assert!(processes::alive(pid));
        assert_eq!(processes::state(pid), identity.state());
        assert_eq!(processes::start_time(pid), Some(identity.start()));
        assert!(!identity.wait_ended(Duration::ZERO) && !identity.wait_gone(Duration::ZERO));
        child.hush();
        assert!(identity.wait_ended(LIMIT));
        assert!(!identity.is_alive() && !processes::alive(pid));
        assert_eq!(identity.state(), Some(State::Zombie), "nobody has asked for its status");
        assert!(!identity.wait_gone(Duration::from_millis(50)));
        child.wait_with_output(LIMIT).expect_success();
        assert!(identity.wait_gone(LIMIT) && processes::wait_gone(pid, LIMIT));
        assert_eq!(identity.state(), None);
        assert!(identity.kill(Signal::TERM).is_err(), "nobody is there to get it");
    });
}

#[test]
fn who_reaps_is_waited_for() {
    guarded(|| {
        let mut child =
            Command::new("/proc/self/exe").arg("--list").stdout(Stdio::null()).spawn().expect("a child");
        let identity = Identity::of(child.id()).expect("nobody has reaped it");
        let waiter = std::thread::spawn(move || identity.wait_gone(LIMIT));
        child.wait().expect("its status");
        assert!(waiter.join().expect("no panic"));
    });
}

#[test]
fn descendants_come_after_their_parents() {
    match role().as_deref() {
        Some("middle") => {
            let child = Role::new("bottom").spawn();
            roles::say(&child.pid().to_string());
            let _ = roles::hear();
        }
        Some(_) => drop(roles::hear()),
        None => guarded(|| {
            let mut middle = Role::new("middle").spawn();
            let bottom: u32 = middle.hear(LIMIT).expect("a number").parse().expect("a number");
            let family: Vec<u32> =
                processes::descendants(middle.pid()).into_iter().map(Identity::pid).collect();
            assert_eq!(family, [bottom]);
            let family = processes::descendants(std::process::id());
            let place = |pid| family.iter().position(|one| one.pid() == pid).expect("it is of the family");
            assert!(place(middle.pid()) < place(bottom));
            let children = processes::children(std::process::id());
            assert!(children.contains(&middle.identity()));
            assert!(!children.iter().any(|child| child.pid() == bottom));
        }),
    }
}

#[test]
fn a_signal_stops_and_kills() {
    if role().is_some() {
        roles::say("here");
        return drop(roles::hear());
    }
    guarded(|| {
        let mut child = Role::new("target").spawn();
        assert_eq!(child.hear(LIMIT).as_deref(), Some("here"));
        processes::kill(child.pid(), Signal::KILL).expect("it is there");
        assert!(child.identity().wait_ended(LIMIT));
        assert_eq!(child.hear(LIMIT), None);
    });
}
