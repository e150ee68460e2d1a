//! Jobs that workers have, while others wait: what is killed with its worker makes ready, and what is at work may.

use std::thread;
use std::time::Duration;

use procession_pipe::{Waitable, try_wait, wait, wait_timeout};
use procession_process::{JoinError, Process, spawn};
use procession_queue::{JobOptions, JobReceiver, JobSender, OnWorkerDeath, RecvError};
use procession_shm::Atomic;
use procession_sync::Event;

use crate::cases::{SOON, until_others_most_likely_sleep};

const FAR: Duration = Duration::from_secs(50);

type Worker = (JobReceiver<u64>, [Event; 3], bool);

/// Takes a job; when it is told, it is done, or given back. Stays until it is told again.
fn take_and_wait((rx, [has_it, go, leave], puts_back): Worker) {
    let job = rx.recv().unwrap();
    has_it.set();
    go.wait();
    until_others_most_likely_sleep();
    if puts_back {
        job.put_back();
    } else {
        job.done();
    }
    leave.wait();
}

/// A worker that has the only job of a queue; what tells it to end that, and to go.
struct AtWork {
    tx: JobSender<u64>,
    rx: JobReceiver<u64>,
    worker: Process,
    go: Event,
    leave: Event,
}

fn at_work(options: JobOptions, puts_back: bool) -> AtWork {
    let (tx, rx) = options.create::<u64>().unwrap();
    tx.send(7).unwrap();
    let events = [Event::new(), Event::new(), Event::new()].map(Result::unwrap);
    let worker = spawn(take_and_wait, (rx.clone(), events.clone(), puts_back)).unwrap();
    let [has_it, go, leave] = events;
    has_it.wait();
    assert!(try_wait(&[&rx]).unwrap().is_empty());
    AtWork { tx, rx, worker, go, leave }
}

fn kill(worker: Process) {
    worker.kill().unwrap();
    assert!(matches!(worker.join(), Err(JoinError::Killed { .. })));
}

/// Words only, and with a descriptor.
fn both_ways(one: impl Fn(&[&dyn Waitable])) {
    let (_to, pipe) = procession_pipe::channel::<u8>().unwrap();
    one(&[]);
    one(&[&pipe]);
}

fn with<'a>(thing: &'a dyn Waitable, others: &[&'a dyn Waitable]) -> Vec<&'a dyn Waitable> {
    others.iter().copied().chain([thing]).collect()
}

pub(crate) fn a_worker_is_killed() {
    both_ways(|others| {
        let AtWork { tx: _tx, rx, worker, .. } = at_work(JobOptions::new(4), false);
        thread::scope(|scope| {
            scope.spawn(|| {
                until_others_most_likely_sleep();
                kill(worker);
            });
            assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
        });
        let job = rx.try_recv().unwrap();
        assert_eq!((*job, job.deliveries()), (7, 2));
    });
}

/// It is ready as long as nobody takes it, whoever looks.
pub(crate) fn a_worker_was_killed() {
    both_ways(|others| {
        let AtWork { tx: _tx, rx, worker, .. } = at_work(JobOptions::new(4), false);
        kill(worker);
        let other = rx.clone();
        for rx in [&rx, &other, &rx] {
            assert_eq!(wait(&with(rx, others), FAR).unwrap(), [others.len()]);
        }
        let job = rx.try_recv().unwrap();
        assert_eq!((*job, job.deliveries()), (7, 2));
        assert!(try_wait(&[&rx, &other]).unwrap().is_empty());
    });
}

pub(crate) fn a_worker_gives_its_job_back() {
    both_ways(|others| {
        let AtWork { tx: _tx, rx, worker, go, leave } = at_work(JobOptions::new(4), true);
        go.set();
        assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
        assert_eq!(rx.try_recv().unwrap().deliveries(), 2);
        leave.set();
        worker.join().unwrap();
    });
}

pub(crate) fn what_is_given_up_is_nothing_to_receive() {
    both_ways(|others| {
        let fails = JobOptions::new(4).on_worker_death(OnWorkerDeath::Fail);
        for options in [fails, JobOptions::new(4).max_deliveries(1)] {
            let AtWork { tx, rx, worker, .. } = at_work(options, false);
            kill(worker);
            assert!(wait_timeout(&with(&rx, others), 4 * SOON).unwrap().is_empty());
            tx.send(8).unwrap();
            assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
            assert_eq!(rx.try_recv().unwrap().into_inner(), 8);
        }
    });
}

/// And then nothing is left to wait for, whoever looks first.
pub(crate) fn what_is_given_up_keeps_nobody_waiting() {
    both_ways(|others| {
        for closes in [false, true] {
            let fails = JobOptions::new(4).on_worker_death(OnWorkerDeath::Fail);
            let AtWork { tx, rx, worker, .. } = at_work(fails, false);
            kill(worker);
            assert!(wait_timeout(&with(&rx, others), SOON).unwrap().is_empty());
            if closes {
                tx.close();
            } else {
                drop(tx);
            }
            assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
            let ended = rx.try_recv();
            assert!(matches!(ended, Err(RecvError::Disconnected | RecvError::Closed)), "{ended:?}");
        }
    });
}

/// Nothing more is sent; what there is to come has a worker, which is killed, or done with it.
pub(crate) fn what_workers_have_is_waited_for() {
    both_ways(|others| {
        for (closes, dies) in [(false, false), (false, true), (true, false), (true, true)] {
            let AtWork { tx, rx, worker, go, leave } = at_work(JobOptions::new(4), false);
            if closes {
                tx.close();
            } else {
                drop(tx);
            }
            assert!(wait_timeout(&with(&rx, others), SOON).unwrap().is_empty());
            assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
            thread::scope(|scope| {
                scope.spawn(|| {
                    until_others_most_likely_sleep();
                    if dies {
                        worker.kill().unwrap();
                        // Who is told of the death says so.
                        let _ = worker.wait();
                    } else {
                        go.set();
                    }
                });
                assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
            });
            if dies {
                assert_eq!(rx.try_recv().unwrap().deliveries(), 2);
                assert_eq!(wait(&with(&rx, others), FAR).unwrap(), [others.len()]);
            }
            let ended = rx.try_recv();
            assert!(
                matches!(
                    (&ended, closes),
                    (Err(RecvError::Closed), true) | (Err(RecvError::Disconnected), false)
                ),
                "{ended:?}"
            );
            leave.set();
            assert_eq!(worker.join().is_err(), dies);
        }
    });
}

type Crew = (JobReceiver<u64>, Event, Atomic<u64>, Atomic<u64>);

/// Does what there is, and says so; now and then it is killed in the middle of a job.
fn work_between_waits((rx, stop, sum, n_kills): Crew) {
    while wait(&[&rx, &stop], None).unwrap() == [0] {
        match rx.try_recv() {
            Ok(job) => {
                if *job % 50 == 0 && !job.is_redelivered() {
                    n_kills.fetch_add(1);
                    std::process::abort();
                }
                sum.fetch_add(*job);
            }
            Err(RecvError::Empty | RecvError::Contended { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

pub(crate) fn every_job_is_done_though_workers_are_killed() {
    const N: u64 = 250;
    let (tx, rx) = JobOptions::new(10).create::<u64>().unwrap();
    let (stop, sum, n_kills) = (Event::new().unwrap(), Atomic::new(0).unwrap(), Atomic::new(0).unwrap());
    let crew = || (rx.clone(), stop.clone(), sum.clone(), n_kills.clone());
    let start = || spawn(work_between_waits, crew()).unwrap();
    // Who waits for them is told when they die, and tells.
    let workers: Vec<_> = (0..7)
        .map(|_| {
            let worker = start();
            thread::spawn(move || worker.join())
        })
        .collect();
    for n in 0..N {
        // Who sends waits for room as well.
        assert_eq!(wait(&[&stop, &tx], FAR).unwrap(), [1]);
        tx.send(n).unwrap();
    }
    tx.join().unwrap();
    stop.set();
    let n_dead = workers.into_iter().filter_map(|joiner| joiner.join().unwrap().err()).count();
    assert_eq!((n_dead as u64, n_kills.load(), sum.load()), (5, 5, N * (N - 1) / 2));
}
