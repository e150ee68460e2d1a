//! How many workers there are.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use procession_pool::{BuildError, ParProcs, Pool, Task, TaskFailed};
use procession_process::TaskError;
use procession_testkit::Signal;
use procession_testkit::processes::Identity;

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, strike};

/// Waits until `pool` has so many workers.
fn await_size(pool: &Pool, n: usize) {
    while pool.pids().len() != n {
        thread::yield_now();
    }
}

fn identities(pool: &Pool) -> Vec<Identity> {
    pool.pids().into_iter().map(|pid| Identity::of(pid).expect("a living worker")).collect()
}

pub(crate) fn grown_and_shrunk(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let first = pool.pids();
    pool.resize(5).unwrap();
    assert_eq!((pool.workers(), pool.pids().len()), (5, 5));
    assert_eq!(pool.pids()[..2], first, "those that are there stay");
    pool.warm_up().unwrap();
    let five = identities(&pool);
    for n in [1, 3] {
        pool.resize(n).unwrap();
        assert_eq!(pool.workers(), n);
        await_size(&pool, n);
    }
    assert_eq!(five.iter().filter(|worker| worker.is_alive()).count(), 1);
    expected!(pool.resize(0), Err(BuildError::NoWorkers));
    assert_eq!(pool.workers(), 3);
    // Who is killed is replaced; who is too many is not.
    let pids = pool.pids();
    strike(pids[0], Signal::KILL);
    while pool.pids().contains(&pids[0]) || pool.pids().len() != 3 {
        thread::yield_now();
    }
    assert_eq!(pool.map(|n: u32| n, 0..100).unwrap().len(), 100);
    assert_eq!(pool.pids().len(), 3);
}

pub(crate) fn shrunk_under_load(build: Build) {
    let (pool, tally) = (build().workers(4).build().unwrap(), Tally::new(3000));
    let strike = |(tally, n)| {
        Tally::strike(tally, n);
        n
    };
    let items = (0..3000).map(|n| (tally.handle(), n));
    let mut results = items.par_procs(&pool).in_flight(200).map(strike);
    for n in 0..3000 {
        if n % 300 == 0 {
            pool.resize([1, 4, 2, 3][n / 300 % 4]).unwrap();
        }
        assert_eq!(results.next().unwrap().unwrap(), n);
    }
    assert!((0..3000).all(|n| tally.count(n) == 1));
    await_size(&pool, pool.workers());
}

/// Tasks that are held, and who lets them go.
fn held(pool: &Pool, n: usize) -> Vec<(Task<u8>, procession_pipe::Duplex<u8, u8>)> {
    let gates = (0..n).map(|_| gate());
    let held: Vec<_> = gates.map(|(ours, theirs)| (pool.submit(hold, theirs).unwrap(), ours)).collect();
    held.iter().for_each(|(_, ours)| await_start(ours));
    held
}

pub(crate) fn shrunk_while_all_are_busy(build: Build) {
    let pool = build().workers(3).build().unwrap();
    let tasks = held(&pool, 3);
    let workers = identities(&pool);
    pool.resize(1).unwrap();
    let waiting = pool.submit(|()| std::process::id(), ()).unwrap();
    assert_eq!(pool.pids().len(), 3, "all have work");
    for (n, (task, ours)) in tasks.into_iter().enumerate() {
        ours.send(&7).unwrap();
        assert_eq!(task.get().unwrap(), 7);
        if n == 0 {
            await_size(&pool, 2);
        }
    }
    let last = waiting.get().unwrap();
    await_size(&pool, 1);
    assert!(workers.iter().filter(|worker| worker.is_alive()).all(|worker| worker.pid() == last));
    // Those that were to go stay if they are wanted after all.
    pool.resize(3).unwrap();
    let tasks = held(&pool, 3);
    let pids = pool.pids();
    pool.resize(1).unwrap();
    pool.resize(3).unwrap();
    for (task, ours) in tasks {
        ours.send(&7).unwrap();
        assert_eq!(task.get().unwrap(), 7);
    }
    assert_eq!(pool.map(|n: u8| n, 0..20).unwrap().len(), 20);
    assert_eq!(pool.pids(), pids);
}

pub(crate) fn resized_at_random_with_kills(build: Build) {
    let (pool, tally) = (build().workers(3).retries(50).poison_after(100).build().unwrap(), Tally::new(400));
    let mut random = 7_u64;
    let mut next = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    let strike_once = |(tally, n)| {
        Tally::strike(tally, n);
        n
    };
    let mut tasks = Vec::new();
    for n in 0..400 {
        tasks.push(pool.submit(strike_once, (tally.handle(), n)).unwrap());
        match next(8) {
            0 => pool.resize(1 + next(4) as usize).unwrap(),
            1 => {
                let pids = pool.pids();
                let index = next(pids.len().max(1) as u64) as usize;
                pids.get(index).into_iter().for_each(|pid| strike(*pid, Signal::KILL));
            }
            _ => {}
        }
    }
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.get_timeout(PATIENCE).unwrap(), Some(n));
        assert!(tally.count(n) >= 1);
    }
    await_size(&pool, pool.workers());
}

pub(crate) fn idle_workers_end(build: Build) {
    let pool = build().workers(4).idle_shrink(Duration::from_millis(5), 1).build().unwrap();
    let tasks = held(&pool, 2);
    await_size(&pool, 2);
    assert_eq!(pool.workers(), 4);
    // One that works is not idle, however long that takes.
    for (task, ours) in tasks {
        assert!(task.get_timeout(Duration::from_millis(20)).unwrap().is_none());
        ours.send(&7).unwrap();
        assert_eq!(task.get().unwrap(), 7);
    }
    await_size(&pool, 1);
    let last = pool.pids();
    pool.warm_up().unwrap();
    await_size(&pool, 1);
    assert_eq!(pool.apply(|n: u8| n, 9).unwrap(), 9);
    drop(last);
}

pub(crate) fn and_come_back_when_needed(build: Build) {
    let pool = build().workers(3).idle_shrink(Duration::from_millis(1), 0).build().unwrap();
    for _ in 0..5 {
        await_size(&pool, 0);
        let tasks = held(&pool, 3);
        assert_eq!(pool.pids().len(), 3, "no more than it may have");
        let waiting = pool.submit(|n: u8| n, 1).unwrap();
        for (task, ours) in tasks {
            ours.send(&7).unwrap();
            assert_eq!(task.get().unwrap(), 7);
        }
        assert_eq!(waiting.get().unwrap(), 1);
    }
    assert_eq!(pool.map(|n: u32| n, 0..1000).unwrap().len(), 1000);
    pool.join();
}

pub(crate) fn started_on_demand(build: Build) {
    let pool = build().workers(3).lazy_start().build().unwrap();
    assert!(pool.pids().is_empty() && pool.workers() == 3);
    for n in 0..10_u32 {
        assert_eq!(pool.apply(|n: u32| n, n).unwrap(), n);
    }
    assert_eq!(pool.pids().len(), 1, "one was enough");
    let tasks = held(&pool, 3);
    let pids = BTreeSet::from_iter(pool.pids());
    assert_eq!(pids.len(), 3);
    // Nobody needs the one that dies of this.
    let victim = *pids.iter().next().unwrap();
    strike(victim, Signal::KILL);
    let mut n_lost = 0;
    for (task, ours) in tasks {
        // The task that died with it has no other end of its gate.
        let _ = ours.send(&7);
        match task.get() {
            Ok(value) => assert_eq!(value, 7),
            Err(TaskFailed::WorkerDied { worker, .. }) => {
                assert_eq!(worker.pid, victim);
                n_lost += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((n_lost, pool.pids().len()), (1, 2));
    build().workers(3).lazy_start().build().unwrap().join();
}

pub(crate) fn warm_when_all_have_asked(build: Build) {
    let settings = build().workers(3).lazy_start();
    let pool = settings.initializer(|n: u8| Ok(n), 4).build().unwrap();
    thread::scope(|scope| {
        let warm: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.warm_up())).collect();
        warm.into_iter().for_each(|warm| warm.join().unwrap().unwrap());
    });
    let pids = pool.pids();
    assert_eq!(pids.len(), 3);
    pool.warm_up().unwrap();
    assert_eq!(pool.pids(), pids);
    // Also when one dies meanwhile.
    for _ in 0..5 {
        strike(pool.pids()[0], Signal::KILL);
        pool.warm_up().unwrap();
        assert_eq!(pool.pids().len(), 3);
    }
    assert_eq!(pool.apply(|()| procession_pool::with_state(|n: &mut u8| *n), ()).unwrap(), 4);
}

pub(crate) fn a_warm_up_that_fails(build: Build) {
    let fails = |()| Err::<(), _>(TaskError::new("no luck"));
    let pool = build().workers(2).lazy_start().initializer(fails, ()).build().unwrap();
    match pool.warm_up() {
        Err(error @ BuildError::Initializer { .. }) => {
            assert!(error.to_string().contains("no luck"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    expected!(pool.apply(|n: u8| n, 1), Err(TaskFailed::NoWorker { .. }));
}
