//! Workers killed and stopped from outside, at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use procession_codec::Descriptor;
use procession_pool::{ParProcs, Pool, Task, TaskFailed};
use procession_testkit::processes::{self, Identity};
use procession_testkit::{Signal, Storm};

use super::{Build, PATIENCE, Tally, await_start, gate, hold, stop, strike};

/// Waits until the pool has its size again, without any of `dead`.
fn await_replaced(pool: &Pool, dead: &[u32]) {
    loop {
        let pids = pool.pids();
        if pids.len() == pool.workers() && pids.iter().all(|pid| !dead.contains(pid)) {
            return;
        }
        thread::yield_now();
    }
}

pub(crate) fn idle_workers_are_replaced(build: Build) {
    let pool = build().workers(2).build().unwrap();
    assert_eq!(pool.map(|n: u8| n, 0..10).unwrap().len(), 10);
    // More often than a pool puts up with workers that cannot be started.
    for _ in 0..20 {
        let victim = pool.pids()[1];
        // Killed only once it is at work: what dies before that looks like a start that fails.
        while pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap() != victim {
            let (ours, theirs) = gate();
            let busy = pool.submit(hold, theirs).unwrap();
            await_start(&ours);
            let pid = pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap();
            ours.send(&0).unwrap();
            busy.get().unwrap();
            if pid == victim {
                break;
            }
        }
        strike(victim, Signal::KILL);
        await_replaced(&pool, &[victim]);
    }
    assert_eq!(pool.map(|n: u8| n, 0..10).unwrap(), Vec::from_iter(0..10));
}

pub(crate) fn every_worker_killed_at_once(build: Build) {
    let pool = build().workers(4).build().unwrap();
    for round in 0..5 {
        assert_eq!(pool.map(|n: u32| n + 1, 0..100).unwrap(), Vec::from_iter(1..101));
        let pids = pool.pids();
        for pid in &pids {
            strike(*pid, Signal::KILL);
        }
        // Idle workers take no task with them.
        assert_eq!(pool.map(|n: u32| n, 0..100).unwrap(), Vec::from_iter(0..100), "round {round}");
        await_replaced(&pool, &pids);
    }
}

fn count((tally, n): (Descriptor, usize)) -> usize {
    Tally::strike(tally, n);
    n
}

/// Each has exactly one outcome: its value, or the death of the worker that began it; never run twice.
fn check(tasks: impl IntoIterator<Item = (usize, Result<usize, TaskFailed>)>, tally: &Tally) -> usize {
    let mut lost = BTreeMap::new();
    for (n, outcome) in tasks {
        match outcome {
            Ok(value) => assert_eq!((value, tally.count(n)), (n, 1)),
            Err(TaskFailed::WorkerDied { worker, .. }) => {
                assert!(tally.count(n) <= 1, "task {n} ran {} times", tally.count(n));
                assert_eq!(lost.insert(worker.pid, n), None, "one worker takes one task with it");
            }
            Err(other) => panic!("task {n}: {other}"),
        }
    }
    lost.len()
}

pub(crate) fn killed_right_after_submit(build: Build) {
    let (pool, tally, mut storm) = (build().workers(1).build().unwrap(), Tally::new(60), Storm::seeded());
    for n in 0..60 {
        let task = pool.submit(count, (tally.handle(), n)).unwrap();
        for _ in 0..storm.below(400) {
            std::hint::spin_loop();
        }
        strike(pool.pids()[0], Signal::KILL);
        check([(n, task.get())], &tally);
    }
}

pub(crate) fn three_hundred_kills_under_load(build: Build) {
    const KILLS: usize = 300;
    const TASKS: usize = 20 * KILLS;
    let (pool, tally, mut storm) =
        (build().workers(3).build().unwrap(), Tally::new(TASKS + 4000), Storm::seeded());
    let mut tasks: Vec<(usize, Task<usize>)> = Vec::new();
    thread::scope(|scope| {
        let mapped = scope.spawn(|| {
            let items = (TASKS..TASKS + 4000).map(|n| (tally.handle(), n));
            check((TASKS..).zip(items.par_procs(&pool).map(count)), &tally)
        });
        let mut killed = BTreeSet::new();
        for kill in 0..KILLS {
            for n in 20 * kill..20 * (kill + 1) {
                tasks.push((n, pool.submit(count, (tally.handle(), n)).unwrap()));
            }
            // Each kill hits a worker that was not killed before.
            let victim = loop {
                let alive: Vec<u32> = pool.pids().into_iter().filter(|pid| !killed.contains(pid)).collect();
                if !alive.is_empty() {
                    break *storm.pick(&alive);
                }
                thread::yield_now();
            };
            strike(victim, Signal::KILL);
            killed.insert(victim);
            if storm.chance(1, 3) {
                let (n, task) = tasks.swap_remove(storm.below(tasks.len() as u64) as usize);
                check([(n, task.get())], &tally);
            }
        }
        mapped.join().unwrap();
    });
    check(tasks.into_iter().map(|(n, task)| (n, task.get())), &tally);
    assert_eq!(pool.map(|n: u8| n, 0..20).unwrap(), Vec::from_iter(0..20));
}

pub(crate) fn a_stopped_worker_holds_up_nobody(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let ends = [gate(), gate()];
    let (ours, theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let busy: Vec<_> = theirs.into_iter().map(|gate| pool.submit(hold, gate).unwrap()).collect();
    ours.iter().for_each(await_start);
    let victim = pool.pids()[0];
    stop(victim);
    ours.iter().for_each(|gate| gate.send(&1).unwrap());
    let rest: Vec<_> = (0..50).map(|n| pool.submit(|n: u64| (n, std::process::id()), n).unwrap()).collect();
    for (n, task) in (0..).zip(rest) {
        let (value, pid) = task.get_timeout(PATIENCE).unwrap().expect("the other worker does it");
        assert!(value == n && pid != victim);
    }
    assert_eq!(busy.iter().filter(|task| task.is_ready()).count(), 1);
    processes::kill(victim, Signal::CONT).unwrap();
    assert!(busy.into_iter().all(|task| task.get().unwrap() == 1));
}

fn identities(pool: &Pool) -> Vec<Identity> {
    pool.pids().into_iter().map(|pid| Identity::of(pid).expect("a living worker")).collect()
}

pub(crate) fn dropped_with_a_stopped_worker(build: Build) {
    let pool = build().workers(3).build().unwrap();
    let identities = identities(&pool);
    stop(pool.pids()[1]);
    drop(pool);
    assert!(identities.iter().all(|process| process.state().is_none()), "ended, and waited for");
}

/// Tasks that ignore the request to end are killed.
pub(crate) fn dropped_with_stubborn_tasks(build: Build) {
    fn stay(gate: procession_pipe::Duplex<u8, u8>) -> u8 {
        use procession_sys::signal::{self, Disposition};
        signal::set(procession_process::Signal::TERM, Disposition::Ignore).unwrap();
        hold(gate)
    }
    let pool = build().workers(2).build().unwrap();
    let identities = identities(&pool);
    let (ours, theirs) = gate();
    let task = pool.submit(stay, theirs).unwrap();
    await_start(&ours);
    drop(pool);
    assert!(matches!(task.get(), Err(TaskFailed::Closed { .. })));
    assert!(identities.iter().all(|process| process.state().is_none()), "ended, and waited for");
}
