//! Kill points: every instruction of a window is one, and the window is where the victim says.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::process::{self, Command};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{Identity, Signal, counted, guarded, need, role};
use support::{Page, page_file, signal_this_thread};

/// A victim that gets a page, and the page.
fn victim(name: &str, page: &OwnedFd) -> Command {
    Role::new(name).hand("page", page.try_clone().expect("a descriptor")).into_command()
}

/// The first two bytes of a page.
fn bytes(page: impl AsFd) -> [u8; 2] {
    let page = File::from(page.as_fd().try_clone_to_owned().expect("a descriptor"));
    let mut bytes = [0; 2];
    page.read_exact_at(&mut bytes, 0).expect("two bytes");
    bytes
}

/// Stores one byte after the other inside a window.
fn write_two(order: [usize; 2]) {
    let page = Page::map(roles::handed("page"));
    let [first, second] = order.map(|index| page.byte(index));
    step::here();
    first.store(1, Ordering::Release);
    second.store(1, Ordering::Release);
    step::end();
}

/// Kills at every instruction; the states seen, in the order of the kill points, each once in a row.
fn states(name: &str) -> Vec<[u8; 2]> {
    let page = std::cell::RefCell::new(page_file("two bytes"));
    let mut seen = Vec::new();
    let n_points = step::sweep(
        || {
            page.replace(page_file("two bytes"));
            victim(name, &page.borrow())
        },
        |n, outcome| {
            let state = bytes(&*page.borrow());
            if let Outcome::Ended { steps } = outcome {
                assert!(
                    n > steps && state == [1, 1],
                    "the window had {steps}, {n} were asked for: {state:?}"
                );
            }
            seen.push(state);
        },
    );
    assert_eq!(seen.len() as u64, n_points + 1);
    seen.dedup();
    seen
}

#[test]
fn only_prefixes_of_two_stores_are_ever_seen() {
    match role().as_deref() {
        Some("forward") => return write_two([0, 1]),
        Some(_) => return write_two([1, 0]),
        None => {}
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        assert_eq!(states("forward"), [[0, 0], [1, 0], [1, 1]]);
        // The broken twin: the same look at it finds what must not be.
        assert_eq!(states("backward"), [[0, 0], [0, 1], [1, 1]]);
    });
}

#[test]
fn two_counts_are_equal() {
    if role().is_some() {
        return write_two([0, 1]);
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let page = page_file("two bytes");
        let counts: Vec<u64> = (0..5).map(|_| step::trace(|| victim("counted", &page))).collect();
        assert!(counts[0] > 2, "two stores are more than two instructions: {counts:?}");
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert_eq!(bytes(&page), [1, 1]);
    });
}

#[test]
fn a_victim_leaves_nothing_with_its_tracer() {
    if role().is_some() {
        return write_two([0, 1]);
    }
    if !need("ptrace") {
        return;
    }
    counted(|| {
        let page = page_file("two bytes");
        assert_eq!(step::kill_at(|| victim("killed", &page), 0), Outcome::Killed);
        assert_eq!(bytes(&page), [0, 0], "killed before its first instruction");
        assert!(matches!(step::kill_at(|| victim("killed", &page), 1 << 40), Outcome::Ended { .. }));
    });
}

#[test]
fn a_victim_runs_without_a_tracer() {
    if role().is_some() {
        return write_two([0, 1]);
    }
    guarded(|| {
        let page = page_file("two bytes");
        let victim = Role::new("free").hand("page", page.try_clone().expect("a descriptor")).spawn();
        victim.wait_with_output(Duration::from_secs(30)).expect_success();
        assert_eq!(bytes(&page), [1, 1]);
    });
}

#[test]
fn a_victim_that_ends_by_itself_is_told_apart() {
    match role().as_deref() {
        Some("exits") => {
            step::here();
            process::exit(3)
        }
        Some("dies") => {
            step::here();
            process::abort()
        }
        Some("fails after") => {
            step::here();
            step::end();
            process::exit(4)
        }
        Some(_) => return,
        None => {}
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let ended = |name: &str| match step::kill_at(|| Role::new(name).into_command(), u64::MAX) {
            Outcome::Died { steps, status } if steps > 0 => status,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(ended("exits").code(), Some(3));
        assert_eq!(ended("dies").signal(), Some(6));
        let text = |name: &'static str| {
            let caught = panic::catch_unwind(|| step::trace(|| Role::new(name).into_command()));
            caught.expect_err("it panics").downcast_ref::<String>().expect("a text").clone()
        };
        assert!(text("fails after").contains("failed after its window"));
        assert!(text("never opens").contains("opened no window"));
    });
}

#[test]
fn a_signal_of_somebody_else_s_reaches_the_victim() {
    if let Some(role) = role() {
        let signal = if role == "lives" { libc::SIGWINCH } else { libc::SIGUSR1 };
        step::here();
        signal_this_thread(signal);
        step::end();
        return;
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        assert!(step::trace(|| Role::new("lives").into_command()) > 0);
        match step::kill_at(|| Role::new("dies").into_command(), u64::MAX) {
            Outcome::Died { status, .. } => assert_eq!(status.signal(), Some(libc::SIGUSR1)),
            other => panic!("the signal was lost: {other:?}"),
        }
    });
}

/// Whether every thread of a process waits in the kernel, and none stands before a tracer.
fn all_sleep(process: Identity) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.pid())).expect("its threads");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    })
}

#[test]
fn a_victim_dies_with_its_tracer() {
    match role().as_deref() {
        Some("tracer") => {
            let socket = roles::handed("socket");
            let victim = || Role::new("victim").hand("socket", socket).into_command();
            panic!("the victim has no end: {:?}", step::kill_at(victim, u64::MAX));
        }
        Some(_) => {
            let mut socket = UnixStream::from(roles::handed("socket"));
            let pid = process::id().to_ne_bytes();
            step::here();
            socket.write_all(&pid).expect("the test reads");
            // A thread that is stepped dies of its next trap without a tracer; one that waits would not.
            let _ = socket.read(&mut [0]);
        }
        None => {}
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let tracer = Role::new("tracer").hand("socket", theirs).spawn();
        let mut pid = [0; 4];
        ours.read_exact(&mut pid).expect("the victim's number");
        let victim = Identity::of(u32::from_ne_bytes(pid)).expect("it waits");
        while !all_sleep(victim) {
            thread::yield_now();
        }
        drop(tracer);
        if !victim.wait_ended(Duration::from_secs(30)) {
            victim.kill(Signal::KILL).expect("it is ours to end");
            panic!("the victim lives on without its tracer");
        }
    });
}
