//! Workers that are stopped (SIGSTOP): alive, and beyond every request. The others go on; who is waited for in vain is
//! killed at a limit or at the end of the pool, wherever it was stopped.

mod gate;

use std::thread;
use std::time::Duration;

use gate::{PATIENCE, await_start, gate, hold};
use procession_pool::{ParProcs, Pool, TaskFailed, TaskOptions};
use procession_process::TaskError;
use procession_shm::Atomic;
use procession_shm::domain::Domain;
use procession_testkit::processes::{self, Identity, Signal, State};
use procession_testkit::roles::{self, Role};
use procession_testkit::{Counted, counted, guarded, role};

/// Stops a process, and returns once all of it stands still.
fn stop(pid: u32) -> Identity {
    let process = Identity::of(pid).expect("it lives");
    process.kill(Signal::STOP).expect("it can be stopped");
    while process.state() != Some(State::Stopped) {
        thread::yield_now();
    }
    process
}

fn expect_whole(pool: &Pool) {
    assert_eq!(pool.map(|n: u32| n, 0..50).unwrap(), Vec::from_iter(0..50));
    assert_eq!(pool.pids().len(), pool.workers());
}

/// The task of a stopped worker meets its limit; all others are done meanwhile.
#[test]
fn its_task_meets_the_limit_and_others_go_on() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        let (ours, theirs) = gate();
        let limit = TaskOptions::new().timeout(Duration::from_millis(500));
        let task = pool.submit_with(limit, hold, theirs).unwrap();
        let victim = stop(await_start(&ours));
        let values: Vec<u32> = pool.map(|n: u32| n, 0..200).unwrap();
        assert_eq!(values, Vec::from_iter(0..200));
        match task.get() {
            Err(TaskFailed::TimedOut { worker, .. }) => assert_eq!(worker.pid, victim.pid()),
            other => panic!("{other:?}"),
        }
        assert!(victim.state().is_none() && !pool.pids().contains(&victim.pid()));
        expect_whole(&pool);
    });
}

/// Nobody knows whether it will go on: its task has no outcome, until it is called off.
#[test]
fn without_a_limit_its_task_can_be_cancelled() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        let (ours, theirs) = gate();
        let task = pool.submit(hold, theirs).unwrap();
        let victim = stop(await_start(&ours));
        expect_whole(&pool);
        assert!(!task.is_ready() && task.cancel());
        assert!(matches!(task.get(), Err(TaskFailed::Cancelled { .. })));
        assert!(victim.state().is_none());
        expect_whole(&pool);
    });
}

/// Stopped in its task, and idle: dropped, joined for a while, and terminated with and without grace.
#[test]
fn the_end_of_the_pool_is_its_end() {
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        for (how, is_busy) in (0..8).map(|n| (n / 2, n % 2 == 0)) {
            let pool = Pool::new(3).unwrap();
            expect_whole(&pool);
            let workers: Vec<_> = pool.pids().into_iter().filter_map(Identity::of).collect();
            let (ours, theirs) = gate();
            let task = is_busy.then(|| pool.submit(hold, theirs).unwrap());
            stop(if is_busy { await_start(&ours) } else { workers[1].pid() });
            match how {
                0 => drop(pool),
                1 => pool.terminate(Duration::ZERO),
                2 => pool.terminate(Duration::from_millis(50)),
                _ if is_busy => drop(pool.join_timeout(Duration::from_millis(1)).unwrap_err()),
                _ => pool.join_timeout(PATIENCE).unwrap(),
            }
            assert!(workers.iter().all(|worker| worker.state().is_none()), "ended, and waited for: {how}");
            if let Some(task) = task {
                assert!(matches!(task.get(), Err(TaskFailed::Closed { .. })), "{how}");
            }
        }
    });
}

/// With a limit the job goes to another worker; without one it is held until it is called off.
#[test]
fn stopped_while_idle_and_given_a_job() {
    counted(|| {
        let settings = Pool::builder().workers(1).start_timeout(Duration::from_millis(900));
        let pool = settings.build().unwrap();
        expect_whole(&pool);
        let victim = stop(pool.pids()[0]);
        let limit = TaskOptions::new().timeout(Duration::from_millis(900));
        let task = pool.submit_with(limit, |()| std::process::id(), ()).unwrap();
        let pid = task.get_timeout(PATIENCE).unwrap().expect("another worker does it");
        assert!(pid != victim.pid() && victim.state().is_none());

        let victim = stop(pid);
        let held = pool.submit(|()| std::process::id(), ()).unwrap();
        let next = pool.submit(|()| std::process::id(), ()).unwrap();
        assert!(held.get_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert!(held.cancel());
        assert!(matches!(held.get(), Err(TaskFailed::Cancelled { .. })));
        assert_ne!(next.get_timeout(PATIENCE).unwrap().expect("another worker does it"), victim.pid());
        assert!(victim.state().is_none());
    });
}

/// Continued, it goes on as if nothing had been: nothing of it is lost, and nobody was replaced.
#[test]
fn stopped_and_continued() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        expect_whole(&pool);
        let workers = pool.pids();
        let tasks: Vec<_> = (0..20).map(|n| pool.submit(|n: u32| n, n).unwrap()).collect();
        let stopped: Vec<_> = workers.iter().map(|pid| stop(*pid)).collect();
        let later: Vec<_> = (20..40).map(|n| pool.submit(|n: u32| n, n).unwrap()).collect();
        stopped.iter().for_each(|worker| worker.kill(Signal::CONT).unwrap());
        assert!((0..).zip(tasks.into_iter().chain(later)).all(|(n, task)| task.get().unwrap() == n));
        assert_eq!(pool.pids(), workers);
    });
}

/// Before it asked for work: that is a start that took too long.
#[test]
fn stopped_at_its_start() {
    counted(|| {
        let settings = Pool::builder().workers(2).start_timeout(Duration::from_millis(900));
        let pool = settings.build().unwrap();
        let victim = Identity::of(pool.pids()[1]).unwrap();
        victim.kill(Signal::STOP).unwrap();
        // It may have been ready before the signal reached it: then only a limit takes from it what it was given.
        let limit = TaskOptions::new().timeout(Duration::from_millis(900));
        let values = (0..100).par_procs(&pool).options(limit).map(|n: u32| n);
        assert!(values.map(Result::unwrap).eq(0..100));
        while pool.pids().contains(&victim.pid()) {
            let tasks: Vec<_> = (0..2).map(|n| pool.submit_with(limit, |n: u32| n, n).unwrap()).collect();
            assert!((0..).zip(tasks).all(|(n, task)| task.get().unwrap() == n));
        }
        expect_whole(&pool);
    });
}

/// In its initializer: the pool is not built.
#[test]
fn stopped_while_it_is_set_up() {
    fn open(pids: Atomic<u32>) -> Result<(), TaskError> {
        pids.store(std::process::id());
        loop {
            thread::park();
        }
    }
    Domain::current().unwrap();
    counted(|| {
        let pid = Atomic::new(0_u32).unwrap();
        let settings = Pool::builder().workers(1).start_timeout(Duration::from_millis(900));
        let settings = settings.initializer(open, pid.clone());
        let error = thread::scope(|scope| {
            let build = scope.spawn(|| settings.build().unwrap_err());
            while pid.load() == 0 {
                thread::yield_now();
            }
            let _ = Identity::of(pid.load()).map(|worker| worker.kill(Signal::STOP));
            build.join().unwrap()
        });
        assert!(error.to_string().contains("longer than 900ms"), "{error}");
    });
}

/// Told to end, it does not hear it: it is killed after a second, and replaced.
#[test]
fn stopped_on_its_way_out() {
    fn close(gone: Atomic<u32>) {
        gone.store(std::process::id());
        loop {
            thread::park();
        }
    }
    Domain::current().unwrap();
    counted(|| {
        let gone = Atomic::new(0_u32).unwrap();
        let settings = Pool::builder().workers(1).max_tasks_per_worker(1);
        let pool = settings.initializer_and_exit(Ok, gone.clone(), close).build().unwrap();
        assert_eq!(pool.submit(|n: u32| n, 5).unwrap().get().unwrap(), 5);
        while gone.load() == 0 {
            thread::yield_now();
        }
        let victim = stop(gone.load());
        assert_ne!(pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap(), victim.pid());
        assert!(victim.state().is_none());
    });
}

/// A stopped process cannot see the end of its parent. It ends as soon as it goes on, before its task does anything.
#[test]
fn a_stopped_orphan_ends_when_it_goes_on() {
    if role().is_some() {
        let pool = Pool::new(2).unwrap();
        let (ours, theirs) = gate();
        let _task = pool.submit(hold, theirs).unwrap();
        let pid = await_start(&ours);
        stop(pid);
        roles::say(&format!("{pid}"));
        let _ = roles::hear();
        unreachable!("it is killed before");
    }
    guarded(|| {
        let mut parent = Role::new("parent").spawn();
        let stopped = parent.hear(PATIENCE).unwrap().parse().ok().and_then(Identity::of).unwrap();
        let family = processes::descendants(parent.pid());
        assert_eq!(family.len(), 2);
        parent.kill_and_reap();
        let others = family.into_iter().filter(|one| *one != stopped);
        others.for_each(|one| assert!(one.wait_ended(PATIENCE), "{one} outlives its pool"));
        // Where its group of processes was left without anybody to continue it, the kernel has done so already.
        let _ = stopped.kill(Signal::CONT);
        assert!(stopped.wait_ended(PATIENCE), "it outlives its pool");
    });
}
