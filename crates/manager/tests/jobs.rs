//! Queues of jobs: what a worker does not finish goes to another one, and `join` waits for all.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use procession_manager::{CallError, JobOptions, JobQueue, JobsError, List, Manager};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{End, Victim, await_waiting, here};

const SHORT: Duration = Duration::from_millis(3);

fn work((jobs, done): (JobQueue<u32>, List<u32>)) -> u32 {
    jobs.iter().map(|job| done.push(*job)).map(|pushed| pushed.map_or(0, |()| 1)).sum()
}

#[test]
fn each_job_is_done_once_and_join_waits_for_all() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (jobs, done) = (manager.job_queue(4).unwrap(), manager.list().unwrap());
        jobs.join().unwrap();
        let workers: Vec<_> = (0..3).map(|_| spawn(work, (jobs.clone(), done.clone())).unwrap()).collect();
        (0..60).for_each(|n| jobs.send(&n).unwrap());
        jobs.join().unwrap();
        let mut all = done.to_vec().unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..60).collect::<Vec<_>>());
        jobs.close().unwrap();
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u32>(), 60);
        assert!(jobs.is_closed().unwrap() && matches!(jobs.send(&1), Err(CallError::Closed)));
    });
}

#[test]
fn a_job_is_finished_by_its_drop_also_of_a_panic() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue::<u32>(9).unwrap();
        (0..4).for_each(|n| jobs.send(&n).unwrap());
        assert!(matches!(jobs.try_join(), Err(JobsError::Unfinished { n: 4 })));
        let job = jobs.recv().unwrap();
        assert_eq!((*job, job.deliveries(), job.is_redelivered()), (0, 1, false));
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (3, 4));
        assert!(matches!(jobs.join_timeout(SHORT), Err(JobsError::TimedOut)));
        job.done().unwrap();
        assert_eq!(jobs.recv().unwrap().into_inner(), 1);
        let panics = AssertUnwindSafe(|| {
            let _job = jobs.recv().unwrap();
            panic!("on purpose");
        });
        assert!(catch_unwind(panics).is_err());
        assert_eq!(jobs.unfinished().unwrap(), 1);
        let last = jobs.recv().unwrap();
        thread::scope(|scope| {
            let joining = scope.spawn(|| jobs.join());
            await_waiting(&manager, 1);
            drop(last);
            joining.join().unwrap().unwrap();
        });
        assert!(matches!(jobs.try_recv(), Err(CallError::WouldWait)));
        assert!(matches!(jobs.recv_timeout(SHORT), Err(CallError::TimedOut)));
    });
}

#[test]
fn a_full_queue_makes_senders_wait_and_what_comes_back_finds_room() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue::<u32>(1).unwrap();
        jobs.send(&1).unwrap();
        assert!(matches!(jobs.try_send(&2), Err(CallError::WouldWait)));
        assert!(matches!(jobs.send_timeout(&2, SHORT), Err(CallError::TimedOut)));
        let one = jobs.recv().unwrap();
        jobs.send(&2).unwrap();
        thread::scope(|scope| {
            let sending = scope.spawn(|| jobs.send(&3));
            await_waiting(&manager, 1);
            one.put_back().unwrap();
            let one = jobs.recv().unwrap();
            assert_eq!((*one, one.deliveries(), one.is_redelivered()), (1, 2, true));
            assert_eq!(*jobs.recv().unwrap(), 2);
            sending.join().unwrap().unwrap();
            assert_eq!(*jobs.recv().unwrap(), 3);
        });
        jobs.join().unwrap();
    });
}

fn take_and_die((jobs, end): (JobQueue<u32>, End)) {
    let _taken: Vec<_> = (0..2).map(|_| jobs.recv().unwrap()).collect();
    here(&end);
}

#[test]
fn jobs_of_a_killed_worker_go_to_one_that_waits_in_order() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue::<u32>(9).unwrap();
        jobs.send(&1).unwrap();
        jobs.send(&2).unwrap();
        let victim = Victim::start(take_and_die, jobs.clone()).arrived();
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (0, 2));
        // Closed, and not over: what the victim has can come again.
        jobs.close().unwrap();
        thread::scope(|scope| {
            let taking = scope.spawn(|| {
                let jobs: Vec<_> = jobs.iter().map(|job| (*job, job.deliveries())).collect();
                jobs
            });
            await_waiting(&manager, 1);
            victim.shoot();
            assert_eq!(taking.join().unwrap(), [(1, 2), (2, 2)]);
        });
        jobs.join().unwrap();
        assert!(matches!(jobs.recv(), Err(CallError::Closed)));
    });
}

#[test]
fn a_job_that_kills_its_workers_becomes_a_dead_letter() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue_with::<u32>(JobOptions::new(9).max_deliveries(2)).unwrap();
        jobs.send(&7).unwrap();
        jobs.send(&8).unwrap();
        let mut last = 0;
        for _ in 0..2 {
            last = Victim::start(take_and_die, jobs.clone()).arrived().kill(&manager);
        }
        for _ in 0..2 {
            match jobs.join() {
                Err(JobsError::DeadLetters(letters)) => {
                    assert_eq!(letters.len(), 2);
                    assert!(letters.iter().all(|letter| (letter.deliveries, letter.pid) == (2, last)));
                }
                other => panic!("{other:?}"),
            }
        }
        let letters = jobs.dead_letters().unwrap();
        let mut values: Vec<u32> = letters.into_iter().map(|letter| letter.value.unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, [7, 8]);
        jobs.join().unwrap();
    });
}

#[test]
fn options_say_what_becomes_of_a_death_and_of_what_is_put_back() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let once = manager.job_queue_with::<u32>(JobOptions::new(9).fail_on_worker_death()).unwrap();
        once.send(&1).unwrap();
        once.recv().unwrap().put_back().unwrap();
        once.send(&2).unwrap();
        Victim::start(take_and_die, once.clone()).arrived().kill(&manager);
        assert_eq!(once.dead_letters().unwrap().len(), 2);
        let always = manager.job_queue_with::<u32>(JobOptions::new(9).deliver_without_limit()).unwrap();
        always.send(&1).unwrap();
        for n in 1..=30 {
            let job = always.recv().unwrap();
            assert_eq!(job.deliveries(), n);
            job.put_back().unwrap();
        }
        let thrice = manager.job_queue_with::<u32>(JobOptions::new(9).max_deliveries(3)).unwrap();
        thrice.send(&1).unwrap();
        (0..3).for_each(|_| thrice.recv().unwrap().put_back().unwrap());
        assert!(matches!(thrice.try_join(), Err(JobsError::DeadLetters(letters)) if letters.len() == 1));
    });
}

/// Some give up at the very moment at which it is delivered to them: it is never lost, and does not count.
#[test]
fn limits_that_end_when_it_is_delivered_lose_nothing() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue_with::<u32>(JobOptions::new(9).max_deliveries(1)).unwrap();
        thread::scope(|scope| {
            for thread in 0..3 {
                let jobs = &jobs;
                scope.spawn(move || {
                    let mut n = 0;
                    loop {
                        n += 1;
                        match jobs.recv_timeout(Duration::from_micros(20 + thread * 7 + n % 90)) {
                            Ok(job) if *job == u32::MAX => return,
                            Ok(job) => drop(job),
                            Err(error) => assert!(matches!(error, CallError::TimedOut), "{error:?}"),
                        }
                    }
                });
            }
            (0..100).for_each(|n| jobs.send(&n).unwrap());
            jobs.join().unwrap();
            (0..3).for_each(|_| jobs.send(&u32::MAX).unwrap());
        });
        jobs.join().unwrap();
    });
}

#[test]
fn a_job_that_does_not_decode_becomes_a_dead_letter() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let jobs = manager.job_queue::<String>(9).unwrap();
        jobs.send(&"text".into()).unwrap();
        let (ours, theirs) = procession_pipe::pipe::<JobQueue<String>, ()>().unwrap();
        ours.send(&jobs).unwrap();
        let theirs = procession_pipe::Connection::from(theirs).into_duplex::<(), JobQueue<[u64; 9]>>();
        let numbers = theirs.recv().unwrap();
        assert!(matches!(numbers.recv(), Err(CallError::Decode(_))));
        assert!(matches!(jobs.join(), Err(JobsError::DeadLetters(_))));
        assert_eq!(jobs.dead_letters().unwrap().remove(0).value.unwrap(), "text");
    });
}
