//! Tasks that may be begun again: how often, by whom, and when they are given up.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::thread;
use std::time::Duration;

use procession_codec::Descriptor;
use procession_pool::{ParProcs, TaskFailed, TaskOptions, attempt};
use procession_process::Exit;
use procession_testkit::{Signal, Storm};

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, signal_self, strike};

/// Dies until the `n`-th attempt, then tells which attempt it was.
fn succeed_at((tally, n): (Descriptor, u32)) -> u32 {
    Tally::strike(tally, 0);
    if attempt() < n {
        signal_self(Signal::KILL);
    }
    attempt()
}

pub(crate) fn tried_until_it_succeeds(build: Build) {
    assert_eq!(attempt(), 0, "outside of tasks");
    for n in [1, 2, 3] {
        let (pool, tally) = (build().workers(1).retries(2).build().unwrap(), Tally::new(1));
        assert_eq!(pool.submit(succeed_at, (tally.handle(), n)).unwrap().get().unwrap(), n);
        assert_eq!(tally.count(0), u64::from(n));
        assert_eq!(pool.submit(|()| attempt(), ()).unwrap().get().unwrap(), 1);
        assert_eq!(pool.pids().len(), 1);
    }
}

pub(crate) fn given_up_with_its_history(build: Build) {
    let (pool, tally) = (build().workers(2).name("r").retries(1).build().unwrap(), Tally::new(1));
    let error = pool.submit(succeed_at, (tally.handle(), 9)).unwrap().get().unwrap_err();
    assert_eq!(tally.count(0), 2);
    let told = error.to_string();
    assert!(
        told.starts_with("task 1 of pool r was given up after 2 attempts; the last: task 1 of pool r is ")
    );
    assert_eq!(error.source().unwrap().to_string(), error.attempts()[1].to_string());
    let (task, attempts) =
        expected!(error, TaskFailed::GivenUp { task, is_poison: false, attempts } => (task, attempts));
    let mut pids = BTreeSet::new();
    for failure in &*attempts {
        let (of, worker, exit) =
            expected!(failure, TaskFailed::WorkerDied { task, worker, exit, .. } => (task, worker, exit));
        assert_eq!(
            (of, *exit),
            (&task, Exit::Signal { signal: procession_process::Signal::KILL, core_dumped: false })
        );
        pids.insert(worker.pid);
    }
    assert_eq!((attempts.len(), pids.len()), (2, 2));
    assert!(pool.pids().len() == 2 && pool.pids().iter().all(|pid| !pids.contains(pid)));
    // Without attempts left a failure is itself.
    let once = TaskOptions::new().retries(0);
    let error = pool.submit_with(once, succeed_at, (tally.handle(), 9)).unwrap().get().unwrap_err();
    assert_eq!(error.attempts().len(), 1);
    expected!(error, TaskFailed::WorkerDied { .. });
}

pub(crate) fn poison_is_given_up_early(build: Build) {
    for (guard, n_deaths) in [(None, 3), (Some(0), 1), (Some(1), 1), (Some(5), 5)] {
        let (pool, tally) = (build().workers(1).retries(100).build().unwrap(), Tally::new(1));
        let options = guard.map_or(TaskOptions::new(), |n| TaskOptions::new().poison_after(n));
        let task = pool.submit_with(options, succeed_at, (tally.handle(), 1000)).unwrap();
        let error = task.get().unwrap_err();
        assert!(
            error.to_string().contains(&format!("given up as poison after {n_deaths} attempts")),
            "{error}"
        );
        let attempts = expected!(error, TaskFailed::GivenUp { is_poison: true, attempts, .. } => attempts);
        assert_eq!((attempts.len(), tally.count(0)), (n_deaths, n_deaths as u64));
        assert_eq!(pool.submit(|n: u8| n, 1).unwrap().get().unwrap(), 1);
    }
}

fn slow_until((tally, n): (Descriptor, u32)) -> u32 {
    while attempt() < n {
        std::hint::spin_loop();
    }
    Tally::strike(tally, 0);
    attempt()
}

pub(crate) fn slow_attempts_are_no_poison(build: Build) {
    let settings = build().workers(1).retries(5).poison_after(1);
    let (pool, tally) = (settings.build().unwrap(), Tally::new(1));
    let slow = TaskOptions::new().timeout(Duration::from_millis(20));
    let error = pool.submit_with(slow, slow_until, (tally.handle(), 9)).unwrap().get().unwrap_err();
    let attempts = expected!(error, TaskFailed::GivenUp { is_poison: false, attempts, .. } => attempts);
    assert_eq!(attempts.len(), 6);
    assert!(attempts.iter().all(|failure| matches!(failure, TaskFailed::TimedOut { .. })));
    // The machine may be too slow for one attempt, hardly for four.
    let slow = slow.timeout(Duration::from_millis(200));
    let third = pool.submit_with(slow, slow_until, (tally.handle(), 3)).unwrap().get().unwrap();
    assert!(third >= 3, "{third}");
}

pub(crate) fn what_is_not_tried_again(build: Build) {
    let (pool, tally) = (build().workers(1).retries(5).build().unwrap(), Tally::new(1));
    let panics = |tally| -> u8 {
        Tally::strike(tally, 0);
        panic!("once")
    };
    expected!(pool.submit(panics, tally.handle()).unwrap().get(), Err(TaskFailed::Panicked { .. }));
    assert_eq!(tally.count(0), 1);
}

fn count_or_die((tally, n, deadly): (Descriptor, usize, bool)) -> usize {
    Tally::strike(tally, n);
    if deadly {
        signal_self(Signal::KILL);
    }
    n
}

/// The poisonous ones are tried as often as they may; the others once, and all come in order.
pub(crate) fn poison_in_a_map(build: Build) {
    for workers in [1, 3] {
        let (pool, tally) = (build().workers(workers).retries(1).build().unwrap(), Tally::new(600));
        let is_deadly = |n| n % 90 == 60;
        let items = (0..600).map(|n| (tally.handle(), n, is_deadly(n)));
        for (n, result) in items.par_procs(&pool).map(count_or_die).enumerate() {
            match result {
                Ok(value) => assert!(value == n && !is_deadly(n)),
                Err(TaskFailed::GivenUp { task, attempts, .. }) => {
                    assert!(is_deadly(n) && attempts.len() == 2 && task.number == n as u64 + 1, "item {n}");
                }
                Err(other) => panic!("item {n}: {other}"),
            }
            assert_eq!(tally.count(n), if is_deadly(n) { 2 } else { 1 }, "item {n}");
        }
        assert_eq!(pool.pids().len(), workers);
    }
}

pub(crate) fn cancelled_between_attempts(build: Build) {
    let (pool, tally) =
        (build().workers(1).retries(u32::MAX).poison_after(u32::MAX).build().unwrap(), Tally::new(1));
    let task = pool.submit(succeed_at, (tally.handle(), u32::MAX)).unwrap();
    while tally.count(0) < 5 {
        thread::yield_now();
    }
    assert!(task.cancel());
    expected!(task.get_timeout(PATIENCE), Err(TaskFailed::Cancelled { .. }));
    let count = tally.count(0);
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().get().unwrap(), 1);
    assert_eq!(tally.count(0), count, "never again");
    // A pool that ends meanwhile ends the attempts.
    let task = pool.submit(succeed_at, (tally.handle(), u32::MAX)).unwrap();
    let ((ours, theirs), second) = (gate(), build().workers(1).retries(9).build().unwrap());
    let held = second.submit(hold, theirs).unwrap();
    await_start(&ours);
    drop((pool, second));
    expected!(task.get(), Err(TaskFailed::Closed { .. }));
    expected!(held.get(), Err(TaskFailed::Closed { .. }));
}

/// Workers killed all the time: repeatable tasks all give their value in the end.
pub(crate) fn kills_that_nobody_notices(build: Build) {
    const KILLS: usize = 60;
    let settings = build().workers(3).retries(1000).poison_after(1000);
    let (pool, tally, mut storm) = (settings.build().unwrap(), Tally::new(4000), Storm::seeded());
    thread::scope(|scope| {
        let mapped = scope.spawn(|| {
            let items = (0..4000).map(|n| (tally.handle(), n, false));
            assert!(items.par_procs(&pool).map(count_or_die).map(Result::unwrap).eq(0..4000));
        });
        for _ in 0..KILLS {
            if let Some(victim) = pool.pids().get(storm.below(3) as usize) {
                strike(*victim, Signal::KILL);
            }
        }
        mapped.join().unwrap();
    });
    assert!((0..4000).all(|n| tally.count(n) >= 1));
}
