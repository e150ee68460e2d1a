//! Workers killed on purpose: every task has exactly one outcome, and the same seed hits the same places.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_codec::Descriptor;
use procession_pool::{BuildError, Chaos, ChaosPoint, ParProcs, Pool, Report, TaskFailed};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role, role};

const PATIENCE: Duration = Duration::from_secs(60);

/// Counters that outlive workers.
struct Tally(Descriptor, Mapping);

impl Tally {
    fn new(n: usize) -> Self {
        let memory = Memfd::sealed("tally", 8 * n as u64).unwrap();
        let map = Mapping::shared(&memory).unwrap();
        Self(memory.into_fd().into(), map)
    }

    fn count(&self, n: usize) -> u64 {
        self.1.atomic_u64(8 * n).load(SeqCst)
    }
}

fn count((tally, n): (Descriptor, usize)) -> usize {
    let memory = Memfd::adopt(tally.into_owned().unwrap()).unwrap();
    Mapping::shared(&memory).unwrap().atomic_u64(8 * n).fetch_add(1, SeqCst);
    n
}

type Hit = (u64, ChaosPoint);

/// What a task's error says of where it was hit; checks that it ran as often as that allows.
fn hit(outcome: Result<usize, TaskFailed>, n: usize, runs: u64) -> Option<Hit> {
    let failed = match outcome {
        Ok(value) => {
            assert_eq!((value, runs), (n, 1), "item {n}");
            return None;
        }
        Err(failed) => failed,
    };
    assert!(matches!(failed, TaskFailed::WorkerDied { .. }), "{failed}");
    let point = failed.report().and_then(Report::chaos).unwrap_or_else(|| panic!("{failed}"));
    assert_eq!(runs, u64::from(point != ChaosPoint::InTask), "item {n}, {point}");
    assert!(failed.to_string().contains(&format!("on purpose, {point}")), "{failed}");
    Some((failed.task().number, point))
}

fn pool(chaos: &str, workers: usize) -> Pool {
    Pool::builder().workers(workers).chaos(chaos.parse::<Chaos>().unwrap()).build().unwrap()
}

/// Submits and maps; answers where workers were killed.
fn storm(chaos: &str, workers: usize) -> BTreeSet<Hit> {
    const N: usize = 200;
    let (pool, tally) = (pool(chaos, workers), Tally::new(2 * N));
    let item = |n| (tally.0.clone(), n);
    let tasks: Vec<_> = (0..N).map(|n| pool.submit(count, item(n)).unwrap()).collect();
    let mut hits = BTreeSet::new();
    for (n, task) in tasks.into_iter().enumerate() {
        let outcome = task.get();
        hits.extend(hit(outcome, n, tally.count(n)));
    }
    let mapped = (N..2 * N).map(item).par_procs(&pool).map(count);
    let mut given = 0;
    for (n, outcome) in (N..).zip(mapped) {
        hits.extend(hit(outcome, n, tally.count(n)));
        given += 1;
    }
    assert_eq!(given, N);
    assert_eq!(pool.workers(), workers);
    pool.join();
    hits
}

#[test]
fn one_outcome_each_and_the_same_seed_the_same_hits() {
    guarded(|| {
        let first = storm("kill:0.2,seed:7", 2);
        let deadly = [ChaosPoint::InTask, ChaosPoint::AfterTask, ChaosPoint::Answering];
        assert!((20..100).contains(&first.len()), "about 48 of 400: {first:?}");
        assert!(deadly.iter().all(|point| first.iter().any(|hit| hit.1 == *point)), "{first:?}");
        assert_eq!(storm("kill:0.2,seed:7", 3), first);
        assert_ne!(storm("kill:0.2,seed:8", 2), first);
    });
}

/// Deaths before a task and after its answer cost nothing but time.
#[test]
fn deaths_that_nobody_notices() {
    guarded(|| {
        for chaos in ["kill:0.5,at:before", "kill:0.5,at:idle", "kill:0.3,at:idle,at:before,seed:3"] {
            assert_eq!(storm(chaos, 2), BTreeSet::new());
        }
        let pool = pool("kill:1,at:idle", 1);
        let mut pids: Vec<u32> =
            (0..10).map(|_| pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap()).collect();
        pids.dedup();
        assert_eq!(pids.len(), 10, "each worker dies of its first task, after it");
    });
}

#[test]
fn who_may_try_again_gets_through() {
    guarded(|| {
        let chaos: Chaos = "kill:0.3,seed:1".parse().unwrap();
        let pool = Pool::builder().workers(2).chaos(chaos).retries(20).poison_after(20).build().unwrap();
        assert_eq!(pool.map(|n: u32| n + 1, 0..300).unwrap(), (1..301).collect::<Vec<_>>());
    });
}

#[test]
fn the_variable_is_read_and_refused() {
    if role().is_some() {
        match Pool::builder().workers(1).build() {
            Ok(pool) => {
                let failed = pool.submit(|n: u8| n, 1).unwrap().get().map_err(|failed| failed.to_string());
                let last = failed
                    .map_or_else(|e| e.lines().last().unwrap_or_default().to_owned(), |n| n.to_string());
                roles::say(&last);
            }
            Err(BuildError::Chaos(e)) => roles::say(&e.to_string()),
            Err(other) => panic!("{other:?}"),
        }
        return;
    }
    guarded(|| {
        let cases = [
            ("", "1"),
            ("kill:0", "1"),
            (
                "kill:1,at:after",
                "  help      PROCESSION_CHAOS, or Builder::chaos, killed its worker on purpose, after the task",
            ),
            ("kill:many", "reading the chaos settings `kill:many`: `many` is no share between 0 and 1"),
        ];
        for (value, said) in cases {
            let mut process = Role::new("chaotic").env("PROCESSION_CHAOS", value).spawn();
            assert_eq!(process.hear(PATIENCE).as_deref(), Some(said));
            process.wait_with_output(PATIENCE).expect_success();
        }
    });
}
