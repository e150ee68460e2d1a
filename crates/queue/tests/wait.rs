//! Ends of queues that are waited for together with others, where no tick mends a lost wake: it is an hour here.

mod ticks;

use std::sync::Barrier;
use std::thread;

use procession_queue::{Queue, Receiver, RecvError, SendFault, Sender, bounded, unbounded};
use procession_sys::caps::{self, Capability};
use procession_sys::event::Event;
use procession_testkit::guarded;
use ticks::{any, is_ready, without_ticks, yield_often};

#[test]
fn readiness_is_what_try_forms_say() {
    guarded(|| {
        let (tx, rx) = bounded::<u8>(1).unwrap();
        assert!(!is_ready(&rx) && is_ready(&tx));
        tx.send(1).unwrap();
        assert!(is_ready(&rx) && !is_ready(&tx));
        tx.close();
        assert!(is_ready(&rx) && is_ready(&tx));
        assert_eq!(rx.recv().unwrap(), 1);
        assert!(is_ready(&rx) && matches!(rx.try_recv(), Err(RecvError::Closed)));
        let (tx, rx) = unbounded::<u8>().unwrap();
        drop(tx);
        assert!(is_ready(&rx) && matches!(rx.try_recv(), Err(RecvError::Disconnected)));
        let (tx, rx) = bounded::<u8>(1).unwrap();
        tx.send(1).unwrap();
        drop(rx);
        assert!(is_ready(&tx));
        assert!(matches!(tx.try_send(1).unwrap_err().fault(), SendFault::Disconnected));
        let queue = Queue::<u8>::new(1).unwrap();
        assert!(!is_ready(&queue));
        queue.send(1).unwrap();
        assert!(is_ready(&queue) && is_ready(queue.receiver()) && !is_ready(queue.sender()));
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
            let ((there, from_here), (back, from_there)) = (bounded(1).unwrap(), bounded(1).unwrap());
            let (_tx, silent) = bounded::<u64>(1).unwrap();
            let turn = |tx: &Sender<u64>, rx: &Receiver<u64>| {
                let ready = match is_mixed {
                    true => any(&[&event, rx]),
                    false => any(&[&silent, rx]),
                };
                assert_eq!(ready, [1]);
                let n = rx.try_recv().unwrap();
                assert_eq!(any(&[&silent, tx]), [1]);
                tx.try_send(n + 1).unwrap();
                n
            };
            thread::scope(|s| {
                s.spawn(|| (0..n_turns).for_each(|_| assert!(turn(&back, &from_here) % 2 == 0)));
                there.send(0).unwrap();
                (0..n_turns - 1).for_each(|n| assert_eq!(turn(&there, &from_there), 2 * n + 1));
                assert_eq!(from_there.recv().unwrap(), 2 * n_turns - 1);
            });
        }
    });
}

/// A wake that a waiter had and made nothing of is passed on to whoever sleeps in the queue itself.
#[test]
fn who_was_woken_and_goes_away_wakes_another() {
    without_ticks(|| {
        for round in 0..200 {
            let (tx, rx) = bounded::<u64>(4).unwrap();
            let (_other_tx, other) = bounded::<u64>(4).unwrap();
            let (event, begun) = (Event::new().unwrap(), Barrier::new(3));
            thread::scope(|s| {
                // Two wait, who are asleep first, and receive nothing.
                s.spawn(|| {
                    begun.wait();
                    any(&[&rx, &other])
                });
                s.spawn(|| {
                    begun.wait();
                    any(&[&rx, &event])
                });
                begun.wait();
                if round % 4 > 0 {
                    yield_often();
                }
                let receiver = s.spawn(|| rx.recv().unwrap());
                yield_often();
                tx.send(7).unwrap();
                assert_eq!(receiver.join().unwrap(), 7);
                // For those whom the receiver was quicker than.
                tx.send(8).unwrap();
            });
        }
    });
}

/// Senders that wait for room, some here and some in the queue itself: each place is filled.
#[test]
fn room_is_passed_on_too() {
    without_ticks(|| {
        for _ in 0..200 {
            let (tx, rx) = bounded::<u64>(1).unwrap();
            let event = Event::new().unwrap();
            tx.send(0).unwrap();
            thread::scope(|s| {
                s.spawn(|| any(&[&tx, &event]));
                yield_often();
                s.spawn(|| tx.send(1).unwrap());
                yield_often();
                assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (0, 1));
            });
        }
    });
}

#[test]
fn an_end_is_heard_of() {
    without_ticks(|| {
        for is_mixed in [false, true] {
            for closes in [false, true] {
                let (tx, rx) = bounded::<u64>(1).unwrap();
                let event = Event::new().unwrap();
                thread::scope(|s| {
                    s.spawn(move || {
                        yield_often();
                        if closes {
                            tx.close();
                        }
                    });
                    assert_eq!(
                        if is_mixed { any(&[&event, &rx]) } else { any(&[&rx]) },
                        [usize::from(is_mixed)]
                    );
                });
                assert!(matches!(rx.try_recv(), Err(RecvError::Disconnected | RecvError::Closed)));
            }
        }
    });
}
