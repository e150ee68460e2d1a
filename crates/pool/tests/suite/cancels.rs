//! Tasks that are called off: waiting, running, done, and at any moment between.

use std::thread;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, RecvError};
use procession_pool::{Pool, TaskFailed};
use procession_testkit::Storm;
use procession_testkit::processes::Identity;

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, stop};

fn count((tally, n): (Descriptor, usize)) -> usize {
    Tally::strike(tally, n);
    n
}

fn identities(pool: &Pool) -> Vec<Identity> {
    pool.pids().into_iter().map(|pid| Identity::of(pid).expect("a living worker")).collect()
}

pub(crate) fn what_waits_never_begins(build: Build) {
    let (pool, tally) = (build().workers(1).name("c").build().unwrap(), Tally::new(1));
    let pids = pool.pids();
    let ((ours, theirs), (waiting, in_line)) = (gate(), gate());
    let running = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    let first = pool.submit(count, (tally.handle(), 0)).unwrap();
    let second = pool.submit(hold, in_line).unwrap();
    let third = pool.submit(|n: u8| n, 3).unwrap();
    assert!(first.cancel() && second.cancel());
    assert!(first.is_ready(), "it has its outcome at once");
    let error = first.get().unwrap_err();
    assert_eq!(error.to_string(), "task 2 of pool c was cancelled");
    assert_eq!((error.task().number, &*error.task().pool), (2, "c"));
    assert!(matches!(waiting.recv_timeout(PATIENCE), Err(RecvError::Closed)), "its handles are let go");
    ours.send(&1).unwrap();
    assert_eq!((running.get().unwrap(), third.get().unwrap()), (1, 3));
    assert_eq!(pool.pids(), pids, "nobody died of it");
    pool.join();
    assert_eq!(tally.count(0), 0);
}

/// The outcome comes after the worker's end, and nobody else notices.
pub(crate) fn what_runs_is_ended_first(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let ends = [gate(), gate()];
    let (ours, theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let busy: Vec<_> = theirs.into_iter().map(|gate| pool.submit(hold, gate).unwrap()).collect();
    ours.iter().for_each(await_start);
    let (before, pids) = (identities(&pool), pool.pids());
    let mut tasks = busy.into_iter();
    let (first, second) = (tasks.next().unwrap(), tasks.next().unwrap());
    assert!(first.cancel());
    expected!(first.get_timeout(PATIENCE), Err(TaskFailed::Cancelled { .. }));
    assert!(first.cancel(), "and still is");
    assert_eq!(before.iter().filter(|worker| worker.state().is_some()).count(), 1);
    let now = pool.pids();
    assert_eq!((now.len(), now.iter().filter(|pid| pids.contains(pid)).count()), (2, 1));
    assert!(!second.is_ready());
    ours[1].send(&9).unwrap();
    assert_eq!(second.get().unwrap(), 9);
    assert_eq!(pool.map(|n: u8| n, 0..20).unwrap(), Vec::from_iter(0..20));
}

pub(crate) fn what_is_done_stays_done(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let pids = pool.pids();
    let task = pool.submit(|n: u8| n, 1).unwrap();
    while !task.is_ready() {
        thread::yield_now();
    }
    assert!(!task.cancel());
    assert_eq!(task.try_get().unwrap(), Some(1));
    assert!(!task.cancel());
    let fails = pool.submit(|()| -> u8 { panic!("no") }, ()).unwrap();
    while !fails.is_ready() {
        thread::yield_now();
    }
    assert!(!fails.cancel());
    expected!(fails.get(), Err(TaskFailed::Panicked { .. }));
    assert_eq!(pool.pids(), pids);
}

pub(crate) fn cancelled_by_many_at_once(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| task.get_timeout(PATIENCE));
        let cancels: Vec<_> = (0..8).map(|_| scope.spawn(|| task.cancel())).collect();
        assert!(cancels.into_iter().all(|cancel| cancel.join().unwrap()));
        expected!(waiter.join().unwrap(), Err(TaskFailed::Cancelled { .. }));
    });
    expected!(task.get(), Err(TaskFailed::AlreadyTaken { .. }));
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().get().unwrap(), 1);
}

pub(crate) fn a_stopped_worker_is_ended(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    stop(pool.pids()[0]);
    assert!(task.cancel());
    expected!(task.get_timeout(PATIENCE), Err(TaskFailed::Cancelled { .. }));
    assert_eq!(pool.map(|n: u8| n, 0..20).unwrap(), Vec::from_iter(0..20));
}

/// What `cancel` answers is what comes, and nothing runs twice, whenever it was called.
pub(crate) fn cancelled_at_any_moment(build: Build) {
    const TASKS: usize = 150;
    let (pool, tally, mut storm) =
        (build().workers(2).build().unwrap(), Tally::new(3 * TASKS), Storm::seeded());
    let (mut n_cancelled, mut n_done) = (0, 0);
    for round in 0..TASKS {
        let numbers = 3 * round..3 * (round + 1);
        let tasks: Vec<_> =
            numbers.clone().map(|n| pool.submit(count, (tally.handle(), n)).unwrap()).collect();
        for _ in 0..storm.below(20_000) {
            std::hint::spin_loop();
        }
        let victim = storm.below(3) as usize;
        let cancelled = tasks[victim].cancel();
        for (n, task) in numbers.zip(tasks) {
            let is_victim = n % 3 == victim;
            match task.get_timeout(PATIENCE) {
                Ok(value) => {
                    assert_eq!((value, tally.count(n)), (Some(n), 1));
                    assert!(!(is_victim && cancelled), "task {n} was said to be cancelled");
                    n_done += usize::from(is_victim);
                }
                Err(TaskFailed::Cancelled { .. }) => {
                    assert!(is_victim && cancelled && tally.count(n) <= 1, "task {n}");
                    n_cancelled += 1;
                }
                Err(other) => panic!("task {n}: {other}"),
            }
        }
        assert_eq!(pool.pids().len(), 2);
    }
    assert_eq!(n_cancelled + n_done, TASKS);
}

pub(crate) fn cancelled_and_the_pool_dropped(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let running = pool.submit(hold, theirs).unwrap();
    let (waiting, lost) = (pool.submit(|n: u8| n, 1).unwrap(), pool.submit(|n: u8| n, 2).unwrap());
    await_start(&ours);
    assert!(waiting.cancel() && running.cancel());
    drop(pool);
    assert!(!lost.cancel() && running.cancel() && waiting.cancel());
    for cancelled in [running, waiting] {
        expected!(cancelled.get(), Err(TaskFailed::Cancelled { .. }));
    }
    expected!(lost.get(), Err(TaskFailed::Closed { .. }));
}

/// Cancelling what a join waits for ends the join.
pub(crate) fn cancelled_while_joining(build: Build) {
    fn endless(gate: Duplex<u8, u8>) -> u8 {
        hold(gate)
    }
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let running = pool.submit(endless, theirs).unwrap();
    let waiting = pool.submit(|n: u8| n, 1).unwrap();
    await_start(&ours);
    thread::scope(|scope| {
        let join = scope.spawn(|| pool.join());
        assert!(waiting.cancel() && running.cancel());
        join.join().unwrap();
    });
    expected!(running.get(), Err(TaskFailed::Cancelled { .. }));
}

/// Ending workers before they ever asked for a job is nothing that speaks against starting them.
pub(crate) fn a_worker_on_its_way(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(50));
    let tasks: Vec<_> = (0..50).map(|n| pool.submit(count, (tally.handle(), n)).unwrap()).collect();
    let last = pool.submit(|n: u8| n, 1).unwrap();
    for task in tasks {
        // As soon as it is the first in line, and its worker a new one.
        if task.cancel() {
            expected!(task.get_timeout(PATIENCE), Err(TaskFailed::Cancelled { .. }));
        }
    }
    assert_eq!(last.get().unwrap(), 1);
}
