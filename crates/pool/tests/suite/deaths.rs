//! Tasks that end their worker: each costs itself and nothing else, and is never begun again.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;

use procession_codec::Descriptor;
use procession_pool::{ParProcs, Pool, TaskFailed};
use procession_process::{Exit, Message};
use procession_testkit::Signal;

use super::{Build, Tally, expected, signal_self};

/// Runs a deadly task between harmless ones on a single worker; how the worker ended.
fn cost<A: Message>(build: Build, deadly: fn(A) -> u32, argument: A) -> Exit {
    let pool = build().workers(1).name("p").build().unwrap();
    let before = pool.submit(|n: u32| n, 1).unwrap();
    let task = pool.submit(deadly, argument).unwrap();
    let after = pool.submit(|n: u32| n, 3).unwrap();
    let pid = pool.pids()[0];
    let error = task.get().unwrap_err();
    assert_eq!((before.get().unwrap(), after.get().unwrap()), (1, 3));
    let told = error.to_string();
    let (task, worker, exit) =
        expected!(error, TaskFailed::WorkerDied { task, worker, exit, .. } => (task, worker, exit));
    assert_eq!((task.number, &*task.pool), (2, "p"));
    assert_eq!((worker.name.as_str(), worker.pid), ("p-1", pid));
    assert!(
        told.contains(&format!("task 2 of pool p is lost: its worker, process p-1 (pid {pid}), ")),
        "{told}"
    );
    assert!(told.contains(&exit.to_string()), "{told}");
    assert_replaced(&pool, &[pid]);
    exit
}

/// The pool has its size again, and none of the `dead`.
fn assert_replaced(pool: &Pool, dead: &[u32]) {
    let pids = pool.pids();
    assert_eq!(pids.len(), pool.workers());
    assert!(pids.iter().all(|pid| !dead.contains(pid)), "{pids:?} replace {dead:?}");
}

pub(crate) fn exits_cost_their_task(build: Build) {
    for code in [0, 3, 101] {
        assert_eq!(cost(build, |code| std::process::exit(code), code), Exit::Code(code));
    }
}

fn signalled(signal: i32) -> u32 {
    signal_self(Signal::from_named_raw(signal).unwrap())
}

pub(crate) fn signals_cost_their_task(build: Build) {
    for signal in [Signal::KILL, Signal::TERM, Signal::SEGV, Signal::HUP] {
        let exit = cost(build, signalled, signal.as_raw());
        assert_eq!(exit.signal().map(|signal| signal.0), Some(signal.as_raw()));
    }
    let exit = cost(build, |()| std::process::abort(), ());
    assert_eq!(exit.signal().map(|signal| signal.0), Some(Signal::ABORT.as_raw()));
}

/// A real memory error.
pub(crate) fn a_stack_overflow(build: Build) {
    fn descend(n: u32) -> u32 {
        let page = black_box([n; 1024]);
        if n == u32::MAX { 0 } else { descend(n + 1) + page[0] }
    }
    assert!(cost(build, descend, 0).signal().is_some());
}

fn count_or_die((tally, n, deadly): (Descriptor, usize, bool)) -> usize {
    Tally::strike(tally, n);
    if deadly {
        signal_self(Signal::KILL);
    }
    n
}

/// Maps `n` counted items of which some kill their worker; checks every outcome and every count.
fn check(pool: &Pool, n: usize, deadly: impl Fn(usize) -> bool) {
    let tally = Tally::new(n);
    let items = (0..n).map(|i| (tally.handle(), i, deadly(i)));
    let (mut given, mut dead) = (0, BTreeSet::new());
    for (i, result) in items.par_procs(pool).map(count_or_die).enumerate() {
        given += 1;
        match result {
            Ok(value) => assert!(value == i && !deadly(i)),
            Err(error) => {
                assert!(deadly(i), "item {i}: {error}");
                let worker = expected!(error, TaskFailed::WorkerDied { worker, .. } => worker);
                assert!(dead.insert(worker.pid), "one worker dies once");
            }
        }
    }
    assert_eq!(given, n);
    let counts: Vec<u64> = (0..n).map(|i| tally.count(i)).collect();
    assert_eq!(counts, vec![1; n], "each is run exactly once");
    assert_replaced(pool, &Vec::from_iter(dead));
}

pub(crate) fn one_of_a_thousand_kills(build: Build) {
    check(&build().workers(1).build().unwrap(), 1000, |i| i == 500);
    check(&build().workers(2).build().unwrap(), 1000, |i| i == 500);
}

pub(crate) fn a_hundred_killers_in_a_row(build: Build) {
    check(&build().workers(1).build().unwrap(), 100, |_| true);
    check(&build().workers(3).build().unwrap(), 140, |i| (20..120).contains(&i));
}

pub(crate) fn killers_at_every_place(build: Build) {
    let pool = build().workers(1).build().unwrap();
    check(&pool, 600, |i| i % 37 == 36);
    check(&pool, 2, |i| i == 0);
    check(&pool, 2, |i| i == 1);
    check(&pool, 1, |_| true);
    check(&pool, 300, |i| i == 299);
}

/// Answers with handles, answers too large for the journal, panics and deaths in one map.
pub(crate) fn a_killer_among_the_answers(build: Build) {
    type Answer = (usize, Vec<u8>, Option<Descriptor>);
    fn mixed((tally, n): (Descriptor, usize)) -> Answer {
        Tally::strike(tally.clone(), n);
        match n % 11 {
            3 => (n, Vec::new(), Some(tally)),
            5 => (n, vec![7; 40 << 10], None),
            7 => panic!("number {n}"),
            _ if n % 50 == 48 => signal_self(Signal::KILL),
            _ => (n, vec![1; n % 400], None),
        }
    }
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(500));
    let items = (0..500).map(|i| (tally.handle(), i));
    for (i, result) in items.par_procs(&pool).map(mixed).enumerate() {
        match (result, i % 11) {
            (Ok((n, bytes, None)), 5) => assert!(n == i && bytes.len() == 40 << 10),
            (Ok((n, _, Some(handle))), 3) => {
                assert_eq!(n, i);
                Tally::strike(handle, i);
            }
            (Err(TaskFailed::Panicked { panic, .. }), 7) => assert_eq!(panic.message, format!("number {i}")),
            (Err(TaskFailed::WorkerDied { .. }), _) if i % 50 == 48 => {}
            (Ok((n, bytes, None)), _) => assert!(n == i && bytes.len() == i % 400 && i % 50 != 48),
            (other, _) => panic!("item {i}: {other:?}"),
        }
        assert_eq!(tally.count(i), if i % 11 == 3 { 2 } else { 1 }, "item {i}");
    }
}

/// A worker that becomes another program has left us, though its process lives.
pub(crate) fn an_image_replaced(build: Build) {
    let become_other = |()| -> u32 { panic!("{}", Command::new("sleep").arg("1000").exec()) };
    let exit = cost(build, become_other, ());
    assert_eq!(exit.signal().map(|signal| signal.0), Some(Signal::KILL.as_raw()));
}
