//! Pools whose workers do not come up: an error in the end, and no storm of starts.
//!
//! The hook that makes a started program a worker is switched off in a role's environment, so that its workers run
//! `main`: this test again, which finds itself to be a worker and does as its role says.

use std::time::Duration;

use procession_pool::{Pool, TaskFailed};
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, role};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this process should have become a worker.
fn is_worker() -> bool {
    std::env::var_os("PROCESSION_CHILD").is_some()
}

/// Starts this test as `role` with workers that do not become any; what it said, one line for each worker first.
fn run(role: &str) -> (usize, Vec<String>) {
    let mut process = Role::new(role).env(procession_sys::caps::SWITCH, "hook").spawn();
    let (mut n_workers, mut said) = (0, Vec::new());
    while let Some(line) = process.hear(PATIENCE) {
        if line == "worker" { n_workers += 1 } else { said.push(line) }
    }
    process.wait_with_output(PATIENCE).expect_success();
    (n_workers, said)
}

/// Submits and maps, twice; says what became of it.
fn use_pool(pool: &Pool) {
    for _ in 0..2 {
        let error = pool.submit(|n: u8| n, 1).unwrap().get().unwrap_err();
        assert!(matches!(error, TaskFailed::NoWorker { .. }), "{error:?}");
        roles::say(&error.to_string());
        assert!(matches!(pool.map(|n: u8| n, 0..9), Err(TaskFailed::NoWorker { .. })));
    }
}

#[test]
fn workers_that_end_at_once() {
    if role().is_some() {
        if is_worker() {
            roles::say("worker");
            std::process::exit(3);
        }
        return use_pool(&Pool::builder().workers(2).name("unborn").build().unwrap());
    }
    guarded(|| {
        let (n_workers, said) = run("ends");
        assert_eq!(said.len(), 2);
        for error in said {
            assert!(error.contains("process unborn-") && error.contains("exited with code 3"), "{error}");
        }
        // Four calls and the beginning: some eight starts for each, and one worker more that was on its way.
        assert!((8..=5 * 10).contains(&n_workers), "{n_workers} were started");
    });
}

#[test]
fn workers_that_never_ask_for_a_job() {
    if role().is_some() {
        if is_worker() {
            roles::say("worker");
            loop {
                std::thread::park();
            }
        }
        let settings = Pool::builder().workers(2).name("mute").start_timeout(Duration::from_millis(50));
        let pool = settings.build().unwrap();
        let error = pool.submit(|n: u8| n, 1).unwrap().get().unwrap_err();
        assert!(matches!(error, TaskFailed::NoWorker { .. }), "{error:?}");
        return roles::say(&error.to_string());
    }
    guarded(|| {
        let (n_workers, said) = run("is-mute");
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("process mute-") && said[0].contains("killed by SIGKILL"), "{}", said[0]);
        // Some may be killed before they say a word.
        assert!(n_workers <= 20, "{n_workers} were started");
    });
}

#[test]
fn an_idle_pool_does_not_try_for_ever() {
    if role().is_some() {
        if is_worker() {
            roles::say("worker");
            std::process::exit(3);
        }
        let pool = Pool::new(3).unwrap();
        while !pool.pids().is_empty() {
            std::thread::yield_now();
        }
        return;
    }
    guarded(|| {
        let (n_workers, _) = run("idles");
        assert!((8..=8 + 3).contains(&n_workers), "{n_workers} were started");
    });
}
