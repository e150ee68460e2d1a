//! Programs that are no easy company: one that ignores its children, one that waits for everybody's, one that forks.

mod gate;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use gate::{PATIENCE, await_start, gate, hold};
use procession_pool::{ParProcs, Pool, TaskFailed};
use procession_process::{Exit, Signal};
use procession_sys::signal::{self, Disposition};
use procession_testkit::processes::{self, Identity};
use procession_testkit::{Role, counted, forked, guarded, role};
use rustix::process::{WaitOptions, wait};

/// Values come, the dead are told and replaced; how they ended is told as it was, or not at all.
fn work() {
    let pool = Pool::new(2).unwrap();
    for round in 0..10 {
        let values: Vec<u32> = pool.map(|n: u32| n, 0..100).unwrap();
        assert_eq!(values, Vec::from_iter(0..100));
        let die = |n: u32| -> u32 { if n % 5 == 4 { std::process::abort() } else { n } };
        for (n, result) in (0..10).par_procs(&pool).map(die).enumerate() {
            match result {
                Ok(value) => assert!(value as usize == n && n % 5 != 4),
                Err(TaskFailed::WorkerDied { exit, .. }) => {
                    assert!(n % 5 == 4, "{n}");
                    assert!(exit == Exit::Unknown || exit.signal() == Some(Signal::ABRT), "{exit}");
                }
                Err(other) => panic!("{n}: {other}"),
            }
        }
        let victim = pool.pids()[round % 2];
        let _ = processes::kill(victim, processes::Signal::KILL);
        let (ours, theirs) = gate();
        let endless = pool.submit(hold, theirs).unwrap();
        await_start(&ours);
        assert!(endless.cancel());
        assert!(matches!(endless.get(), Err(TaskFailed::Cancelled { .. })));
    }
    pool.join();
}

#[test]
fn who_ignores_its_children() {
    if role().is_some() {
        signal::set(Signal::CHLD, Disposition::Ignore).unwrap();
        return work();
    }
    guarded(|| drop(Role::new("ignorant").spawn().wait_with_output(PATIENCE).expect_success()));
}

#[test]
fn who_waits_for_every_child() {
    if role().is_some() {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let _ = wait(WaitOptions::NOHANG);
                    thread::yield_now();
                }
            });
            scope.spawn(|| {
                work();
                is_over.store(true, SeqCst);
            });
        });
        return;
    }
    guarded(|| drop(Role::new("nosy").spawn().wait_with_output(PATIENCE).expect_success()));
}

/// What a forked copy drops is nobody's loss.
#[test]
fn who_forks() {
    counted(|| {
        let mut pool = Some(Pool::new(2).unwrap());
        let (ours, theirs) = gate();
        let mut task = Some(pool.as_ref().unwrap().submit(hold, theirs).unwrap());
        await_start(&ours);
        let pids = pool.as_ref().unwrap().pids();
        for round in 0..5 {
            let values: Vec<u32> = pool.as_ref().unwrap().map(|n: u32| n, 0..50).unwrap();
            assert_eq!(values.len(), 50);
            let ended = forked(|| {
                drop(task.take());
                if round % 2 == 0 {
                    drop(pool.take());
                } else {
                    pool.take().unwrap().terminate(std::time::Duration::ZERO);
                }
            });
            assert!(ended.success(), "{ended}");
        }
        let pool = pool.unwrap();
        assert!(pids.iter().all(|pid| Identity::of(*pid).is_some_and(Identity::is_alive)));
        assert_eq!(pool.pids(), pids);
        ours.send(&3).unwrap();
        assert_eq!(task.unwrap().get().unwrap(), 3);
    });
}
