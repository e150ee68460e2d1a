//! Workers that are replaced after so many tasks: nobody notices, and none runs more.

use std::collections::BTreeMap;

use procession_codec::Descriptor;
use procession_pool::{ParProcs, TaskFailed};
use procession_testkit::Signal;
use procession_testkit::processes::Identity;

use super::{Build, Tally, expected, signal_self};

pub(crate) fn a_worker_for_every_task(build: Build) {
    for most in [0, 1] {
        let pool = build().workers(1).max_tasks_per_worker(most).build().unwrap();
        let mut seen = Vec::new();
        for _ in 0..6 {
            let first = Identity::of(pool.pids()[0]);
            let pid = pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap();
            assert!(!seen.contains(&pid), "{pid} again, after {seen:?}");
            seen.push(pid);
            // More work than one can do, given at once.
            let tasks: Vec<_> = (0..3).map(|n: u8| pool.submit(|n: u8| n, n).unwrap()).collect();
            assert!(tasks.into_iter().map(|task| task.get().unwrap()).eq(0..3));
            assert!(first.is_none_or(|worker| worker.state().is_none()), "ended, and waited for");
        }
    }
}

fn count((tally, n, deadly): (Descriptor, usize, bool)) -> (usize, u32) {
    Tally::strike(tally, n);
    if deadly {
        signal_self(Signal::KILL);
    }
    (n, std::process::id())
}

pub(crate) fn no_worker_runs_more_than_it_may(build: Build) {
    for (workers, most) in [(1, 100), (2, 7), (3, 30)] {
        let pool = build().workers(workers).max_tasks_per_worker(most).build().unwrap();
        let (tally, n) = (Tally::new(600), 10 * most);
        let mut ran = BTreeMap::new();
        let items = (0..n).map(|n| (tally.handle(), n % 600, false));
        for (n, result) in items.par_procs(&pool).map(count).enumerate() {
            let (value, pid) = result.unwrap();
            assert_eq!(value, n % 600);
            *ran.entry(pid).or_insert(0) += 1;
        }
        assert!(ran.values().all(|n| *n <= most), "{ran:?}");
        assert_eq!((0..600).map(|i| tally.count(i)).sum::<u64>(), n as u64, "each once");
        assert_eq!(pool.pids().len(), workers);
        pool.join();
    }
}

pub(crate) fn recycled_among_deaths(build: Build) {
    let (pool, tally) = (build().workers(2).max_tasks_per_worker(5).build().unwrap(), Tally::new(200));
    let items = (0..200).map(|n| (tally.handle(), n, n % 9 == 4));
    for (n, result) in items.par_procs(&pool).map(count).enumerate() {
        match result {
            Ok((value, _)) => assert!(value == n && n % 9 != 4),
            Err(error) => {
                assert_eq!(n % 9, 4);
                expected!(error, TaskFailed::WorkerDied { .. });
            }
        }
        assert_eq!(tally.count(n), 1);
    }
}

pub(crate) fn recycled_with_handles_and_large_answers(build: Build) {
    fn answer((tally, n): (Descriptor, usize)) -> (Vec<u8>, Descriptor) {
        Tally::strike(tally.clone(), n);
        (vec![n as u8; if n % 3 == 0 { 200 << 10 } else { 9 }], tally)
    }
    let (pool, tally) = (build().workers(1).max_tasks_per_worker(4).build().unwrap(), Tally::new(60));
    let items = (0..60).map(|n| (tally.handle(), n));
    for (n, result) in items.par_procs(&pool).map(answer).enumerate() {
        let (bytes, handle) = result.unwrap();
        assert!(bytes.iter().all(|byte| *byte == n as u8));
        Tally::strike(handle, n);
        assert_eq!(tally.count(n), 2);
    }
}
