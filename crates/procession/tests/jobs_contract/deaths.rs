//! Workers are killed: what they had is done by others, or named.

use std::thread;

use procession_codec::Message;
use procession_process::{JoinError, Process, spawn};
use procession_queue::{JobOptions, JobReceiver, JobSender, JobsError, OnWorkerDeath, RecvError, jobs};
use procession_shm::Atomic;

type Ends = (JobSender<u64>, JobReceiver<u64>, Atomic<u64>);

/// A queue, and how many jobs were taken by those who keep them.
fn ends(options: JobOptions) -> Ends {
    let (tx, rx) = options.create().unwrap();
    (tx, rx, Atomic::new(0).unwrap())
}

fn kill<R: Message>(process: Process<R>) {
    process.kill().unwrap();
    assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// Takes a job and keeps it.
fn keep((_, rx, taken): Ends) {
    let _job = rx.recv().unwrap();
    taken.fetch_add(1);
    loop {
        thread::park();
    }
}

fn keeper(ends: &Ends) -> Process<()> {
    let before = ends.2.load();
    let process = spawn(keep, ends.clone()).unwrap();
    until(|| ends.2.load() > before);
    process
}

/// The jobs and their deliveries, until there are no more.
fn work((_, rx, _): Ends) -> Vec<(u64, u32)> {
    rx.into_iter().map(|job| (*job, job.deliveries())).collect()
}

pub(crate) fn what_a_killed_worker_had_is_done_by_another() {
    let all = ends(JobOptions::new(10));
    all.0.send_many(0..3).unwrap();
    let keepers = [keeper(&all), keeper(&all)];
    assert_eq!((all.0.unfinished(), all.0.len()), (3, 1));
    keepers.into_iter().for_each(kill);
    let worker = spawn(work, all.clone()).unwrap();
    all.0.join().unwrap();
    all.0.close();
    let mut done = worker.join().unwrap();
    done.sort_unstable();
    assert_eq!(done, [(0, 2), (1, 2), (2, 1)]);
}

/// Takes many, is done with one, gives one back, and keeps the others.
fn keep_many((_, rx, taken): Ends) {
    let mut many = Vec::new();
    assert_eq!(rx.recv_many(&mut many, 5).unwrap(), 5);
    many.remove(4).done();
    many.remove(0).put_back();
    taken.store(1);
    loop {
        thread::park();
    }
}

pub(crate) fn all_that_a_killed_worker_had_come_back() {
    let all = ends(JobOptions::new(10));
    all.0.send_many(0..7).unwrap();
    let keeper = spawn(keep_many, all.clone()).unwrap();
    until(|| all.2.load() == 1);
    assert_eq!((all.0.unfinished(), all.0.len()), (6, 2));
    kill(keeper);
    let mut many = Vec::new();
    while many.len() < 6 {
        all.1.recv_many(&mut many, 10).unwrap();
    }
    let mut found: Vec<_> = many.iter().map(|job| (**job, job.deliveries())).collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 2), (1, 2), (2, 2), (3, 2), (5, 1), (6, 1)]);
    drop(many);
    all.0.try_join().unwrap();
}

/// Only tries, and nobody tells of the death where there is no obituary.
pub(crate) fn who_only_tries_gets_what_a_killed_worker_had() {
    let all = ends(JobOptions::new(10));
    all.0.send(7).unwrap();
    kill(keeper(&all));
    let mut job = None;
    until(|| {
        job = all.1.try_recv().ok();
        job.is_some()
    });
    assert_eq!(job.map(|job| (*job, job.deliveries())), Some((7, 2)));
}

pub(crate) fn a_sleeping_worker_gets_what_a_killed_one_had() {
    let all = ends(JobOptions::new(10));
    all.0.send(7).unwrap();
    let keeper = keeper(&all);
    let worker = spawn(work, all.clone()).unwrap();
    let joiner = thread::spawn({
        let tx = all.0.clone();
        move || tx.join()
    });
    (0..200).for_each(|_| thread::yield_now());
    assert!(!joiner.is_finished());
    kill(keeper);
    joiner.join().unwrap().unwrap();
    all.0.close();
    assert_eq!(worker.join().unwrap(), [(7, 2)]);
}

/// 13 kills.
fn work_badly((_, rx, taken): Ends) -> u64 {
    let mut sum = 0;
    for job in rx {
        taken.fetch_add(1);
        if *job == 13 {
            std::process::abort();
        }
        sum += *job;
    }
    sum
}

pub(crate) fn a_job_that_kills_its_workers_is_given_up() {
    let all = ends(JobOptions::new(10).max_deliveries(2));
    let workers: Vec<_> = (0..3).map(|_| spawn(work_badly, all.clone()).unwrap()).collect();
    let pids: Vec<_> = workers.iter().map(Process::pid).collect();
    all.0.send_many([1, 13, 2]).unwrap();
    let joined = all.0.join();
    let Err(JobsError::DeadLetters(given_up)) = &joined else { panic!("{joined:?}") };
    let last = given_up[0].worker.unwrap().pid;
    assert!(given_up.len() == 1 && given_up[0].deliveries == 2 && pids.contains(&last));
    assert!(joined.unwrap_err().to_string().contains(&format!("to process {last}")));
    let letter = all.0.dead_letters().remove(0);
    assert_eq!((letter.deliveries(), letter.into_value().unwrap()), (2, 13));
    all.0.join().unwrap();
    all.0.send(4).unwrap();
    all.0.join().unwrap();
    assert_eq!(all.2.load(), 5);
    all.0.close();
    let ended: Vec<_> = workers.into_iter().map(Process::join).collect();
    assert_eq!(ended.iter().filter(|joined| joined.is_ok()).count(), 1, "{ended:?}");
}

pub(crate) fn the_death_of_a_worker_is_the_end_of_its_jobs() {
    let all = ends(JobOptions::new(10).on_worker_death(OnWorkerDeath::Fail));
    all.0.send(5).unwrap();
    let keeper = keeper(&all);
    let pid = keeper.pid();
    kill(keeper);
    let joined = all.0.join();
    let Err(JobsError::DeadLetters(given_up)) = joined else { panic!("{joined:?}") };
    assert_eq!((given_up[0].deliveries, given_up[0].worker.unwrap().pid), (1, pid));
    assert_eq!(all.0.dead_letters().remove(0).into_value().unwrap(), 5);
    all.0.join().unwrap();
}

pub(crate) fn the_last_worker_is_killed() {
    let (tx, rx, taken) = ends(JobOptions::new(10).max_deliveries(1));
    tx.send_many(0..2).unwrap();
    let all = (tx, rx, taken);
    let keeper = keeper(&all);
    let (tx, rx, _) = all;
    drop(rx);
    let joiner = thread::spawn(move || tx.join());
    (0..200).for_each(|_| thread::yield_now());
    kill(keeper);
    let joined = joiner.join().unwrap();
    let Err(JobsError::Disconnected { unfinished, given_up, .. }) = joined else { panic!("{joined:?}") };
    assert_eq!((unfinished, given_up.len()), (1, 1));
}

/// Its job is with another thread of it, which finishes it later.
fn receive_in_a_thread((_, rx, taken): Ends) {
    let receiver = thread::spawn(move || rx.recv().unwrap());
    let job = receiver.join().unwrap();
    taken.fetch_add(1);
    until(|| taken.load() == 2);
    drop(job);
    taken.fetch_add(1);
    loop {
        thread::park();
    }
}

pub(crate) fn a_thread_of_a_worker_ends() {
    let all = ends(JobOptions::new(10));
    all.0.send(5).unwrap();
    let worker = spawn(receive_in_a_thread, all.clone()).unwrap();
    until(|| all.2.load() == 1);
    // Whatever is looked at, and also after others have died.
    let other = spawn(keep, all.clone()).unwrap();
    other.kill().unwrap();
    assert!(other.join().is_err());
    for _ in 0..600 {
        assert!(all.1.try_recv().is_err());
    }
    assert!(all.1.recv_timeout(std::time::Duration::from_millis(60)).is_err());
    assert_eq!(all.0.unfinished(), 1);
    all.2.store(2);
    all.0.join().unwrap();
    until(|| all.2.load() == 3);
    kill(worker);
    assert!(all.1.try_recv().is_err());
}

pub(crate) fn a_closed_queue_waits_for_what_may_come_back() {
    for closes in [true, false] {
        let (tx, rx, taken) = ends(JobOptions::new(10));
        tx.send(5).unwrap();
        let all = (tx, rx, taken);
        // It has a sender, too, which goes with it.
        let keeper = keeper(&all);
        if closes {
            all.0.close();
        }
        let (tx, rx, _) = all;
        drop(tx);
        let worker =
            thread::spawn(move || rx.into_iter().map(|job| (*job, job.deliveries())).collect::<Vec<_>>());
        (0..200).for_each(|_| thread::yield_now());
        assert!(!worker.is_finished());
        kill(keeper);
        assert_eq!(worker.join().unwrap(), [(5, 2)]);
    }
}

/// Does what there is, and goes.
fn do_some((_, rx, taken): Ends) {
    loop {
        match rx.try_recv() {
            Ok(job) => {
                taken.fetch_add(1);
                drop(job);
            }
            // Who joins looks for the dead now and then, which may be in the way.
            Err(RecvError::Contended { .. }) => {}
            Err(_) => return,
        }
    }
}

pub(crate) fn workers_in_turns_take_no_seats_for_ever() {
    let all = ends(JobOptions::new(10));
    for n in 0..30 {
        all.0.send(n).unwrap();
        let worker = spawn(do_some, all.clone()).unwrap();
        all.0.join().unwrap();
        worker.join().unwrap();
    }
    assert_eq!(all.2.load(), 30);
    let (tx, _rx) = jobs::<u64>(1).unwrap();
    tx.join().unwrap();
}
