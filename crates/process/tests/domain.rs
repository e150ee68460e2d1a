//! The first child's domain, and the obituary: who learns of a child's death wakes who sleeps on it, before the death is
//! reported. Each test is played in processes that have no domain yet: with all that the kernel gives, without pidfds,
//! and where it does not mark the dead.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_process::{JoinError, Process, spawn};
use procession_shm::domain::{Domain, OBITUARY, TICK};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{Deadline, futex};
use procession_testkit::{Role, guarded, processes, role};

const PATIENCE: Duration = Duration::from_secs(60);

/// Plays `body` in a fresh process for each mechanism, and with a tick that is longer than any test.
fn in_fresh_processes(variables: &[(&str, &str)], body: impl FnOnce()) {
    if role().is_some() {
        return body();
    }
    guarded(|| {
        for without in ["", "pidfd", "robust_list"] {
            let role = Role::new("parent").env("PROCESSION_WITHOUT", without).env(TICK, "600000");
            let role = variables.iter().fold(role, |role, (key, value)| role.env(key, value));
            drop(role.spawn().wait_with_output(PATIENCE).expect_success());
        }
    });
}

fn n_mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:procession-domain")).count()
}

fn current(_: ()) -> [u64; 2] {
    Domain::current().unwrap().id().to_words()
}

#[test]
fn the_first_child_makes_the_domain() {
    in_fresh_processes(&[], || {
        assert_eq!(n_mapped(), 0);
        let children = [spawn(current, ()).unwrap(), spawn(current, ()).unwrap()];
        assert_eq!(n_mapped(), 1);
        assert_eq!(children.map(|child| child.join().unwrap()), [current(()); 2]);
        assert_eq!(Domain::current().unwrap().occupancy().living, 0, "nobody joined");
    });
}

/// What a child is given may be of another version, or damaged: it says so.
#[test]
fn a_child_refuses_what_is_no_domain() {
    in_fresh_processes(&[], || {
        let domain = Domain::current().unwrap();
        let memory = Memfd::adopt(domain.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let page = Mapping::shared(&memory).unwrap();
        for (offset, text) in [
            (0, "the memory is not a domain's"),
            (8, "its layout has version 9, this library knows "),
            (16, "its header is damaged (the number of its slots)"),
            (64, "it was made with another C library"),
        ] {
            let good = page.atomic_u32(offset).swap(9, Relaxed);
            let outcome = spawn(current, ()).unwrap().join();
            let Err(JoinError::NotRun { error, .. }) = outcome else { panic!("{outcome:?}") };
            assert!(error.contains(text), "{error}");
            page.atomic_u32(offset).store(good, Relaxed);
        }
        assert_eq!(spawn(current, ()).unwrap().join().unwrap(), current(()));
    });
}

/// A child that joins the domain it is sent (or that of the tree), says so, and stays.
fn join_and_stay((domain, up): (Option<Domain>, Duplex<(), ()>)) {
    let domain = domain.unwrap_or_else(|| Domain::current().unwrap());
    domain.join().unwrap();
    up.send(&()).unwrap();
    // Until the end of the parent's side, which is kept for ever.
    drop(up.recv());
    loop {
        thread::park();
    }
}

/// A child that has joined `domain`, or that of the tree.
fn member(domain: Option<Domain>) -> Process {
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    let child = spawn(join_and_stay, (domain, theirs)).unwrap();
    ours.recv_timeout(PATIENCE).unwrap();
    std::mem::forget(ours);
    child
}

/// Sleeps until the obituary is another than `told`.
fn sleep_on(domain: &Domain, told: u32) {
    while domain.obituary().load(SeqCst) == told {
        futex::wait(domain.obituary(), told, Deadline::NEVER);
    }
}

/// Waits until a thread (`PID/task/TID`) sleeps on a word.
fn await_sleep(thread: &str) {
    let sleeps = |call: String| call.starts_with(&format!("{} ", libc::SYS_futex));
    while !std::fs::read_to_string(format!("/proc/{thread}/syscall")).is_ok_and(sleeps) {
        thread::yield_now();
    }
}

fn this_thread() -> String {
    std::fs::read_link("/proc/thread-self").unwrap().into_os_string().into_string().unwrap()
}

/// Kills a member and learns of it by `learn`, while a thread of this process sleeps on the obituary.
fn learns_and_tells(learn: fn(Process)) {
    let domain = Domain::current().unwrap();
    let child = member(None);
    let told = domain.obituary().load(SeqCst);
    thread::scope(|scope| {
        let (up, down) = mpsc::channel();
        let sleeper = scope.spawn({
            let domain = &domain;
            move || {
                up.send(this_thread()).unwrap();
                sleep_on(domain, told);
            }
        });
        await_sleep(&down.recv().unwrap());
        assert_eq!(domain.obituary().load(SeqCst), told, "nobody has told yet");
        learn(child);
        sleeper.join().unwrap();
    });
    assert_eq!(domain.occupancy().living, 0);
    assert_eq!(domain.obituary().load(SeqCst), told + 1, "told once");
}

/// The death has been told when the caller has it in hand.
fn told_when(learn: impl FnOnce()) {
    let before = Domain::current().unwrap().obituary().load(SeqCst);
    learn();
    assert_eq!(Domain::current().unwrap().obituary().load(SeqCst), before + 1);
}

#[test]
fn whoever_learns_of_a_death_tells_it_first() {
    let ways: [fn(Process); 6] = [
        |child| {
            child.kill().unwrap();
            told_when(|| assert!(child.join().unwrap_err().signal().is_some()));
        },
        |child| {
            child.kill().unwrap();
            told_when(|| assert!(child.wait().unwrap().signal().is_some()));
        },
        |child| {
            child.kill().unwrap();
            while child.is_alive() {}
            told_by_now(&child);
        },
        |child| {
            child.kill().unwrap();
            while child.try_join().is_ok() {}
            told_by_now(&child);
        },
        |child| told_when(|| drop(child)),
        |child| {
            let pid = child.pid();
            child.detach();
            processes::kill(pid, processes::Signal::KILL).unwrap();
        },
    ];
    in_fresh_processes(&[], || ways.into_iter().for_each(learns_and_tells));
}

/// Nothing is told any more of a child whose end was seen.
fn told_by_now(child: &Process) {
    let domain = Domain::current().unwrap();
    let told = domain.obituary().load(SeqCst);
    child.wait().unwrap();
    assert_eq!(domain.obituary().load(SeqCst), told);
}

/// Many threads wait for one child: whichever reaps it, nobody hears of the end before it is told.
#[test]
fn all_who_wait_hear_of_the_end_after_it_was_told() {
    in_fresh_processes(&[], || {
        for _ in 0..20 {
            let domain = Domain::current().unwrap();
            let child = member(None);
            let told = domain.obituary().load(SeqCst);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        child.wait().unwrap();
                        assert_eq!(domain.obituary().load(SeqCst), told + 1);
                    });
                }
                child.kill().unwrap();
            });
        }
    });
}

/// Who sleeps may be another child.
#[test]
fn a_sibling_is_woken() {
    fn sleep(up: Duplex<String, ()>) {
        let domain = Domain::current().unwrap();
        let told = domain.obituary().load(SeqCst);
        up.send(&this_thread()).unwrap();
        sleep_on(&domain, told);
    }
    in_fresh_processes(&[], || {
        let child = member(None);
        let (ours, theirs) = pipe::<(), String>().unwrap();
        let sibling = spawn(sleep, theirs).unwrap();
        await_sleep(&ours.recv_timeout(PATIENCE).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        sibling.join().unwrap();
    });
}

#[test]
fn only_members_are_told_of() {
    in_fresh_processes(&[], || {
        let domain = Domain::current().unwrap();
        let other = member(None);
        for child in [spawn(|()| (), ()).unwrap(), spawn(|()| std::process::abort(), ()).unwrap()] {
            drop(child.join());
        }
        let child = spawn(|()| thread::park(), ()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(domain.obituary().load(SeqCst), 0);
        assert_eq!(domain.occupancy().living, 1);
        drop(other);
    });
}

/// A child may have joined another domain that we know: those in it are told.
#[test]
fn every_domain_that_we_have_is_told() {
    in_fresh_processes(&[], || {
        let (ours, other) = (Domain::current().unwrap(), Domain::create().unwrap());
        drop(member(Some(other.clone())));
        assert_eq!(other.occupancy().dead, 1);
        assert_eq!((other.obituary().load(SeqCst), ours.obituary().load(SeqCst)), (1, 0));
    });
}

#[test]
fn with_the_obituary_off_nothing_is_told() {
    in_fresh_processes(&[(OBITUARY, "off")], || {
        let domain = Domain::current().unwrap();
        let child = member(None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(domain.obituary().load(SeqCst), 0);
    });
}
