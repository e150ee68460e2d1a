//! Ends of queues of jobs that are waited for together with others, where no tick mends a lost wake: it is an hour here.

mod ticks;

use std::thread;

use procession_queue::{JobReceiver, JobSender, JobsError, RecvError, SendFault, bounded, jobs};
use procession_sys::caps::{self, Capability};
use procession_sys::event::Event;
use procession_sys::wait::Waitable;
use procession_testkit::guarded;
use ticks::{any, is_ready, without_ticks, yield_often};

#[test]
fn readiness_is_what_try_forms_say() {
    guarded(|| {
        let (tx, rx) = jobs::<u8>(1).unwrap();
        assert!(!is_ready(&rx) && is_ready(&tx));
        tx.send(1).unwrap();
        assert!(is_ready(&rx) && !is_ready(&tx));
        let job = rx.try_recv().unwrap();
        assert!(!is_ready(&rx) && is_ready(&tx));
        job.put_back();
        assert!(is_ready(&rx) && is_ready(&rx));
        assert_eq!(rx.try_recv().unwrap().deliveries(), 2);
        assert!(!is_ready(&rx));
        tx.send(2).unwrap();
        tx.close();
        assert!(is_ready(&rx) && is_ready(&tx));
        // What this process has comes back to nobody.
        let _job = rx.try_recv().unwrap();
        assert!(is_ready(&rx) && matches!(rx.try_recv(), Err(RecvError::Closed)));
        let (tx, rx) = jobs::<u8>(1).unwrap();
        drop(tx);
        assert!(is_ready(&rx) && matches!(rx.try_recv(), Err(RecvError::Disconnected)));
        let (tx, rx) = jobs::<u8>(1).unwrap();
        tx.send(1).unwrap();
        drop(rx);
        assert!(is_ready(&tx));
        assert!(matches!(tx.try_send(1).unwrap_err().fault(), SendFault::Disconnected));
    });
}

#[test]
fn no_wake_is_lost() {
    without_ticks(|| {
        // Where nobody can sleep on many words, who did not see it coming sleeps 50 ms.
        let n_turns: u64 = if caps::has(Capability::Waitv) { 5000 } else { 100 };
        let event = Event::new().unwrap();
        // Words only, and through helpers.
        for is_mixed in [false, true] {
            let ((there, from_here), (back, from_there)) = (jobs(1).unwrap(), jobs(1).unwrap());
            let (_tx, silent) = bounded::<u64>(1).unwrap();
            let turn = |tx: &JobSender<u64>, rx: &JobReceiver<u64>| {
                let other: &dyn Waitable = if is_mixed { &event } else { &silent };
                assert_eq!(any(&[other, rx]), [1]);
                let n = rx.try_recv().unwrap().into_inner();
                assert_eq!(any(&[other, tx]), [1]);
                tx.try_send(n + 1).unwrap();
                n
            };
            thread::scope(|s| {
                s.spawn(|| (0..n_turns).for_each(|_| assert!(turn(&back, &from_here) % 2 == 0)));
                there.send(0).unwrap();
                (0..n_turns - 1).for_each(|n| assert_eq!(turn(&there, &from_there), 2 * n + 1));
                assert_eq!(from_there.recv().unwrap().into_inner(), 2 * n_turns - 1);
            });
        }
    });
}

#[test]
fn what_is_put_back_wakes() {
    without_ticks(|| {
        let event = Event::new().unwrap();
        for round in 0..100 {
            let (tx, rx) = jobs::<u64>(2).unwrap();
            tx.send(7).unwrap();
            let job = rx.recv().unwrap();
            thread::scope(|s| {
                let waiter = s.spawn(|| if round % 2 == 0 { any(&[&rx]) } else { any(&[&rx, &event]) });
                if round % 4 > 1 {
                    yield_often();
                }
                job.put_back();
                assert_eq!(waiter.join().unwrap(), [0]);
            });
            assert_eq!(rx.try_recv().unwrap().deliveries(), 2);
        }
    });
}

/// A wake that a waiter had and made nothing of is passed on to whoever sleeps in the queue itself.
#[test]
fn who_was_woken_and_goes_away_wakes_another() {
    without_ticks(|| {
        let event = Event::new().unwrap();
        for _ in 0..60 {
            let (tx, rx) = jobs::<u64>(4).unwrap();
            thread::scope(|s| {
                s.spawn(|| any(&[&rx, &event]));
                yield_often();
                let receiver = s.spawn(|| rx.recv().unwrap().into_inner());
                yield_often();
                tx.send(7).unwrap();
                assert_eq!(receiver.join().unwrap(), 7);
                // If the receiver was quicker.
                tx.send(8).unwrap();
            });
            let (tx, rx) = jobs::<u64>(1).unwrap();
            tx.send(0).unwrap();
            thread::scope(|s| {
                s.spawn(|| any(&[&tx, &event]));
                yield_often();
                s.spawn(|| tx.send(1).unwrap());
                yield_often();
                assert_eq!([rx.recv(), rx.recv()].map(|job| job.unwrap().into_inner()), [0, 1]);
            });
        }
    });
}

/// There is room in the queue, and so many jobs are at work that there is none for one more.
#[test]
fn the_end_of_a_job_makes_room() {
    without_ticks(|| {
        let event = Event::new().unwrap();
        for is_mixed in [false, true] {
            let (tx, rx) = jobs::<u64>(1).unwrap();
            let mut held: Vec<_> = (0..1025)
                .map(|n| {
                    tx.send(n).unwrap();
                    rx.recv().unwrap()
                })
                .collect();
            assert!(!is_ready(&tx) && tx.is_empty());
            assert!(matches!(tx.try_send(1).unwrap_err().fault(), SendFault::Full));
            thread::scope(|s| {
                let waiter = s.spawn(|| if is_mixed { any(&[&tx, &event]) } else { any(&[&tx]) });
                yield_often();
                assert!(!waiter.is_finished());
                // Whichever it sleeps on.
                held.clear();
                assert_eq!(waiter.join().unwrap(), [0]);
            });
            tx.try_send(1).unwrap();
            assert!(matches!(tx.try_join(), Err(JobsError::Unfinished { n: 1 })));
        }
    });
}

#[test]
fn an_end_is_heard_of() {
    without_ticks(|| {
        for (is_mixed, closes) in [(false, false), (false, true), (true, false), (true, true)] {
            let (tx, rx) = jobs::<u64>(1).unwrap();
            let event = Event::new().unwrap();
            thread::scope(|s| {
                s.spawn(move || {
                    yield_often();
                    if closes {
                        tx.close();
                    }
                });
                assert_eq!(if is_mixed { any(&[&rx, &event]) } else { any(&[&rx]) }, [0]);
            });
            assert!(matches!(rx.try_recv(), Err(RecvError::Disconnected | RecvError::Closed)));
        }
    });
}
