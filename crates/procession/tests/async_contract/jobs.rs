//! Futures of jobs: awaited to their end, and dropped before it. Workers are processes, and some are killed.

use std::thread;
use std::time::Duration;

use procession_process::{JoinError, Process, spawn};
use procession_queue::{
    JobOptions, JobReceiver, JobSender, JobsError, OnWorkerDeath, RecvError, SendFault, jobs,
};
use procession_sync::Event;

use crate::executors::{Executor, first, once};

/// A time for what is expected not to happen.
const SOON: Duration = Duration::from_millis(5);

/// Does something when who waits most likely sleeps: nothing else wakes the task.
fn soon(body: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        (0..200).for_each(|_| thread::yield_now());
        body();
    })
}

type Ends = (JobSender<u64>, JobReceiver<u64>);

pub(crate) fn ping_pong_over_jobs<E: Executor>() {
    let (there, from_here) = jobs::<u64>(4).unwrap();
    let (back, from_there) = jobs::<u64>(4).unwrap();
    let echo = |(tx, rx): Ends| rx.iter().for_each(|n| tx.send(*n + 1).unwrap());
    let process = spawn(echo, (back, from_here)).unwrap();
    E::run(async move {
        for n in 0..500 {
            there.send_async(n).await.unwrap();
            let job = from_there.recv_async().await.unwrap();
            assert_eq!((*job, job.deliveries()), (n + 1, 1));
        }
        there.join_async().await.unwrap();
        there.close();
        assert_eq!(there.send_async(1).await.unwrap_err().into_value(), 1);
        assert!(matches!(from_there.recv_async().await, Err(RecvError::Disconnected)));
    });
    process.join().unwrap();
}

pub(crate) fn a_full_queue_of_jobs<E: Executor>() {
    let (tx, rx) = JobOptions::new(3).bytes(5000).create::<Vec<u8>>().unwrap();
    let work = |rx: JobReceiver<Vec<u8>>| rx.iter().map(|job| job.len()).sum::<usize>();
    let process = spawn(work, rx).unwrap();
    E::run(async move {
        for len in [8, 3000] {
            for n in 0..200 {
                tx.send_async(vec![n as u8; len]).await.unwrap();
            }
        }
        let too_large = tx.send_async(vec![0; 5001]).await.unwrap_err();
        assert!(matches!(too_large.fault(), SendFault::TooLarge { .. }));
    });
    assert_eq!(process.join().unwrap(), 200 * 3008);
}

/// There is room in the queue, and a place for a job only when one ends, which moves no counter.
pub(crate) fn all_cells_in_use<E: Executor>() {
    let (tx, rx) = jobs::<u64>(1).unwrap();
    E::run(async move {
        let mut held = Vec::new();
        for n in 0..1025 {
            tx.send_async(n).await.unwrap();
            held.push(rx.recv_async().await.unwrap());
        }
        assert!(first(tx.send_async(1), E::pause(SOON)).await.is_err());
        let ender = soon(move || held.clear());
        tx.send_async(2).await.unwrap();
        ender.join().unwrap();
        assert_eq!(rx.recv_async().await.unwrap().into_inner(), 2);
        tx.join_async().await.unwrap();
    });
}

/// Takes jobs and keeps them until it is told; then each is done, in any order.
fn work_when_told((rx, go): (JobReceiver<u64>, Event)) -> u64 {
    let mut held = Vec::new();
    rx.recv_many(&mut held, 3).unwrap();
    go.wait();
    let sum = held.drain(..).rev().map(|job| *job).sum::<u64>();
    sum + rx.iter().map(|job| *job).sum::<u64>()
}

pub(crate) fn join_awaits_all<E: Executor>() {
    let (tx, rx) = jobs::<u64>(100).unwrap();
    let go = Event::new().unwrap();
    let workers: Vec<_> = (0..2).map(|_| spawn(work_when_told, (rx.clone(), go.clone())).unwrap()).collect();
    drop(rx);
    E::run(async move {
        tx.join_async().await.unwrap();
        for n in 0..50 {
            tx.send_async(n).await.unwrap();
        }
        for _ in 0..3 {
            // Dropped, and awaited again.
            assert!(first(tx.join_async(), E::pause(SOON)).await.is_err());
        }
        let teller = soon(move || go.set());
        tx.join_async().await.unwrap();
        teller.join().unwrap();
        tx.join_async().await.unwrap();
        assert_eq!(tx.unfinished(), 0);
        tx.close();
    });
    assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 49 * 50 / 2);
}

type Keeper = (JobReceiver<u64>, Event, Event);

/// Takes a job, and finishes it when it is told.
fn keep((rx, has_it, go): Keeper) {
    let job = rx.recv().unwrap();
    drop(rx);
    has_it.set();
    go.wait();
    drop(job);
}

fn keeper(rx: &JobReceiver<u64>) -> (Process, Event) {
    let (has_it, go) = (Event::new().unwrap(), Event::new().unwrap());
    let process = spawn(keep, (rx.clone(), has_it.clone(), go.clone())).unwrap();
    has_it.wait();
    (process, go)
}

fn kill_soon(process: Process) -> thread::JoinHandle<()> {
    soon(move || {
        process.kill().unwrap();
        assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
    })
}

pub(crate) fn join_names_dead_letters<E: Executor>() {
    let (tx, rx) = JobOptions::new(4).on_worker_death(OnWorkerDeath::Fail).create::<u64>().unwrap();
    tx.send(7).unwrap();
    let (process, _go) = keeper(&rx);
    let killer = kill_soon(process);
    E::run(async move {
        let joined = tx.join_async().await;
        let Err(JobsError::DeadLetters(given_up)) = joined else { panic!("{joined:?}") };
        assert_eq!((given_up.len(), given_up[0].deliveries), (1, 1));
        assert_eq!(tx.dead_letters().remove(0).into_value().unwrap(), 7);
        tx.join_async().await.unwrap();
        drop(rx);
    });
    killer.join().unwrap();
}

pub(crate) fn the_last_worker_is_killed<E: Executor>() {
    for joins in [false, true] {
        let (tx, rx) = jobs::<u64>(1).unwrap();
        tx.send(1).unwrap();
        let (process, _go) = keeper(&rx);
        drop(rx);
        tx.send(2).unwrap();
        let killer = kill_soon(process);
        E::run(async move {
            if joins {
                let joined = tx.join_async().await;
                assert!(matches!(joined, Err(JobsError::Disconnected { unfinished: 2, .. })), "{joined:?}");
            }
            let error = tx.send_async(3).await.unwrap_err();
            assert!(matches!(error.fault(), SendFault::Disconnected) && error.into_value() == 3);
        });
        killer.join().unwrap();
    }
}

pub(crate) fn what_a_killed_worker_had<E: Executor>() {
    let (tx, rx) = jobs::<u64>(4).unwrap();
    tx.send(7).unwrap();
    let (process, _go) = keeper(&rx);
    let killer = kill_soon(process);
    E::run(async move {
        let job = rx.recv_async().await.unwrap();
        assert_eq!((*job, job.deliveries()), (7, 2));
        let ender = soon(move || job.done());
        tx.join_async().await.unwrap();
        ender.join().unwrap();
        // Nobody receives it in vain, and who joins waits for whoever does.
        tx.send(8).unwrap();
        let (process, _go) = keeper(&rx);
        let killer = kill_soon(process);
        let worker = thread::spawn(move || rx.recv().unwrap().into_inner());
        tx.join_async().await.unwrap();
        assert_eq!(worker.join().unwrap(), 8);
        killer.join().unwrap();
    });
    killer.join().unwrap();
}

/// No more are sent: who receives is told when the last that could come back is done, or gets it.
pub(crate) fn what_a_living_worker_has<E: Executor>() {
    for dies in [false, true] {
        let (tx, rx) = jobs::<u64>(4).unwrap();
        tx.send(7).unwrap();
        let (process, go) = keeper(&rx);
        drop(tx);
        E::run(async move {
            assert!(first(rx.recv_async(), E::pause(SOON)).await.is_err());
            let killer = if dies {
                Some(kill_soon(process))
            } else {
                go.set();
                None
            };
            if dies {
                assert_eq!(rx.recv_async().await.unwrap().deliveries(), 2);
            }
            assert!(matches!(rx.recv_async().await, Err(RecvError::Disconnected)));
            killer.into_iter().for_each(|killer| killer.join().unwrap());
        });
    }
}

/// Somebody sends all the time; receivers are dropped all the time, at every stage.
pub(crate) fn receivers_that_are_dropped_lose_nothing<E: Executor>() {
    const N: u64 = 400;
    let (tx, rx) = jobs::<u64>(3).unwrap();
    let send = |tx: JobSender<u64>| {
        (0..N).for_each(|n| tx.send(n).unwrap());
        tx.join().unwrap();
    };
    let process = spawn(send, tx).unwrap();
    E::run(async move {
        let (mut expected, mut n_dropped) = (0, 0);
        while expected < N {
            match first(rx.recv_async(), once()).await {
                Ok(received) => {
                    let job = received.unwrap();
                    assert_eq!((*job, job.deliveries()), (expected, 1));
                    expected += 1;
                }
                Err(()) => n_dropped += 1,
            }
        }
        assert!(n_dropped > 0 && rx.unfinished() == 0);
        assert!(matches!(rx.recv_async().await, Err(RecvError::Disconnected)));
    });
    process.join().unwrap();
}

pub(crate) fn senders_that_are_dropped_send_nothing<E: Executor>() {
    let (tx, rx) = jobs::<u64>(1).unwrap();
    let work = |rx: JobReceiver<u64>| rx.iter().map(|job| *job).collect::<Vec<_>>();
    let process = spawn(work, rx).unwrap();
    E::run(async move {
        let mut sent = Vec::new();
        for n in 0..500 {
            drop(tx.send_async(1000));
            match first(tx.send_async(n), once()).await {
                Ok(answer) => {
                    answer.unwrap();
                    sent.push(n);
                }
                Err(()) => assert!(tx.unfinished() <= 3),
            }
            drop(first(tx.join_async(), once()).await);
        }
        tx.join_async().await.unwrap();
        tx.close();
        assert_eq!(process.join().unwrap(), sent);
    });
}

/// Watches that were dropped hold nothing: the other end is told that nobody is left.
pub(crate) fn an_end_is_gone_soon_after_its_futures<E: Executor>() {
    let (tx, rx) = jobs::<u64>(1).unwrap();
    let (full, kept) = jobs::<u64>(1).unwrap();
    full.send(1).unwrap();
    E::run(async move {
        assert!(first(rx.recv_async(), E::pause(SOON)).await.is_err());
        drop(rx);
        // Fuller than full, so that it waits for room or for the end.
        let unsent = async {
            loop {
                if let Err(error) = tx.send_async(1).await {
                    break error.into_parts().1;
                }
            }
        };
        assert!(matches!(unsent.await, SendFault::Disconnected));
        assert!(first(full.send_async(2), E::pause(SOON)).await.is_err());
        assert!(first(full.join_async(), E::pause(SOON)).await.is_err());
        drop(full);
        assert_eq!(kept.recv_async().await.unwrap().into_inner(), 1);
        assert!(matches!(kept.recv_async().await, Err(RecvError::Disconnected)));
    });
}
