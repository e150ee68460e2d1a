//! A domain without room: who finds no place in it is told so, by every form, and its value rides back.

use std::os::fd::AsFd;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use procession_queue::{Receiver, RecvError, SendFault, Sender, bounded};
use procession_shm::domain::Domain;
use procession_testkit::guarded;

const FAR: Duration = Duration::from_secs(50);

fn refuse(tx: &Sender<Vec<u8>>, rx: &Receiver<Vec<u8>>) {
    for len in [1, 1000, 20_000] {
        let value = || vec![1; len];
        let sent = [
            tx.send(value()),
            tx.try_send(value()),
            tx.send_timeout(value(), FAR),
            tx.send_until(value(), Instant::now()),
        ];
        for error in sent.map(Result::unwrap_err) {
            assert!(matches!(error.fault(), SendFault::NoSlot), "{error}");
            assert_eq!(error.into_value(), value());
        }
    }
    let received = [rx.recv(), rx.try_recv(), rx.recv_timeout(FAR), rx.recv_until(Instant::now())];
    assert!(received.iter().all(|r| matches!(r, Err(RecvError::NoSlot))), "{received:?}");
    assert_eq!((tx.len(), rx.is_closed()), (1, false));
}

#[test]
fn a_thread_without_a_place_neither_sends_nor_receives() {
    guarded(|| {
        let small = Domain::with_slots(2).unwrap();
        Domain::adopt(small.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let (tx, rx) = bounded::<Vec<u8>>(5).unwrap();
        let (in_place, done) = (Barrier::new(2), Barrier::new(2));
        tx.send(vec![5]).unwrap();
        std::thread::scope(|s| {
            s.spawn(|| {
                drop(rx.recv().unwrap());
                tx.send(vec![6]).unwrap();
                in_place.wait();
                done.wait();
            });
            in_place.wait();
            let failed = s.spawn(|| refuse(&tx, &rx)).join().is_err();
            done.wait();
            assert!(!failed);
        });
        assert_eq!(rx.recv().unwrap(), [6]);
    });
}
