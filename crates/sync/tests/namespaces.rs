//! Two pid namespaces: who holds something is killed in one, and who wants it in the other is told at once, asleep or not.
//!
//! The dead has the number that it had for itself, and the namespace where `/proc` could say which. A tick of ten minutes
//! shows that it is the kernel that wakes.

mod memory;
mod support;

use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use memory::Memory;
use procession_shm::domain::TICK;
use procession_sync::{Failed, Mutex, Participant, Semaphore};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{counted, role, skip};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;
use support::{hand, received};

const LIMIT: Duration = Duration::from_secs(30);
/// Whether a peer in the other namespace gets a `/proc` that speaks of it.
const OWN_PROC: &str = "PROCESSION_TEST_OWN_PROC";

type Board = (Mutex<u32>, Semaphore);

/// Starts a peer in namespaces of its own, and passes on what is said: its first process has the first number there.
///
/// This takes privileges. A user namespace would give them, but only a process without threads may make one.
fn gate() {
    let board: Board = received();
    if let Err(error) = unshare(UnshareFlags::NEWPID) {
        return roles::say(&format!("refused: {error}"));
    }
    let mut peer = hand(Role::new("peer"), &board).spawn();
    roles::say(&peer.hear(LIMIT).unwrap());
    while let Some(order) = roles::hear() {
        if order == "kill" {
            peer.kill();
            assert!(peer.identity().wait_ended(LIMIT));
            return roles::say("killed");
        }
        peer.say(&order);
        roles::say(&peer.hear(LIMIT).unwrap());
    }
}

#[expect(deprecated, reason = "the other one is unsafe for the sake of a flag that is not used here")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Before the domain asks who we are, and not for whoever started us.
fn mount_proc() -> rustix::io::Result<()> {
    unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
}

fn peer() {
    let has_own_proc = std::env::var_os(OWN_PROC).is_some();
    if let Err(error) = if has_own_proc { mount_proc() } else { Ok(()) } {
        return roles::say(&format!("refused: {error}"));
    }
    let board: Board = received();
    roles::say("ready");
    obey(&board);
}

fn obey((mutex, permits): &Board) {
    let (mut guard, mut permit) = (None, None);
    while let Some(order) = roles::hear() {
        match &*order {
            "hold mutex" => guard = Some(mutex.lock().unwrap()),
            "hold permit" => permit = Some(permits.acquire().unwrap()),
            "take mutex" => match mutex.lock() {
                Err(Failed::OwnerDied(died)) => say_who(died.dead().participant()),
                other => panic!("{other:?}"),
            },
            "take permit" => say_who(permits.acquire().unwrap().left_by()),
            other => panic!("no order {other}"),
        }
        if order.starts_with("hold") {
            let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
            roles::say(&format!("{} {namespace}", std::process::id()));
        }
    }
    drop((guard, permit));
}

fn say_who(dead: Option<Participant>) {
    let dead = dead.expect("its place is still its own");
    roles::say(&format!("{} {}", dead.pid, dead.namespace));
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Here,
    /// In another pid namespace, that has a `/proc` of its own or not.
    There {
        has_proc: bool,
    },
}

/// The process to talk to; `Err` says why there are no namespaces to be had.
fn start(place: Place, board: &Board) -> Result<RoleProcess, String> {
    let role = match place {
        Place::Here => Role::new("peer"),
        Place::There { has_proc: false } => Role::new("gate"),
        Place::There { has_proc: true } => Role::new("gate").env(OWN_PROC, "1"),
    };
    let mut process = hand(role.env(TICK, "600000"), board).spawn();
    match process.hear(LIMIT).unwrap() {
        ready if ready == "ready" => Ok(process),
        refused => Err(refused),
    }
}

fn ask(process: &mut RoleProcess, order: &str) -> String {
    process.say(order);
    process.hear(LIMIT).unwrap()
}

/// One dies with what the other wants, which sleeps already or comes later.
fn die(what: &str, holder: Place, taker: Place, asleep: bool) -> Result<(), String> {
    let board = (Mutex::new(0_u32).unwrap(), Semaphore::new(1).unwrap());
    let (mut dies, mut takes) = (start(holder, &board)?, start(taker, &board)?);
    let who = ask(&mut dies, &format!("hold {what}"));
    let order = format!("take {what}");
    if asleep {
        takes.say(&order);
        // Who is about to sleep has said so.
        let (locked, queued) = (Memory::of(&board.0), Memory::of(&board.1));
        while locked.load(0) >> 31 == 0 && queued.load(0) & 1 == 0 {
            thread::yield_now();
        }
    }
    match holder {
        Place::Here => {
            dies.kill();
            assert!(dies.identity().wait_ended(LIMIT));
        }
        Place::There { .. } => assert_eq!(ask(&mut dies, "kill"), "killed"),
    }
    let told = if asleep { takes.hear(LIMIT).unwrap() } else { ask(&mut takes, &order) };
    let (pid, namespace) = who.split_once(' ').unwrap();
    assert_eq!(pid == "1", holder != Place::Here, "it is the first of its namespace");
    let known = if holder == (Place::There { has_proc: false }) { "0" } else { namespace };
    assert_eq!(told, format!("{pid} {known}"), "{what}, {holder:?} to {taker:?}, asleep: {asleep}");
    takes.wait_with_output(LIMIT).expect_success();
    Ok(())
}

fn both_ways(has_proc: bool) {
    match role().as_deref() {
        Some("gate") => return gate(),
        Some(_) => return peer(),
        None => {}
    }
    let there = Place::There { has_proc };
    let mut refused = Ok(());
    counted(|| {
        for what in ["mutex", "permit"] {
            for (holder, taker) in [(there, Place::Here), (Place::Here, there), (there, there)] {
                for asleep in [false, true] {
                    refused = refused.clone().and_then(|()| die(what, holder, taker, asleep));
                }
            }
        }
    });
    if let Err(reason) = refused {
        skip!("pid-namespaces", &reason);
    }
}

#[test]
fn a_death_is_told_across_namespaces() {
    both_ways(true);
}

#[test]
fn a_death_is_told_across_namespaces_though_proc_speaks_of_others() {
    both_ways(false);
}
