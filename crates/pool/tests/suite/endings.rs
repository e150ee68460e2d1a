//! How a pool ends.

use std::thread;
use std::time::{Duration, Instant};

use procession_pool::{ParProcs, SubmitError, TaskFailed};
use procession_testkit::Signal;
use procession_testkit::processes::{self, Identity};

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, strike};

pub(crate) fn closed_takes_no_more(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let running = pool.submit(hold, theirs).unwrap();
    let waiting = pool.submit(|n: u8| n, 4).unwrap();
    await_start(&ours);
    pool.close();
    pool.close();
    expected!(pool.submit(|n: u8| n, 5), Err(SubmitError::Closed));
    ours.send(&3).unwrap();
    assert_eq!((running.get().unwrap(), waiting.get().unwrap()), (3, 4));
}

pub(crate) fn join_waits_for_all(build: Build) {
    let (pool, tally) = (build().workers(2).build().unwrap(), Tally::new(200));
    let strike = |(tally, n)| Tally::strike(tally, n);
    let tasks: Vec<_> = (0..200).map(|n| pool.submit(strike, (tally.handle(), n)).unwrap()).collect();
    pool.join();
    assert!(tasks.iter().all(procession_pool::Task::is_ready));
    assert!((0..200).all(|n| tally.count(n) == 1));
    build().workers(2).build().unwrap().join();
}

pub(crate) fn dropping_tells_every_waiter(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let running = pool.submit(hold, theirs).unwrap();
    let waiting: Vec<_> = (0..10).map(|n| pool.submit(|n: u8| n, n).unwrap()).collect();
    await_start(&ours);
    thread::scope(|scope| {
        let waiters: Vec<_> = waiting.into_iter().map(|task| scope.spawn(move || task.get())).collect();
        drop(pool);
        for waiter in waiters {
            expected!(waiter.join().unwrap(), Err(TaskFailed::Closed { .. }));
        }
    });
    expected!(running.get(), Err(TaskFailed::Closed { .. }));
}

pub(crate) fn dropping_ends_running_tasks(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (ours, theirs) = gate();
    let child = |gate| {
        let child = procession_process::spawn(hold, gate).unwrap();
        child.join().unwrap()
    };
    let task = pool.submit(child, theirs).unwrap();
    await_start(&ours);
    let mut family = processes::descendants(std::process::id());
    family.retain(|process| pool.pids().contains(&process.pid()));
    let children: Vec<Identity> =
        family.iter().flat_map(|worker| processes::children(worker.pid())).collect();
    assert_eq!((family.len(), children.len()), (2, 1));
    drop(pool);
    expected!(task.get(), Err(TaskFailed::Closed { .. }));
    assert!(family.iter().all(|process| process.state().is_none()), "ended, and waited for");
    assert!(children.iter().all(|child| child.wait_ended(PATIENCE)), "children end with their parents");
}

pub(crate) fn joined_in_time(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let running = pool.submit(hold, theirs).unwrap();
    let waiting = pool.submit(|n: u8| n, 4).unwrap();
    await_start(&ours);
    let pool = pool.join_timeout(Duration::from_millis(1)).unwrap_err();
    let pool = pool.join_until(Instant::now()).unwrap_err();
    expected!(pool.submit(|n: u8| n, 5), Err(SubmitError::Closed));
    assert!(!running.is_ready() && !waiting.is_ready());
    thread::scope(|scope| {
        let join = scope.spawn(|| pool.join_timeout(PATIENCE).unwrap());
        ours.send(&3).unwrap();
        join.join().unwrap();
    });
    assert_eq!((running.try_get().unwrap(), waiting.try_get().unwrap()), (Some(3), Some(4)));
    build().workers(2).build().unwrap().join_until(Instant::now() + PATIENCE).unwrap();
    build().workers(1).build().unwrap().join_timeout(Duration::MAX).unwrap();
}

/// Tasks that ignore the request to end are killed, at once if there is no grace.
pub(crate) fn terminated_within_its_grace(build: Build) {
    fn stay(gate: procession_pipe::Duplex<u8, u8>) -> u8 {
        use procession_sys::signal::{self, Disposition};
        signal::set(procession_process::Signal::TERM, Disposition::Ignore).unwrap();
        hold(gate)
    }
    for grace in [Duration::ZERO, Duration::from_millis(50)] {
        let pool = build().workers(2).build().unwrap();
        let workers: Vec<_> = pool.pids().into_iter().filter_map(Identity::of).collect();
        let (ours, theirs) = gate();
        let (task, waiting) = (pool.submit(stay, theirs).unwrap(), pool.submit(stay, gate().1).unwrap());
        await_start(&ours);
        pool.terminate(grace);
        assert!(workers.iter().all(|worker| worker.wait_ended(PATIENCE)));
        expected!(task.get(), Err(TaskFailed::Closed { .. }));
        expected!(waiting.get(), Err(TaskFailed::Closed { .. } | TaskFailed::Panicked { .. }));
    }
}

pub(crate) fn maps_of_a_closed_pool(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let mut results = (0..).par_procs(&pool).in_flight(2).map(|n: u32| n);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    pool.close();
    let rest: Vec<_> = results.collect();
    assert!(rest.len() <= 3, "what was under way, and one refusal");
    expected!(rest.last().unwrap(), Err(TaskFailed::Closed { .. }));
    expected!(pool.map(|n: u32| n, [1]), Err(TaskFailed::Closed { .. }));
    assert!(pool.map(|n: u32| n, []).unwrap().is_empty());
}

pub(crate) fn killed_while_closed(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(50));
    let (ours, theirs) = gate();
    let first = pool.submit(hold, theirs).unwrap();
    let strike_one = |(tally, n)| Tally::strike(tally, n);
    let tasks: Vec<_> = (0..50).map(|n| pool.submit(strike_one, (tally.handle(), n)).unwrap()).collect();
    await_start(&ours);
    pool.close();
    strike(pool.pids()[0], Signal::KILL);
    pool.join();
    expected!(first.get(), Err(TaskFailed::WorkerDied { .. }));
    assert!(tasks.into_iter().all(|task| task.get().is_ok()));
    assert!((0..50).all(|n| tally.count(n) == 1));
}
