//! Kill points where something changed: all of them are found, and the victim is killed there, however long it took.

mod support;

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::{self, Command};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::Duration;

use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, KILL_LOG, Outcome};
use procession_testkit::{guarded, need, role};
use support::{Page, SIZE, page_file};

fn victim(name: &str, page: &OwnedFd) -> Command {
    Role::new(name).hand("page", page.try_clone().expect("a descriptor")).into_command()
}

fn bytes(page: &OwnedFd) -> Vec<u8> {
    let page = File::from(page.try_clone().expect("a descriptor"));
    let mut bytes = vec![0; SIZE];
    page.read_exact_at(&mut bytes, 0).expect("a page");
    bytes
}

/// A call that changes nothing and of which the C library remembers nothing.
fn call() {
    let _ = std::os::unix::process::parent_id();
}

#[test]
fn stores_and_calls_are_changes() {
    if let Some(role) = role() {
        let page = Page::map(roles::handed("page"));
        let [first, second, third] = [0, 1, 2000].map(|index| page.byte(index));
        step::here();
        first.store(1, Release);
        if role == "both" {
            call();
        }
        // No change: it is there.
        first.store(1, Release);
        second.store(1, Release);
        if role == "both" {
            call();
        }
        third.store(1, Release);
        return step::end();
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        for (role, n_changes) in [("both", 5), ("stores", 3)] {
            let changes = step::changes(|| victim(role, &page_file("stores")));
            assert_eq!(changes.len(), n_changes, "{role}: {changes:?}");
            assert!(changes.is_sorted_by(|a, b| a < b), "{role}: {changes:?}");
        }
    });
}

/// Stores in the ways that compilers and libraries know.
fn store(way: &str, page: &Page) {
    let text: [u8; 200] = std::array::from_fn(|n| n as u8 + 1);
    let [low, high] = [page.word(1000), page.word(1008)];
    step::here();
    match way {
        "copies" => {
            page.copy(100, &text[..33]);
            page.copy(200, &text);
            page.copy_repeatedly(500, &text[..9]);
        }
        _ => {
            low.fetch_add(5, AcqRel);
            high.swap(7, AcqRel);
            let _ = high.compare_exchange(7, 9, AcqRel, Acquire);
            page.byte(SIZE - 1).fetch_xor(3, AcqRel);
        }
    }
    step::end();
}

/// After how many instructions bytes of the page are others, by killing after every one.
fn seen(way: &str) -> Vec<u64> {
    let (page, mut last) = (RefCell::new(page_file("seen")), vec![0; SIZE]);
    let mut seen = Vec::new();
    let start = || {
        page.replace(page_file("seen"));
        victim(way, &page.borrow())
    };
    step::sweep(start, |n, outcome| {
        let now = bytes(&page.borrow());
        if now != last && outcome == Outcome::Killed {
            seen.push(n);
        }
        last = now;
    });
    seen
}

#[test]
fn no_change_of_a_byte_is_missed() {
    if let Some(way) = role() {
        return store(&way, &Page::map(roles::handed("page")));
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        for (way, at_least) in [("copies", 2 + 4 + 9), ("atomics", 4)] {
            let seen = seen(way);
            assert!(seen.len() >= at_least, "{way}: {seen:?}");
            assert_eq!(step::changes(|| victim(way, &page_file("seen"))), seen, "{way}");
        }
    });
}

#[test]
fn victims_that_do_not_run_alike_are_killed_where_they_should_be() {
    if role().is_some() {
        let page = Page::map(roles::handed("page"));
        let [first, second, last] = [0, 1, 2].map(|index| page.byte(index));
        let (some, more) = (process::id() % 7, process::id() % 5);
        step::here();
        for _ in 0..some {
            std::hint::spin_loop();
        }
        first.store(1, Release);
        for _ in 0..more {
            std::hint::spin_loop();
        }
        second.store(1, Release);
        step::end();
        return last.store(1, Release);
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let page = RefCell::new(page_file("some time"));
        let mut seen = Vec::new();
        let start = || {
            page.replace(page_file("some time"));
            victim("takes its time", &page.borrow())
        };
        let kills = step::sweep_changes("takes its time", start, |_, outcome| {
            let state = bytes(&page.borrow())[..3].to_vec();
            if let Outcome::Ended { .. } = outcome {
                assert_eq!(state, [1, 1, 1], "traced to its end");
            } else {
                seen.push(state);
            }
        });
        let all = [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 0]];
        assert_eq!(seen, all, "{kills}");
        assert_eq!((kills.n_killed, kills.n_ended, kills.n_changes), (6, 0, 2));
    });
}

#[test]
fn a_sweep_is_recorded() {
    match role().as_deref() {
        Some("sweeper") => {
            let start = || victim("stores", &page_file("recorded"));
            step::sweep_changes("a store", start, |_, outcome| {
                if outcome == Outcome::Killed {
                    step::death_told();
                }
            });
            return;
        }
        Some(_) => {
            let page = Page::map(roles::handed("page"));
            step::here();
            page.byte(0).store(1, Release);
            return step::end();
        }
        None => {}
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let log = std::env::temp_dir().join(format!("testkit-kills-{}", process::id()));
        let sweeper = Role::new("sweeper").env(KILL_LOG, &log).env_remove("PROCESSION_LONG").spawn();
        let output = sweeper.wait_with_output(Duration::from_secs(30)).expect_success();
        let text = fs::read_to_string(&log).expect("the log");
        fs::remove_file(&log).expect("the log is ours");
        let columns: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!(columns[..3], ["step_changes", "a_sweep_is_recorded", "a store"], "{text}");
        assert_eq!(columns[4..], ["1", "4", "0", "4", "0"], "{text}");
        assert!(output.stderr.contains("kill points: a_sweep_is_recorded, a store: 4 kills in "), "{output}");
    });
}
