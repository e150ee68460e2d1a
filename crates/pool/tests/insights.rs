//! What pools tell of the time of their workers.

use std::thread::sleep; // tidy: sleep: tasks whose time is what is looked at
use std::time::{Duration, Instant};

use procession_pool::{Insights, ParProcs, Pool, Verdict};
use procession_testkit::guarded;
use procession_testkit::processes::{self, Signal};

const NAP: Duration = Duration::from_millis(2);

/// A pool, with the time before it was there, and after.
fn pool(workers: usize) -> (Pool, [Instant; 2]) {
    let before = Instant::now();
    let pool = Pool::builder().workers(workers).name("seen").build().unwrap();
    (pool, [before, Instant::now()])
}

/// The shares of each worker are all the time that it lived, and no more.
fn check(pool: &Pool, [before, after]: [Instant; 2]) -> Insights {
    let least = after.elapsed();
    let insights = pool.insights();
    let most = before.elapsed();
    for worker in insights.workers() {
        let total = worker.shares.total();
        assert!((least..=most).contains(&total), "{least:?} to {most:?}: {worker:?}");
    }
    insights
}

#[test]
fn every_share_where_it_belongs() {
    guarded(|| {
        let (pool, began) = pool(2);
        let naps = 20;
        pool.map(sleep, [NAP; 20]).unwrap();
        let insights = check(&pool, began);
        let total = insights.total();
        assert_eq!((total.done, total.failed, total.lost, total.restarts), (20, 0, 0, 0));
        assert!(total.shares.work >= naps * NAP, "{total:?}");
        assert!(total.shares.start > Duration::ZERO && total.shares.serialise > Duration::ZERO, "{total:?}");
        let slowest = insights.slowest();
        assert_eq!(slowest.len(), 5);
        assert!(
            slowest.iter().all(|slow| slow.took >= NAP && (1..=20).contains(&slow.task.number)),
            "{slowest:?}"
        );
        assert!(slowest.is_sorted_by(|one, two| one.took >= two.took));
        assert_eq!(insights.workers().iter().map(|worker| worker.pid).collect::<Vec<_>>(), {
            pool.pids().into_iter().map(Some).collect::<Vec<_>>()
        });
        pool.join();
    });
}

#[test]
fn the_slowest_task_is_named_among_tiny_ones() {
    guarded(|| {
        let (pool, _) = pool(1);
        let nap = |n: u64| {
            if n == 7_777 {
                sleep(Duration::from_millis(40));
            }
        };
        pool.map(nap, 0..20_000).unwrap();
        let insights = pool.insights();
        // Tasks count from 1.
        assert_eq!(insights.slowest()[0].task.number, 7_778, "{insights}");
        assert!(insights.slowest()[0].took >= Duration::from_millis(20), "{insights}");
        assert_eq!(insights.total().done, 20_000);
    });
}

#[test]
fn panics_count_as_failed_and_a_window_has_its_own() {
    guarded(|| {
        let (pool, _) = pool(1);
        pool.map(sleep, [NAP; 3]).unwrap();
        let before = pool.insights();
        let odd = |n: u32| assert!(n.is_multiple_of(2));
        let failed = (0..10).par_procs(&pool).map(odd).filter(Result::is_err).count();
        assert_eq!(failed, 5);
        let window = pool.insights().since(&before);
        assert_eq!((window.total().done, window.total().failed), (5, 5));
        assert!(window.slowest().iter().all(|slow| slow.task.number > 3), "{window}");
        assert!(before.slowest().iter().all(|slow| slow.task.number <= 3), "{before}");
        assert_eq!(window.total().shares.start, Duration::ZERO);
    });
}

#[test]
fn a_killed_worker_s_share_is_kept() {
    guarded(|| {
        let (pool, began) = pool(1);
        pool.map(sleep, [NAP; 5]).unwrap();
        let first = pool.insights();
        let doomed = |nap: Duration| {
            sleep(nap);
            processes::kill(std::process::id(), Signal::KILL).unwrap();
            sleep(Duration::from_secs(600));
        };
        let task = pool.submit(doomed, Duration::from_millis(30)).unwrap();
        let number = task.id().number;
        task.get().unwrap_err();
        pool.map(sleep, [NAP; 2]).unwrap();
        let insights = pool.insights();
        let total = insights.total();
        assert!(total.shares.total() <= began[0].elapsed(), "{insights}");
        assert_eq!((total.done, total.failed, total.lost, total.restarts), (7, 0, 1, 1), "{insights}");
        let least = first.total().shares.work + Duration::from_millis(30) + 2 * NAP;
        assert!(total.shares.work >= least, "{insights}");
        let slowest = &insights.slowest()[0];
        assert!(slowest.task.number == number && slowest.took >= Duration::from_millis(30), "{insights}");
        assert_ne!(insights.workers()[0].pid, first.workers()[0].pid);
    });
}

#[test]
fn a_task_that_runs_counts_up_to_now() {
    guarded(|| {
        let (pool, _) = pool(1);
        assert_eq!(pool.insights().verdict(), Verdict::Nothing);
        let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
        let hold = |gate: procession_pipe::Duplex<u8, u8>| {
            gate.send(&1).unwrap();
            gate.recv().unwrap()
        };
        let task = pool.submit(hold, theirs).unwrap();
        assert_eq!(ours.recv().unwrap(), 1);
        let before = pool.insights();
        sleep(Duration::from_millis(50));
        let window = pool.insights().since(&before).total();
        assert!(window.shares.work >= Duration::from_millis(50), "{window:?}");
        assert_eq!((window.done, window.shares.idle), (0, Duration::ZERO));
        ours.send(&7).unwrap();
        assert_eq!(task.get().unwrap(), 7);
        // Now it has nothing to do.
        let before = pool.insights();
        sleep(Duration::from_millis(50));
        let window = pool.insights().since(&before);
        assert!(window.total().shares.idle >= Duration::from_millis(50), "{window}");
        assert_eq!(window.verdict(), Verdict::Nothing);
    });
}

#[test]
fn recycled_workers_are_one_line() {
    guarded(|| {
        let pool = Pool::builder().workers(1).max_tasks_per_worker(2).build().unwrap();
        let pids = pool.map(|_: u8| std::process::id(), 0..6).unwrap();
        let insights = pool.insights();
        assert_eq!((insights.workers().len(), insights.total().done), (1, 6));
        assert!((2..=3).contains(&insights.total().restarts), "{insights} {pids:?}");
        assert_eq!(insights.total().lost, 0);
    });
}
