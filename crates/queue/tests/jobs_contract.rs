//! The contract of channels, kept by queues of jobs whose workers finish what they receive at once; and what is theirs
//! alone: `join`, redelivery, dead letters.

mod jobs_ends;
mod suite;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use procession_codec::{Bytes, Message};
use procession_queue::{
    AsBytes, Job, JobOptions, JobReceiver, JobSender, JobsError, RecvError, SendFault, jobs,
};
use procession_testkit::counted;
use serde::{Deserialize, Deserializer, Serialize, de};
use suite::{Ends, FAR, Peer, SOON, World};

struct Threads;

impl World for Threads {
    type Tx = JobSender<u64>;
    type Rx = JobReceiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        jobs(n).unwrap()
    }

    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R> {
        let thread = thread::spawn(move || task(ends));
        Peer(Box::new(move || thread.join().unwrap()))
    }
}

mod contract {
    mod jobs {
        crate::suite::one::contract!(none, crate::Threads);
        crate::suite::many::contract!(none, crate::Threads);
        crate::suite::closes::contract!(none, crate::Threads);
    }
}

fn unfinished(joined: Result<(), JobsError>) -> usize {
    match joined {
        Err(JobsError::Unfinished { n } | JobsError::TimedOut { unfinished: n }) => n,
        other => panic!("{other:?}"),
    }
}

#[test]
fn join_waits_for_what_is_queued_and_for_what_is_at_work() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(5).unwrap();
        tx.join().unwrap();
        assert_eq!(tx.send_many(0..5).unwrap(), 5);
        for n in 0..5 {
            assert_eq!((unfinished(tx.try_join()), tx.unfinished(), tx.len()), (5 - n, 5 - n, 5 - n));
            let job = rx.recv().unwrap();
            assert_eq!((unfinished(tx.join_timeout(SOON)), rx.unfinished(), rx.len()), (5 - n, 5 - n, 4 - n));
            assert_eq!((*job, job.deliveries(), job.is_redelivered()), (n as u64, 1, false));
            drop(job);
        }
        for joined in [tx.join(), tx.try_join(), tx.join_timeout(FAR), tx.join_until(Instant::now())] {
            joined.unwrap();
        }
    });
}

/// The next job if there is one, also while others are in the middle.
fn next_at_once(rx: &JobReceiver<u64>) -> Option<Job<u64>> {
    loop {
        match rx.try_recv() {
            Ok(job) => return Some(job),
            Err(RecvError::Contended { .. }) => {}
            Err(RecvError::Empty) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn join_is_woken_by_the_last_that_is_done() {
    counted(|| {
        for round in 0..20 {
            let (tx, rx) = jobs::<u64>(10).unwrap();
            tx.send_many(0..3).unwrap();
            let held: Vec<_> = (0..round % 3).map(|_| rx.recv().unwrap()).collect();
            thread::scope(|scope| {
                let joiners: Vec<_> = (0..2).map(|_| scope.spawn(|| tx.join())).collect();
                (0..200).for_each(|_| thread::yield_now());
                drop(held);
                // Who joins looks for the dead now and then, which may be in the way.
                while let Some(job) = next_at_once(&rx) {
                    assert!(!joiners.iter().any(thread::ScopedJoinHandle::is_finished));
                    // Also by another thread than it came to.
                    scope.spawn(move || drop(job)).join().unwrap();
                }
                joiners.into_iter().for_each(|joiner| joiner.join().unwrap().unwrap());
            });
        }
    });
}

/// A job sends the next before it is done, so there is no moment when all is done but the last.
#[test]
fn join_waits_for_jobs_that_jobs_send() {
    counted(|| {
        const N: u64 = 20_000;
        let (tx, rx) = jobs::<u64>(4).unwrap();
        tx.send(0).unwrap();
        let (more, ready) = (tx.clone(), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                ready.wait();
                while let Ok(job) = rx.recv() {
                    if *job < N {
                        more.send(*job + 1).unwrap();
                    } else {
                        job.done();
                        break;
                    }
                }
            });
            ready.wait();
            while let Err(JobsError::Unfinished { n }) = tx.try_join() {
                assert!(n > 0);
            }
            assert!(rx.is_empty() && rx.unfinished() == 0);
        });
        assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    });
}

#[test]
fn what_is_put_back_comes_first_and_is_counted() {
    counted(|| {
        let (tx, rx) = JobOptions::new(3).max_deliveries(3).create::<String>().unwrap();
        tx.send("a".into()).unwrap();
        tx.send("b".into()).unwrap();
        for n in 1..=2 {
            let mut job = rx.recv().unwrap();
            assert_eq!((job.as_str(), job.deliveries(), tx.unfinished()), ("a", n, 2));
            job.push('x');
            job.put_back();
        }
        rx.recv().unwrap().put_back();
        // That was the third time.
        assert_eq!(rx.recv().unwrap().as_str(), "b");
        let Err(JobsError::DeadLetters(given_up)) = tx.join() else { panic!("no dead letters") };
        assert_eq!((given_up.len(), given_up[0].deliveries), (1, 3));
        assert_eq!(given_up[0].worker.unwrap().pid, std::process::id());
        let letters = tx.dead_letters();
        assert_eq!((letters.len(), letters[0].deliveries(), letters[0].worker()), (1, 3, given_up[0].worker));
        assert_eq!(letters.into_iter().next().unwrap().into_value().unwrap(), "a");
        assert!(tx.dead_letters().is_empty());
        tx.join().unwrap();
    });
}

#[test]
fn a_sleeping_receiver_gets_what_is_put_back() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(3).unwrap();
        tx.send(7).unwrap();
        let job = rx.recv().unwrap();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| rx.recv().map(|job| (*job, job.deliveries())));
            (0..200).for_each(|_| thread::yield_now());
            job.put_back();
            assert_eq!(sleeper.join().unwrap().unwrap(), (7, 2));
        });
        tx.join().unwrap();
    });
}

#[test]
fn a_job_whose_worker_panics_is_done() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(3).unwrap();
        tx.send(7).unwrap();
        let worker = thread::spawn(move || {
            let _job = rx.recv().unwrap();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(worker.join().is_err());
        tx.join().unwrap();
        assert!(matches!(tx.send(1).unwrap_err().fault(), SendFault::Disconnected));
    });
}

#[test]
fn nobody_is_left_to_do_it() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(3).unwrap();
        tx.send_many(0..2).unwrap();
        let joined = thread::scope(|scope| {
            let joiner = scope.spawn(|| tx.join());
            (0..200).for_each(|_| thread::yield_now());
            drop(rx.recv().unwrap());
            drop(rx);
            joiner.join().unwrap()
        });
        assert!(matches!(joined, Err(JobsError::Disconnected { unfinished: 1, .. })), "{joined:?}");
        assert!(matches!(tx.try_join(), Err(JobsError::Disconnected { unfinished: 1, .. })));
    });
}

/// What is leased takes no room, up to a limit; and what was leased gives its memory back.
#[test]
fn room_for_those_at_work() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(2).unwrap();
        let mut held = Vec::new();
        for n in 0..1024 {
            tx.try_send(n).unwrap();
            held.push(rx.try_recv().unwrap());
        }
        assert_eq!(tx.unfinished(), 1024);
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        let refused = tx.try_send(3).unwrap_err();
        assert!(matches!(refused.fault(), SendFault::Full));
        held.push(rx.recv().unwrap());
        // There is room in the queue, and no cell.
        assert!(matches!(tx.try_send(3).unwrap_err().fault(), SendFault::Full));
        assert!(matches!(tx.send_timeout(3, SOON).unwrap_err().fault(), SendFault::TimedOut));
        thread::scope(|scope| {
            let sender = scope.spawn(|| tx.send(4));
            (0..200).for_each(|_| thread::yield_now());
            held.clear();
            sender.join().unwrap().unwrap();
        });
        assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()].map(Job::into_inner), [2, 4]);
        tx.join().unwrap();
    });
}

#[test]
fn of_any_length_up_to_the_limit() {
    counted(|| {
        let (tx, rx) = JobOptions::new(4).bytes(3 << 20).create_as::<Bytes, AsBytes>().unwrap();
        let message = |len: usize| Bytes::from((0..len).map(|n| (n / 3) as u8).collect::<Vec<_>>());
        for _ in 0..3 {
            for len in [0, 1, 7, 8, 79, 80, 81, 4096, 17_000, 1 << 20, 3 << 20] {
                tx.try_send(message(len)).unwrap();
                let job = rx.try_recv().unwrap();
                assert!(*job == message(len), "{len}");
                job.put_back();
                assert!(rx.try_recv().unwrap().into_inner() == message(len), "{len}, again");
            }
        }
        let error = tx.send(message((3 << 20) + 1)).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { limit, .. } if *limit == 3 << 20));
        // All together.
        tx.try_send(message(2 << 20)).unwrap();
        assert!(matches!(tx.try_send(message((1 << 20) + 1)).unwrap_err().fault(), SendFault::Full));
        tx.try_send(message(1 << 20)).unwrap();
        assert!(matches!(tx.try_send(message(1)).unwrap_err().fault(), SendFault::Full));
        assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()].map(|job| job.len()), [2 << 20, 1 << 20]);
    });
}

/// A number that does not decode if it is 13.
#[derive(Debug, Serialize)]
struct Picky(u64);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(de::Error::custom("unlucky")),
            n => Ok(Self(n)),
        }
    }
}

#[test]
fn what_does_not_decode_is_a_dead_letter() {
    counted(|| {
        let (tx, rx) = jobs::<Picky>(4).unwrap();
        (12..15).for_each(|n| tx.send(Picky(n)).unwrap());
        assert_eq!(rx.recv().unwrap().0, 12);
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        assert_eq!(rx.recv().unwrap().0, 14);
        assert!(matches!(tx.join(), Err(JobsError::DeadLetters(given_up)) if given_up[0].deliveries == 1));
        assert!(tx.dead_letters().remove(0).into_value().is_err());
        tx.join().unwrap();
    });
}

/// A job is its process's, whatever becomes of the thread that received it.
#[test]
fn a_thread_that_ends_takes_no_job_with_it() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(4).unwrap();
        tx.send(1).unwrap();
        let job = thread::scope(|scope| scope.spawn(|| rx.recv().unwrap()).join().unwrap());
        for _ in 0..600 {
            assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
        }
        assert!(matches!(rx.recv_timeout(Duration::from_millis(120)), Err(RecvError::TimedOut)));
        assert_eq!((*job, tx.unfinished()), (1, 1));
        drop(job);
        tx.join().unwrap();
    });
}

/// Who receives from a closed queue is told so at once, if nothing can come back, and else when that is sure.
#[test]
fn closed_while_jobs_are_at_work() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(4).unwrap();
        tx.send_many(0..2).unwrap();
        let job = rx.recv().unwrap();
        tx.close();
        assert_eq!(*rx.recv().unwrap(), 1);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)), "what this process has comes back to nobody");
        job.put_back();
        assert_eq!(rx.recv().unwrap().deliveries(), 2);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        tx.join().unwrap();
    });
}
