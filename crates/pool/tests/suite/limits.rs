//! Tasks that take longer than they may.
//!
//! Limits here are so short that every one of them passes, or so long that none does: nothing depends on the time that
//! the machine takes.

use std::thread;
use std::time::{Duration, Instant};

use procession_codec::Descriptor;
use procession_pool::{ParProcs, TaskFailed, TaskOptions};
use procession_testkit::Storm;
use procession_testkit::processes::Identity;

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, stop};

const SHORT: Duration = Duration::from_millis(30);

fn spin(_: u32) -> u32 {
    loop {
        std::hint::spin_loop();
    }
}

/// The task is named, its worker ended before the outcome came, and replaced; not before the limit.
pub(crate) fn an_endless_task_is_ended(build: Build) {
    let pool = build().workers(1).name("l").task_timeout(SHORT).build().unwrap();
    for round in 0..12 {
        let pid = pool.pids()[0];
        let identity = Identity::of(pid);
        let began = Instant::now();
        let task = pool.submit(spin, 0).unwrap();
        let error = task.get_timeout(PATIENCE).unwrap_err();
        assert!(began.elapsed() >= SHORT);
        let told = error.to_string();
        let (task, worker, limit) =
            expected!(error, TaskFailed::TimedOut { task, worker, limit, .. } => (task, worker, limit));
        assert_eq!((task.number, worker.pid, limit), (2 * round + 1, pid, SHORT));
        assert!(
            told.starts_with(&format!("task {} of pool l took longer than 30ms: ", task.number)),
            "{told}"
        );
        assert!(identity.is_none_or(|worker| worker.state().is_none()), "ended, and waited for");
        let pids = pool.pids();
        assert!(pids.len() == 1 && pids[0] != pid);
        // One that is quick enough.
        let quick = TaskOptions::new().timeout(PATIENCE);
        assert_eq!(pool.submit_with(quick, |n: u8| n, 7).unwrap().get().unwrap(), 7);
    }
    expected!(pool.submit(spin, 1).unwrap().get_timeout(PATIENCE), Err(TaskFailed::TimedOut { .. }));
}

pub(crate) fn a_limit_of_its_own(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let brief = TaskOptions::new().timeout(SHORT);
    let (ours, theirs) = gate();
    let unlimited = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    let limited = pool.submit_with(brief, spin, 1).unwrap();
    expected!(limited.get_timeout(PATIENCE), Err(TaskFailed::TimedOut { .. }));
    let mapped = [1].par_procs(&pool).options(brief).map(spin).next().unwrap();
    expected!(mapped, Err(TaskFailed::TimedOut { .. }));
    assert!(!unlimited.is_ready());
    ours.send(&4).unwrap();
    assert_eq!(unlimited.get().unwrap(), 4);

    let strict = build().workers(1).task_timeout(SHORT).build().unwrap();
    let none = TaskOptions::new().timeout(Duration::MAX);
    let (ours, theirs) = gate();
    let unlimited = strict.submit_with(none, hold, theirs).unwrap();
    await_start(&ours);
    assert_eq!(unlimited.get_timeout(3 * SHORT).unwrap(), None);
    ours.send(&5).unwrap();
    assert_eq!(unlimited.get().unwrap(), 5);
}

fn count_or_stay((tally, n, stays): (Descriptor, usize, bool)) -> usize {
    Tally::strike(tally, n);
    if stays {
        spin(0);
    }
    n
}

/// Large answers in front of the endless one: they are on their way in messages when the worker is ended.
pub(crate) fn the_others_of_its_chunk(build: Build) {
    const N: usize = 200;
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(N));
    let limit = TaskOptions::new().timeout(Duration::from_secs(1));
    let items = (0..N).map(|n| (tally.handle(), n, n % 100 == 70));
    let task = |item| (count_or_stay(item), vec![7_u8; 20 << 10]);
    for (n, result) in items.par_procs(&pool).options(limit).map(task).enumerate() {
        match result {
            Ok((value, bytes)) => assert!(value == n && n % 100 != 70 && bytes.len() == 20 << 10),
            Err(TaskFailed::TimedOut { task, .. }) => {
                assert_eq!((n % 100, task.number), (70, n as u64 + 1));
            }
            Err(other) => panic!("item {n}: {other}"),
        }
    }
    assert!((0..N).all(|n| tally.count(n) == 1), "each is run exactly once");
}

pub(crate) fn a_stopped_task(build: Build) {
    let pool = build().workers(1).task_timeout(SHORT).build().unwrap();
    let (ours, theirs) = gate();
    let long = TaskOptions::new().timeout(Duration::from_secs(2));
    let task = pool.submit_with(long, hold, theirs).unwrap();
    await_start(&ours);
    stop(pool.pids()[0]);
    ours.send(&1).unwrap();
    expected!(task.get_timeout(PATIENCE), Err(TaskFailed::TimedOut { .. }));
}

/// What a stopped worker was given and has not begun goes to another.
pub(crate) fn a_worker_stopped_before_it_begins(build: Build) {
    let settings = build().workers(1).task_timeout(PATIENCE).start_timeout(Duration::from_millis(1500));
    let pool = settings.build().unwrap();
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().get().unwrap(), 1);
    let victim = pool.pids()[0];
    stop(victim);
    let limit = TaskOptions::new().timeout(Duration::from_millis(1500));
    let task = pool.submit_with(limit, |()| std::process::id(), ()).unwrap();
    let pid = task.get_timeout(PATIENCE).unwrap().expect("another worker does it");
    assert_ne!(pid, victim);
    assert_eq!(pool.pids(), [pid]);
}

/// Exactly the slow ones lose, whatever else goes on.
pub(crate) fn limits_while_everything_else_runs(build: Build) {
    let (pool, tally) = (build().workers(3).build().unwrap(), Tally::new(3000));
    let slow = TaskOptions::new().timeout(SHORT);
    thread::scope(|scope| {
        scope.spawn(|| {
            let items = (0..2900).map(|n| (tally.handle(), n, false));
            let results = items.par_procs(&pool).map(count_or_stay);
            assert!(results.map(Result::unwrap).eq(0..2900));
        });
        scope.spawn(|| {
            let items = (2900..2950).map(|n| (tally.handle(), n, true));
            let results = items.par_procs(&pool).options(slow).map(count_or_stay);
            assert!(results.map(Result::unwrap_err).all(|e| matches!(e, TaskFailed::TimedOut { .. })));
        });
    });
    assert!((0..2900).all(|n| tally.count(n) == 1) && (2900..2950).all(|n| tally.count(n) <= 1));
    assert_eq!(pool.pids().len(), 3);
}

/// Tasks that end at about their limit: one outcome each, and no other task of the chunk pays.
pub(crate) fn at_its_limit_exactly(build: Build) {
    const N: usize = 300;
    fn last((tally, n, nanos): (Descriptor, usize, u64)) -> usize {
        Tally::strike(tally, n);
        let began = Instant::now();
        while began.elapsed() < Duration::from_nanos(nanos) {
            std::hint::spin_loop();
        }
        n
    }
    let (pool, tally, mut storm) = (build().workers(2).build().unwrap(), Tally::new(N), Storm::seeded());
    let limit = TaskOptions::new().timeout(Duration::from_micros(500));
    let items = Vec::from_iter((0..N).map(|n| (tally.handle(), n, 400_000 + storm.below(200_000))));
    let mut n_results = 0;
    for (n, result) in items.into_iter().par_procs(&pool).options(limit).map(last).enumerate() {
        n_results += 1;
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(TaskFailed::TimedOut { task, .. }) => assert_eq!(task.number, n as u64 + 1),
            Err(other) => panic!("item {n}: {other}"),
        }
        assert!(tally.count(n) <= 1);
    }
    assert_eq!((n_results, pool.pids().len()), (N, 2));
    assert_eq!(pool.map(|n: u8| n, 0..9).unwrap().len(), 9);
}
