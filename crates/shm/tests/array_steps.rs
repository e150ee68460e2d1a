//! Kill points: a process that splits, writes, sends, receives or gives back is killed wherever something changed.
//!
//! Whatever the moment: whoever waits for the array gets it, all of it can be split again, and if the victim could write
//! when it died, the array says so or names it. `PROCESSION_LONG` tries every instruction.

mod parcel;

use std::cell::RefCell;
use std::io::Write;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parcel::{Parcel, pack};
use procession_shm::domain::TICK;
use procession_shm::{Array, ArrayError, Part};
use procession_testkit::roles::Role;
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded_for, need, role};

const LIMIT: Duration = Duration::from_secs(60);

/// What is done in the window.
fn victim(role: &str) {
    // Once outside of the window: what happens at the first use only is not what is looked at.
    let warm = Array::from_slice(&[0_u8; 8]).unwrap();
    let _: Vec<Part<u8>> = warm.split(2).map(|part| pack(&part).unwrap().unpack().unwrap()).collect();
    let parcel = Parcel::handed();
    match role {
        "splits" | "writes" | "sends" => {
            let array: Array<u64> = parcel.unpack().unwrap();
            drop(array.read());
            if role == "splits" {
                step::here();
                let parts = array.split(3);
                step::end();
                return drop(parts);
            }
            if role == "writes" {
                step::here();
                array.write()[0] += 1;
                return step::end();
            }
            let part = array.split(3).next().unwrap();
            step::here();
            let parcel = pack(&part);
            step::end();
            drop(parcel);
        }
        "receives" => {
            step::here();
            let part = parcel.unpack::<Part<u64>>();
            step::end();
            drop(part.unwrap());
        }
        "gives back" => {
            let part = parcel.unpack::<Part<u64>>().unwrap();
            step::here();
            drop(part);
            step::end();
        }
        other => panic!("no role {other}"),
    }
}

fn survivors_go_on(
    array: &Array<u64>,
    waiters: Vec<JoinHandle<()>>,
    (role, n): (&str, u64),
    outcome: Outcome,
) {
    // They come back though nobody else looks at the array.
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    let items = array.try_write().unwrap_or_else(|error| panic!("{role} at {n}: {error}"));
    if outcome != Outcome::Killed {
        assert!(items.is_consistent(), "{role} at {n}");
    }
    items.mark_consistent();
    drop(items);
    assert!(array.is_consistent() && array.left_by().is_none());
    let parts: Vec<_> = array.try_split(3).unwrap().collect();
    assert!(parts.len() == 3 && matches!(array.try_read(), Err(ArrayError::Leased { .. })), "{role} at {n}");
    drop(parts);
    assert_eq!(array.try_read().unwrap().len(), 10);
}

fn sweep(role: &'static str) {
    if !need("ptrace") {
        return;
    }
    let array = Array::from_slice(&[0_u64; 10]).unwrap();
    let waiters = RefCell::new(Vec::new());
    let start = || {
        let has_part = ["receives", "gives back"].contains(&role);
        let parcel =
            if has_part { pack(&array.split(3).next().unwrap()).unwrap() } else { pack(&array).unwrap() };
        if has_part {
            let wait = || {
                let array = array.clone();
                thread::spawn(move || drop(array.read()))
            };
            waiters.replace([(); 2].map(|()| wait()).into());
        }
        parcel.hand_to(Role::new(role)).into_command()
    };
    step::sweep_changes(role, start, |n, outcome| {
        survivors_go_on(&array, waiters.take(), (role, n), outcome);
    });
}

/// Runs the sweep in a role of its own, so that the survivors' tick is short.
fn with_a_short_tick(name: &'static str) {
    match role().as_deref() {
        Some("sweeper") => guarded_for(LIMIT * 60, || sweep(name)),
        Some(role) => victim(role),
        None => guarded_for(LIMIT * 60, || {
            let output = Role::new("sweeper").env(TICK, "1").spawn().wait_with_output(LIMIT * 60);
            let _ = write!(std::io::stderr(), "{}", output.expect_success().stderr);
        }),
    }
}

#[test]
fn splitting() {
    with_a_short_tick("splits");
}

#[test]
fn writing_everything() {
    with_a_short_tick("writes");
}

#[test]
fn sending() {
    with_a_short_tick("sends");
}

#[test]
fn receiving() {
    with_a_short_tick("receives");
}

#[test]
fn giving_back_with_two_asleep() {
    with_a_short_tick("gives back");
}
