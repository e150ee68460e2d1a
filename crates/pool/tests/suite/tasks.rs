//! Single tasks and the handles they are waited on with.

use std::thread;
use std::time::{Duration, Instant};

use procession_pool::{BuildError, TaskFailed};

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold};

pub(crate) fn every_form_of_waiting(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    assert!(!task.is_ready());
    assert_eq!(task.try_get().unwrap(), None);
    assert_eq!(task.get_timeout(Duration::from_millis(1)).unwrap(), None);
    assert_eq!(task.get_until(Instant::now()).unwrap(), None);
    ours.send(&7).unwrap();
    assert_eq!(task.get().unwrap(), 7);

    let now = |n: u8| n;
    assert_eq!(pool.submit(now, 1).unwrap().get_timeout(PATIENCE).unwrap(), Some(1));
    assert_eq!(pool.submit(now, 2).unwrap().get_until(Instant::now() + PATIENCE).unwrap(), Some(2));
    assert_eq!(pool.submit(now, 3).unwrap().get_timeout(Duration::MAX).unwrap(), Some(3));
    let task = pool.submit(now, 4).unwrap();
    while !task.is_ready() {
        thread::yield_now();
    }
    assert_eq!(task.try_get().unwrap(), Some(4));
}

pub(crate) fn the_value_is_given_once(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let task = pool.submit(|n: u8| n, 9).unwrap();
    assert_eq!(task.get_timeout(PATIENCE).unwrap(), Some(9));
    assert!(!task.is_ready());
    assert_eq!(task.try_get().unwrap(), None);
    assert_eq!(task.get_timeout(Duration::MAX).unwrap(), None);
    expected!(task.get(), Err(TaskFailed::AlreadyTaken { .. }));
    let fails = pool.submit(|()| -> u8 { panic!("once") }, ()).unwrap();
    expected!(fails.get_timeout(PATIENCE), Err(TaskFailed::Panicked { .. }));
    assert_eq!(fails.get_timeout(Duration::MAX).unwrap(), None);
}

/// Of many who wait exactly one gets the value, and nobody waits on.
pub(crate) fn a_waiter_learns_that_the_value_is_gone(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    thread::scope(|scope| {
        let waiters: Vec<_> =
            (0..4).map(|_| scope.spawn(|| task.get_timeout(Duration::MAX).unwrap())).collect();
        ours.send(&7).unwrap();
        let values: Vec<_> = waiters.into_iter().filter_map(|waiter| waiter.join().unwrap()).collect();
        assert_eq!(values, [7]);
    });
}

pub(crate) fn a_dropped_task_still_runs(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(1));
    drop(pool.submit(|tally| Tally::strike(tally, 0), tally.handle()).unwrap());
    pool.join();
    assert_eq!(tally.count(0), 1);
}

pub(crate) fn many_threads_submit(build: Build) {
    let pool = build().workers(2).build().unwrap();
    thread::scope(|scope| {
        for start in 0..8_u64 {
            let pool = &pool;
            scope.spawn(move || {
                let items = start * 100..start * 100 + 100;
                let tasks: Vec<_> = items.clone().map(|n| pool.submit(|n: u64| n + 1, n).unwrap()).collect();
                let values = tasks.into_iter().map(|task| task.get().unwrap());
                assert!(values.eq(items.map(|n| n + 1)));
            });
        }
    });
}

pub(crate) fn ids_count_from_one(build: Build) {
    let pool = build().workers(1).name("n").build().unwrap();
    let ids: Vec<_> = (0..3).map(|n| pool.submit(|n: u8| n, n).unwrap().id().to_string()).collect();
    assert_eq!(ids, ["task 1 of pool n", "task 2 of pool n", "task 3 of pool n"]);
}

pub(crate) fn no_workers(build: Build) {
    expected!(build().workers(0).build(), Err(BuildError::NoWorkers));
}
