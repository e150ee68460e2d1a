//! Many jobs at once: in order, each with a lease of its own, and what came back before all others.

use std::thread;
use std::time::{Duration, Instant};

use procession_queue::{Job, JobOptions, JobsError, RecvError, jobs};
use procession_testkit::counted;
use serde::{Deserialize, Deserializer, Serialize, de};

fn of(jobs: &[Job<u64>]) -> Vec<(u64, u32)> {
    jobs.iter().map(|job| (**job, job.deliveries())).collect()
}

#[test]
fn as_many_as_are_there() {
    counted(|| {
        let (tx, rx) = jobs::<u64>(1000).unwrap();
        let mut many = Vec::new();
        assert!(matches!(rx.try_recv_many(&mut many, 5), Err(RecvError::Empty)));
        assert!(matches!(
            rx.recv_many_timeout(&mut many, 5, Duration::from_millis(1)),
            Err(RecvError::TimedOut)
        ));
        assert!(matches!(rx.recv_many_until(&mut many, 5, Instant::now()), Err(RecvError::TimedOut)));
        tx.send_many(0..600).unwrap();
        assert_eq!((rx.recv_many(&mut many, 0).unwrap(), many.len()), (0, 0));
        assert_eq!((rx.recv_many(&mut many, 3).unwrap(), tx.len()), (3, 597));
        assert_eq!(of(&many), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(rx.try_recv_many(&mut many, 1000).unwrap(), 256);
        assert_eq!(rx.recv_many_timeout(&mut many, 200, Duration::from_secs(50)).unwrap(), 200);
        assert_eq!(rx.recv_many_until(&mut many, 200, Instant::now()).unwrap(), 141);
        assert!(many.iter().map(|job| **job).eq(0..600));
        assert_eq!((tx.unfinished(), tx.len()), (600, 0));
        drop(many);
        tx.try_join().unwrap();
        tx.close();
        assert!(matches!(rx.recv_many(&mut Vec::new(), 5), Err(RecvError::Closed)));
    });
}

#[test]
fn each_ends_by_itself() {
    counted(|| {
        let (tx, rx) = JobOptions::new(10).max_deliveries(2).create::<u64>().unwrap();
        tx.send_many(0..5).unwrap();
        let mut many = Vec::new();
        assert_eq!(rx.recv_many(&mut many, 4).unwrap(), 4);
        let mut few = many.into_iter();
        few.next().unwrap().done();
        few.next().unwrap().put_back();
        assert_eq!(few.next().unwrap().into_inner(), 2);
        few.next().unwrap().put_back();
        // Those that came back first.
        let mut many = Vec::new();
        assert_eq!(rx.recv_many(&mut many, 10).unwrap(), 3);
        assert_eq!(of(&many), [(1, 2), (3, 2), (4, 1)]);
        many.into_iter().for_each(Job::put_back);
        assert!(matches!(tx.join_timeout(Duration::ZERO), Err(JobsError::TimedOut { unfinished: 1 })));
        assert_eq!(tx.dead_letters().len(), 2);
        assert_eq!(rx.recv().unwrap().into_inner(), 4);
        tx.join().unwrap();
    });
}

#[test]
fn by_several_at_once() {
    counted(|| {
        const N: u64 = 5000;
        let (tx, rx) = jobs::<u64>(10).unwrap();
        let sum = thread::scope(|scope| {
            let work = || {
                let (mut many, mut sum) = (Vec::new(), 0);
                while let Ok(n) = rx.recv_many(&mut many, 7) {
                    assert!((1..=7).contains(&n) && many.len() == n);
                    sum += many.drain(..).map(Job::into_inner).sum::<u64>();
                }
                sum
            };
            let workers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
            tx.send_many(0..N).unwrap();
            tx.join().unwrap();
            tx.close();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, N * (N - 1) / 2);
    });
}

/// A number that does not decode if it is 13, and panics if it is 14.
#[derive(Debug, Serialize)]
struct Picky(u64);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            13 => Err(de::Error::custom("unlucky")),
            14 => std::panic::resume_unwind(Box::new(())),
            n => Ok(Self(n)),
        }
    }
}

#[test]
fn one_that_does_not_decode_ends_none_of_the_others() {
    counted(|| {
        for bad in [13, 14] {
            let (tx, rx) = jobs::<Picky>(10).unwrap();
            [1, 2, bad, 3].into_iter().for_each(|n| tx.send(Picky(n)).unwrap());
            let mut many = Vec::new();
            let received =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rx.recv_many(&mut many, 9)));
            if bad == 13 {
                assert!(matches!(received, Ok(Err(RecvError::Decode(_)))), "{received:?}");
            } else {
                assert!(received.is_err());
            }
            assert!(many.iter().map(|job| job.0).eq([1, 2]));
            assert_eq!((tx.unfinished(), tx.len(), tx.dead_letters().len()), (3, 1, usize::from(bad == 13)));
            assert_eq!(rx.recv_many(&mut many, 9).unwrap(), 1);
            drop(many);
            tx.try_join().unwrap();
        }
    });
}
