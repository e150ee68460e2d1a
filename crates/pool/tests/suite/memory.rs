//! Workers that grow: replaced between tasks, or ended in one.

use std::hint::black_box;
use std::time::Duration;

use procession_pipe::Duplex;
use procession_pool::{ParProcs, TaskFailed};

use super::{Build, PATIENCE, Tally, await_start, expected, gate};

const MEBIBYTE: u64 = 1 << 20;

/// Keeps so many mebibytes, and says in which process.
fn leak(mebibytes: usize) -> u32 {
    std::mem::forget(black_box(vec![1_u8; mebibytes << 20]));
    std::process::id()
}

/// Takes so many mebibytes, says so, and waits for the end, or for a word.
fn grow((gate, mebibytes): (Duplex<u8, u8>, usize)) -> u32 {
    let much = black_box(vec![1_u8; mebibytes << 20]);
    gate.send(&1).expect("the pool's process is there");
    let _ = gate.recv();
    drop(much);
    std::process::id()
}

pub(crate) fn what_has_grown_is_replaced(build: Build) {
    let pool = build().workers(1).recycle_above(64 * MEBIBYTE).build().unwrap();
    let first = pool.submit(leak, 1).unwrap().get().unwrap();
    assert_eq!(pool.submit(leak, 80).unwrap().get().unwrap(), first, "it answers before it goes");
    let second = pool.submit(leak, 1).unwrap().get().unwrap();
    assert_ne!(second, first);
    assert_eq!(pool.submit(leak, 1).unwrap().get().unwrap(), second);
    assert_eq!(pool.recycled(), 1);
}

/// In the middle of a chunk: the rest goes to the next worker, each item is run once.
pub(crate) fn replaced_inside_a_chunk(build: Build) {
    fn count((tally, n): (procession_codec::Descriptor, usize)) -> u32 {
        Tally::strike(tally, n);
        leak(if n == 20 || n == 21 { 80 } else { 0 })
    }
    let pool = build().workers(1).recycle_above(64 * MEBIBYTE).build().unwrap();
    let tally = Tally::new(50);
    let items = (0..50).map(|n| (tally.handle(), n));
    let pids = items.par_procs(&pool).chunk(50).map(count).collect::<Result<Vec<_>, _>>().unwrap();
    assert!((0..50).all(|n| tally.count(n) == 1), "each once");
    assert!(
        pids[0] == pids[20] && pids[20] != pids[21] && pids[21] != pids[22] && pids[22] == pids[49],
        "{pids:?}"
    );
    assert_eq!(pool.recycled(), 2);
}

/// A bound below what a worker has when it starts: one task each, and no error.
pub(crate) fn a_bound_that_nobody_keeps(build: Build) {
    let pool = build().workers(2).recycle_above(1).build().unwrap();
    let mut pids = pool.map(leak, [0; 6]).unwrap();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 6, "a worker for every task");
}

pub(crate) fn what_grows_too_large_is_ended(build: Build) {
    let pool = build().workers(1).memory_limit(64 * MEBIBYTE).name("p").build().unwrap();
    let (ours, theirs) = gate();
    let large = pool.submit(grow, (theirs, 100)).unwrap();
    let after = pool.submit(leak, 1).unwrap();
    let failed = large.get().unwrap_err();
    let told = failed.to_string();
    let (task, worker, resident, limit) = expected!(
        failed,
        TaskFailed::MemoryExceeded { task, worker, resident, limit, .. } => (task, worker, resident, limit)
    );
    assert!(task.number == 1 && worker.name == "p-1" && limit == 64 * MEBIBYTE);
    assert!((64 * MEBIBYTE..400 * MEBIBYTE).contains(&resident), "{resident}");
    assert!(
        told.starts_with("task 1 of pool p had ") && told.contains(" resident, limit 64.0 MiB"),
        "{told}"
    );
    assert_ne!(after.get().unwrap(), worker.pid, "the next one is not affected");
    drop(ours);
    assert_eq!(pool.workers(), pool.pids().len());
}

pub(crate) fn below_its_limit_it_runs_on(build: Build) {
    let pool = build().workers(1).memory_limit(400 * MEBIBYTE).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(grow, (theirs, 50)).unwrap();
    await_start(&ours);
    // The pool looks at it several times meanwhile.
    assert!(task.get_timeout(Duration::from_millis(200)).unwrap().is_none());
    ours.send(&1).unwrap();
    assert!(task.get_timeout(PATIENCE).unwrap().is_some());
}

/// Declared repeatable, it is tried again, and a worker that was ended for it is no poison.
pub(crate) fn too_large_again_and_again(build: Build) {
    fn greedy(mebibytes: usize) -> u8 {
        let much = black_box(vec![1_u8; mebibytes << 20]);
        if procession_pool::attempt() < 3 {
            loop {
                std::thread::park();
            }
        }
        much[0]
    }
    let build = || build().workers(1).memory_limit(64 * MEBIBYTE).poison_after(1);
    let pool = build().retries(1).build().unwrap();
    let failed = pool.submit(greedy, 100).unwrap().get().unwrap_err();
    let attempts = expected!(&failed, TaskFailed::GivenUp { is_poison: false, attempts, .. } => attempts);
    assert!(attempts.len() == 2 && matches!(attempts[0], TaskFailed::MemoryExceeded { .. }), "{failed}");
}

/// What an error says of memory though there is no limit: what a look during a long task has seen.
pub(crate) fn memory_in_the_text_of_a_death(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(grow, (theirs, 40)).unwrap();
    await_start(&ours);
    assert!(task.get_timeout(Duration::from_millis(1200)).unwrap().is_none(), "it waits for a word");
    super::strike(pool.pids()[0], procession_testkit::processes::Signal::KILL);
    let failed = task.get().unwrap_err();
    let resident = failed.report().unwrap().resident().expect("we have looked");
    assert!(resident > 40 * MEBIBYTE, "{failed}");
    assert!(failed.to_string().contains(" resident"), "{failed}");
}
