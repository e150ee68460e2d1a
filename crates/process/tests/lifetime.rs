//! Who ends with whom: nothing outlives its parent, at whatever moment that dies, and nothing is left behind.
//!
//! The parent under test is a role process. Its orphans come to this process, which asked the kernel for them, so that
//! "nothing remains" is a fact and not a search. Every test has the process for itself, and counts.
//!
//! # Safety
//! `prctl` and `waitpid` get numbers, and a null pointer for the status nobody wants.
#![allow(unsafe_code, reason = "becomes the parent of orphans and reaps them")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use procession_codec::{Bytes, Descriptor};
use procession_pipe::{Duplex, pipe};
use procession_process::{Builder, JoinError, Process, Signal, StartMethod, set_start_method, spawn};
use procession_sys::signal::{self, Disposition};
use procession_sys::zygote;
use procession_testkit::roles::RoleProcess;
use procession_testkit::{Counted, Identity, Role, Storm, counted, processes, role, roles};

const PATIENCE: Duration = Duration::from_secs(30);

/// What `PROCESSION_WITHOUT` says to a role and all below it, and what the start method of its children is.
type Mechanism = (&'static str, StartMethod);

/// With pidfds and without, which a fork server needs.
const MECHANISMS: [Mechanism; 5] = [
    ("", StartMethod::Spawn),
    ("pidfd", StartMethod::Spawn),
    ("", StartMethod::ForkServer),
    ("", StartMethod::Fork),
    ("pidfd", StartMethod::Fork),
];

/// The variable that tells a role its start method.
const METHOD: &str = "PROCESSION_TEST_METHOD";

/// A role, started by a test.
fn started() -> Option<String> {
    let role = role()?;
    let methods = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork];
    let method = std::env::var(METHOD).expect("each role has one");
    set_start_method(*methods.iter().find(|one| format!("{one:?}") == method).expect("one of them"));
    Some(role)
}

fn parent(name: &str, (without, method): Mechanism) -> Role {
    static ADOPTS: Once = Once::new();
    ADOPTS.call_once(|| {
        // SAFETY: takes numbers only.
        let answer = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        assert_eq!(answer, 0, "becoming the parent of orphans");
    });
    Role::new(name).env("PROCESSION_WITHOUT", without).env(METHOD, format!("{method:?}"))
}

/// Waits until every process below us has ended, however deep it was.
fn expect_nobody_left() {
    loop {
        let mut orphans = processes::children(std::process::id());
        // This process's own, for the tests that start children here.
        orphans.retain(|orphan| Some(orphan.pid()) != zygote::server_pid());
        if orphans.is_empty() {
            return;
        }
        for orphan in orphans {
            assert!(orphan.wait_ended(PATIENCE), "{orphan} outlived its parent");
            let pid = i32::try_from(orphan.pid()).expect("a process number");
            // SAFETY: the status may be a null pointer.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
}

/// A task that says which process it is, then does nothing for ever.
fn stay(up: Duplex<u32, ()>) {
    up.send(&std::process::id()).expect("a parent that listens");
    loop {
        thread::park();
    }
}

/// As [`stay`], busy all the time, deaf to what can be ignored.
fn toil(up: Duplex<u32, ()>) {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::PIPE] {
        signal::set(signal, Disposition::Ignore).expect("these can be ignored");
    }
    up.send(&std::process::id()).expect("a parent that listens");
    loop {
        std::hint::spin_loop();
    }
}

/// As [`stay`], with a child of its own that toils.
fn beget(up: Duplex<u32, ()>) {
    let child = held(toil);
    up.send(&child.1).expect("a parent that listens");
    stay(up);
}

/// By the method of the role. That has other threads, which wait and hold nothing.
fn by_role() -> Builder {
    Process::builder().allow_threads(true)
}

/// A child that runs `task`, and the first process number it told.
fn held(task: fn(Duplex<u32, ()>)) -> (Process, u32) {
    let (ours, theirs) = pipe::<(), u32>().expect("a pipe");
    let child = by_role().spawn(task, theirs).expect("a child");
    let pid = ours.recv_timeout(PATIENCE).expect("the child tells its number");
    // The child must not notice our death by this pipe.
    std::mem::forget(ours);
    (child, pid)
}

/// What a parent does: starts descendants, tells their numbers, and goes on as its role says.
fn play(role: &str) {
    for asks in [Signal::TERM, Signal::INT] {
        // Who runs the tests may have us ignore it (`nohup`).
        signal::set(asks, Disposition::Default).expect("these can be set");
    }
    let children = [held(stay), held(toil), held(beget)];
    for (child, first) in &children {
        roles::say(&format!("{} {first}", child.pid()));
    }
    match role {
        "waits" => drop(roles::hear()),
        "returns" => children.into_iter().for_each(|(child, _)| std::mem::forget(child)),
        "detaches" => children.into_iter().for_each(|(child, _)| child.detach()),
        "exits" => std::process::exit(0),
        _ => unreachable!("no such role"),
    }
}

/// Starts the role, learns who its descendants are, and shows that they live.
fn descendants(parent: &mut RoleProcess) -> Vec<Identity> {
    let lines: Vec<_> = (0..3).map(|_| parent.hear(PATIENCE).expect("three lines")).collect();
    let mut numbers: Vec<u32> = lines.iter().flat_map(|l| l.split(' ')).map(|n| n.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "three children and a grandchild: {lines:?}");
    numbers.into_iter().filter_map(Identity::of).collect()
}

#[test]
fn children_and_theirs_end_when_the_parent_is_killed() {
    if let Some(role) = started() {
        return play(&role);
    }
    counted(|| {
        for mechanism in MECHANISMS {
            for signal in [processes::Signal::KILL, processes::Signal::TERM, processes::Signal::INT] {
                let mut parent = parent("waits", mechanism).spawn();
                let all = descendants(&mut parent);
                assert_eq!(all.iter().filter(|one| one.is_alive()).count(), 4);
                parent.signal(signal);
                assert!(parent.identity().wait_ended(PATIENCE));
                assert!(all.iter().all(|one| one.wait_ended(PATIENCE)), "somebody outlived the parent");
                drop(parent);
                expect_nobody_left();
            }
        }
    });
}

#[test]
fn children_end_when_the_parent_ends_by_itself() {
    if let Some(role) = started() {
        return play(&role);
    }
    counted(|| {
        for mechanism in MECHANISMS {
            for name in ["returns", "detaches", "exits"] {
                let mut parent = parent(name, mechanism).spawn();
                let all = descendants(&mut parent);
                parent.wait_with_output(PATIENCE).expect_success();
                assert!(all.iter().all(|one| one.wait_ended(PATIENCE)), "somebody outlived the parent");
                expect_nobody_left();
            }
        }
    });
}

/// A child that outlives its parent sees the parent's end, and goes on; what it started itself ends with it.
#[test]
fn a_child_that_may_outlives_its_parent() {
    fn outlive(up: Descriptor) {
        let mut up = UnixStream::from(up.into_owned().expect("a descriptor"));
        let (child, _) = held(stay);
        let parent = procession_process::parent().expect("a child has one");
        assert!(parent.is_alive() && !parent.join_timeout(Duration::ZERO).expect("a look"));
        roles::say(&format!("{} {} {}", std::process::id(), child.pid(), parent.pid()));
        parent.join().expect("waiting for the parent");
        assert!(!parent.is_alive() && parent.join_timeout(PATIENCE).expect("a look"));
        up.write_all(b"went on").expect("a grandparent that listens");
    }
    if started().is_some() {
        let up = Descriptor::from(roles::handed("up"));
        by_role().outlive_parent(true).spawn(outlive, up).unwrap().detach();
        drop(roles::hear());
        return;
    }
    counted(|| {
        for mechanism in MECHANISMS {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let mut parent = parent("starts", mechanism).hand("up", theirs).spawn();
            let line = parent.hear(PATIENCE).expect("the numbers of three processes");
            let numbers: Vec<u32> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            assert_eq!(numbers[2], parent.identity().pid());
            let below = [numbers[0], numbers[1]].map(|pid| Identity::of(pid).unwrap());
            parent.kill();
            let mut said = String::new();
            ours.read_to_string(&mut said).unwrap();
            assert_eq!(said, "went on");
            assert!(below.iter().all(|one| one.wait_ended(PATIENCE)), "somebody outlived the task");
            drop(parent);
            expect_nobody_left();
        }
    });
}

/// A child whose exit hooks take long still ends with its parent.
#[test]
fn a_child_that_is_leaving_ends_when_its_parent_is_killed() {
    fn leave_slowly(up: Duplex<u32, ()>) {
        procession_process::exit_limit(Duration::from_secs(3600));
        procession_process::at_exit(0, move || stay(up));
    }
    if started().is_some() {
        let (child, _) = held(leave_slowly);
        roles::say(&child.pid().to_string());
        drop(roles::hear());
        return;
    }
    counted(|| {
        for mechanism in MECHANISMS {
            let mut parent = parent("starts", mechanism).spawn();
            let pid = parent.hear(PATIENCE).expect("a number").parse().expect("a number");
            let child = Identity::of(pid).unwrap();
            parent.kill();
            assert!(child.wait_ended(PATIENCE), "it outlived its parent");
            drop(parent);
            expect_nobody_left();
        }
    });
}

/// A child belongs to the process and not to the thread that started it.
#[test]
fn children_outlive_the_thread_that_started_them() {
    counted(|| {
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let starter = thread::spawn(move || {
            let answer = |end: Duplex<u8, u8>| end.recv().is_ok_and(|n| end.send(&(n + 1)).is_ok());
            spawn(answer, theirs).unwrap()
        });
        let child = starter.join().unwrap();
        ours.send(&1).unwrap();
        assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 2);
        assert!(child.join().unwrap());
    });
}

/// Spawns a small tree as fast as it can, and is killed by a thread of its own in the midst of it.
fn spawn_and_be_killed() {
    fn grow(depth: u32) {
        let _children: Vec<_> = (0..depth).map(|_| by_role().spawn(grow, depth - 1)).collect();
        loop {
            thread::park();
        }
    }
    let delay = roles::hear().expect("a number").parse().map(Duration::from_micros).expect("a number");
    thread::spawn(move || {
        let start = Instant::now();
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        processes::kill(std::process::id(), processes::Signal::KILL)
    });
    grow(3);
}

/// The parent dies at any moment: before the child exists, before it runs, before it has its task, after.
#[test]
fn a_parent_that_dies_while_it_starts_children_leaves_nobody() {
    if started().is_some() {
        return spawn_and_be_killed();
    }
    let mut storm = Storm::seeded();
    Counted::new().warm_ups(0).run(|| {
        for mechanism in MECHANISMS {
            for _ in 0..40 {
                let mut parent = parent("storm", mechanism).spawn();
                parent.say(&storm.below(12_000).to_string());
                assert!(parent.identity().wait_ended(PATIENCE));
                drop(parent);
                expect_nobody_left();
            }
        }
    });
}

/// The child dies at any moment: the parent always learns of it, and of the right signal.
#[test]
fn a_child_that_dies_while_it_starts_is_told() {
    let mut storm = Storm::seeded();
    counted(|| {
        let (mut before, mut after) = (0, 0);
        for n in 0..60 {
            let method = [StartMethod::Spawn, StartMethod::ForkServer][n % 2];
            let child = Process::builder().start_method(method).spawn(|n: u8| -> u8 { n + 1 }, 1).unwrap();
            let (start, delay) = (Instant::now(), Duration::from_micros(storm.below(3000)));
            while start.elapsed() < delay {
                std::hint::spin_loop();
            }
            child.kill().unwrap();
            match child.join() {
                Ok(value) => assert_eq!(value, 2),
                Err(JoinError::Killed { signal: Signal::KILL, .. }) => after += 1,
                Err(JoinError::NeverStarted { exit, .. }) => {
                    assert_eq!(exit.signal(), Some(Signal::KILL));
                    before += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(before + after > 0, "no child was killed: the storm missed all of them");
    });
}

#[test]
fn two_hundred_children_leave_nothing() {
    fn one_way_or_another(n: u32) -> Bytes {
        match n % 5 {
            0 => std::process::exit(3),
            1 => panic!("on purpose"),
            2 => std::process::abort(),
            3 => vec![1; 100_000].into(),
            _ => vec![1].into(),
        }
    }
    counted(|| {
        let mut n_values = 0;
        for n in 0..200 {
            // Its panics are many and no news.
            let method = [StartMethod::Spawn, StartMethod::ForkServer][n as usize / 100];
            let builder = Process::builder().start_method(method).env("RUST_BACKTRACE", "0");
            let child = builder.spawn(one_way_or_another, n).unwrap();
            match n % 7 {
                0 => drop(child),
                1 => child.detach(),
                _ => n_values += usize::from(child.join().is_ok()),
            }
        }
        assert!(n_values >= 50, "{n_values}");
    });
}

/// Where the program ignores `SIGCHLD` the kernel throws statuses away: values arrive all the same, and a death is
/// told as the kernel still knows it, or as lost, never guessed.
#[test]
fn a_program_that_ignores_its_children_gets_their_values() {
    if let Some(role) = started() {
        signal::set(Signal::CHLD, Disposition::Ignore).unwrap();
        for n in 0..20_u32 {
            assert_eq!(spawn(|n: u32| n + 1, n).unwrap().join().unwrap(), n + 1);
        }
        let panicked = spawn(|()| -> () { panic!("on purpose") }, ()).unwrap();
        assert!(matches!(panicked.join(), Err(JoinError::Panicked(_))));
        let error = spawn(|()| -> () { std::process::abort() }, ()).unwrap().join().unwrap_err();
        let kept = matches!(error, JoinError::Killed { signal: Signal::ABRT, .. });
        let lost = matches!(error, JoinError::StatusLost { .. });
        assert!(lost || (kept && role == "pidfd"), "{role}: {error:?}");
        return;
    }
    counted(|| {
        drop(parent("pidfd", MECHANISMS[0]).spawn().wait_with_output(PATIENCE).expect_success());
        drop(parent("none", MECHANISMS[1]).spawn().wait_with_output(PATIENCE).expect_success());
        expect_nobody_left();
    });
}
