//! The bars: ours against floors, in one run, each with its verdict.
//!
//! `cargo bench --package procession-benches --bench bars` measures all, `-- --quick` less, `-- --test` each thing once
//! to see that it works, and a word after that only the bars whose names contain it. What a verdict means is on the page
//! of `procession_floor::judge`. The exit code says nothing of them: only a quiet machine may judge.
//!
//! One function for each bar. What is ours is a closure beside that of the floor.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

mod python;
mod queue;
mod report;

use procession_floor::cpu::Placement;
use procession_floor::futex_lock::FutexLock;
use procession_floor::futex_ping_pong::PingPong;
use procession_floor::judge::Bar::{AtLeast, AtMost};
use procession_floor::locked_value::LockedValue;
use procession_floor::memory::Placed;
use procession_floor::robust_mutex::{RobustMutex, Taken};
use procession_floor::scenario::{alone, contended, recovery, round_trip};
use procession_floor::slice;
use procession_shm::{Array, Value};
use procession_sync::{Event, Failed, Mutex};
use report::Report;

fn main() {
    let mut report = Report::from_args();
    lock_alone(&mut report);
    lock_contended(&mut report);
    lock_recovered(&mut report);
    event_wakes(&mut report);
    value_increments(&mut report);
    array_negated(&mut report);
    queue::all(&mut report);
    report.end();
}

/// Lock and unlock alone: at most 1.15 times the bare futex lock, and below a robust mutex.
fn lock_alone(report: &mut Report) {
    let ours = Mutex::new(0_u64).expect("a mutex");
    let (futex, robust) = (Placed::new(FutexLock::default()), RobustMutex::new());
    let effort = report.effort();
    let mut ours = || alone(&effort, || drop(ours.lock().expect("nobody dies")));
    let mut futex = || {
        alone(&effort, || {
            futex.lock();
            futex.unlock();
        })
    };
    let mut robust = || {
        alone(&effort, || {
            robust.lock();
            robust.unlock();
        })
    };
    report.judge("lock alone / futex lock", "ns", AtMost(1.15), &mut ours, &mut futex);
    report.judge("lock alone / robust mutex", "ns", AtMost(1.0), &mut ours, &mut robust);
}

/// Two processes that contend: at least 0.8 times the rate of the bare futex lock.
fn lock_contended(report: &mut Report) {
    let effort = report.effort();
    let ours = Mutex::new(0_u64).expect("a mutex");
    let floor = Placed::new(LockedValue::default());
    let count = || *ours.lock().expect("nobody dies");
    report.judge(
        "lock, two contend / futex lock",
        "M/s",
        AtLeast(0.8),
        &mut || contended(&effort, || *ours.lock().expect("nobody dies") += 1, count),
        &mut || contended(&effort, || floor.add(1), || floor.get()),
    );
}

/// From the kill of a holder until a waiter has the lock: at most twice a robust mutex.
fn lock_recovered(report: &mut Report) {
    let effort = report.effort();
    let (ours, floor) = (Mutex::new(0_u64).expect("a mutex"), RobustMutex::new());
    let hold_ours = || std::mem::forget(ours.lock().expect("nobody died yet"));
    let take_ours = || match ours.lock() {
        Err(Failed::OwnerDied(it)) => drop(it.repair(|_, _| ())),
        other => panic!("the holder is dead: {other:?}"),
    };
    let take_floor = || {
        assert_eq!(floor.lock(), Taken::OwnerDied);
        floor.unlock();
    };
    report.judge(
        "lock after a kill / robust mutex",
        "µs",
        AtMost(2.0),
        &mut || recovery(&effort, hold_ours, take_ours),
        &mut || recovery(&effort, || assert_eq!(floor.lock(), Taken::Clean), take_floor),
    );
}

/// Set until woken, there and back: at most 1.15 times a flag over a bare futex.
fn event_wakes(report: &mut Report) {
    let effort = report.effort();
    for (placement, name) in [(Placement::Cross, "cross"), (Placement::Same, "same")] {
        report.judge(
            &format!("event, there and back, {name} / futex"),
            "µs",
            AtMost(1.15),
            &mut || {
                let [there, back] = [(); 2].map(|()| Event::new().expect("an event"));
                let ping = || {
                    there.set();
                    back.wait();
                    back.clear();
                };
                let pong = || {
                    there.wait();
                    there.clear();
                    back.set();
                };
                round_trip(&effort, placement, ping, pong)
            },
            &mut || {
                let words = Placed::new(PingPong::default());
                round_trip(&effort, placement, || words.ping(), || words.pong())
            },
        );
    }
}

/// Increments of a value with a lock: at least 0.65 times the rate of a number behind the bare futex lock.
fn value_increments(report: &mut Report) {
    let effort = report.effort();
    let ours = Value::new(0_u64).expect("a value");
    let floor = Placed::new(LockedValue::default());
    report.judge(
        "value, increments / futex-locked add",
        "M/s",
        AtLeast(0.65),
        &mut || 1e3 / alone(&effort, || ours.update(|number| *number += 1).expect("nobody dies")),
        &mut || 1e3 / alone(&effort, || floor.add(1)),
    );
}

/// Negating a million numbers in an array: at most 1.05 times a plain slice.
fn array_negated(report: &mut Report) {
    let effort = report.effort().of_long_calls();
    let mut floor = vec![1.5; 1_000_000];
    let ours = Array::from_slice(&floor).expect("an array");
    report.judge(
        "array, negate 10^6 f64 / slice",
        "µs",
        AtMost(1.05),
        &mut || alone(&effort, || slice::negate(&mut ours.write())) / 1e3,
        &mut || alone(&effort, || slice::negate(&mut floor)) / 1e3,
    );
}
