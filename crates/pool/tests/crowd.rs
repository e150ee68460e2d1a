//! Two hundred workers: what they cost, that all of them work, and that they end. What they do where they do not fit: see
//! `exhausted.rs`.

mod gate;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use gate::{await_start, gate, hold};
use procession_pool::{ParProcs, Pool, TaskFailed};
use procession_shm::domain::Domain;
use procession_sys::limits;
use procession_testkit::Counted;
use procession_testkit::processes::Identity;

const WORKERS: usize = 200;
const TASKS: usize = 1000;

fn n_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_tasks_of_two_hundred_workers() {
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        let (before, start) = (n_descriptors(), Instant::now());
        let pool = Pool::builder().workers(WORKERS).name("crowd").build().unwrap();
        let (built, used) = (start.elapsed(), n_descriptors() - before);
        let workers: Vec<_> = pool.pids().into_iter().map(|pid| Identity::of(pid).unwrap()).collect();
        assert_eq!(workers.len(), WORKERS);
        let limit = limits::get().descriptors.soft.map_or(usize::MAX, |soft| soft as usize);
        assert!(n_descriptors() <= limit && used <= 3 * WORKERS + 3, "{used} descriptors");

        let start = Instant::now();
        let work = |n: usize| (n, std::process::id());
        let results: Vec<_> = (0..TASKS).par_procs(&pool).chunk(1).map(work).map(Result::unwrap).collect();
        assert!(results.iter().map(|(n, _)| *n).eq(0..TASKS));
        let mapped = start.elapsed();
        // All at once: each has one, and none is done before all have begun.
        let ends: Vec<_> = (0..WORKERS).map(|_| gate()).collect();
        let (ours, theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let tasks: Vec<_> = theirs.into_iter().map(|gate| pool.submit(hold, gate).unwrap()).collect();
        let busy: BTreeSet<u32> = ours.iter().map(await_start).collect();
        assert_eq!(busy, workers.iter().map(|worker| worker.pid()).collect());
        for (n, gate) in (0..).zip(&ours) {
            gate.send(&n).unwrap();
        }
        assert!((0..).zip(tasks).all(|(n, task)| task.get().unwrap() == n));
        let start = Instant::now();
        pool.join();
        let joined = start.elapsed();
        assert!(workers.iter().all(|worker| worker.state().is_none()), "ended, and waited for");
        let _ = writeln!(
            std::io::stderr(),
            "pool of {WORKERS}: {used} descriptors; built in {built:?}, {TASKS} tasks in {mapped:?}, ended in {joined:?}"
        );
    });
}

/// Every one of them dies in its task, at about the same time.
#[test]
fn all_of_a_crowd_die() {
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        let pool = Pool::new(60).unwrap();
        let results: Vec<_> = (0..120)
            .par_procs(&pool)
            .chunk(1)
            .map(|n: u32| -> u32 { std::process::exit(n as i32) })
            .collect();
        assert_eq!(results.len(), 120);
        for (n, result) in results.into_iter().enumerate() {
            let Err(TaskFailed::WorkerDied { exit, .. }) = result else { panic!("{n}: {result:?}") };
            assert_eq!(exit.code(), i32::try_from(n).ok());
        }
        assert_eq!(pool.map(|n: u32| n, 0..200).unwrap(), Vec::from_iter(0..200));
        assert_eq!(pool.pids().len(), 60);
    });
}
