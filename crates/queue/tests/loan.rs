//! Messages written and read in place: nobody else has their memory meanwhile, and it comes back.

mod parcel;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use procession_codec::Bytes;
use procession_queue::{AsBytes, Receiver, RecvError, SendFault, Sender, bounded_as};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, guarded, role};

type Ends = (Sender<Bytes, AsBytes>, Receiver<Bytes, AsBytes>);

const LIMIT: Duration = Duration::from_secs(30);

fn queue(n: usize, bytes: u64) -> Ends {
    bounded_as(n, bytes).unwrap()
}

fn fill(len: usize, with: u8) -> impl FnOnce(&mut [u8]) {
    move |bytes| {
        assert_eq!(bytes.len(), len);
        bytes.fill(with);
    }
}

#[test]
fn what_was_written_is_read_whatever_its_length() {
    counted(|| {
        let (tx, rx) = queue(8, 64 << 20);
        for (with, len) in (1..).zip([0, 1, 40, 41, 1023, 1024, 16 << 10, (16 << 10) + 1, 1 << 20, 5 << 20]) {
            tx.send_with(len, fill(len, with)).unwrap();
            let loan = rx.recv_ref().unwrap();
            assert!(loan.len() == len && loan.iter().all(|byte| *byte == with));
            // However it was sent, and however it is received.
            drop(loan);
            tx.send(Bytes::from(vec![with; len])).unwrap();
            assert_eq!(&*rx.recv_ref().unwrap(), vec![with; len]);
            tx.send_with(len, fill(len, with)).unwrap();
            assert_eq!(rx.recv().unwrap(), Bytes::from(vec![with; len]));
        }
        assert!(matches!(rx.try_recv_ref(), Err(RecvError::Empty)));
        assert!(matches!(rx.recv_ref_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
        assert!(matches!(rx.recv_ref_until(Instant::now()), Err(RecvError::TimedOut)));
    });
}

#[test]
fn a_loan_keeps_its_bytes_while_others_come_and_go() {
    counted(|| {
        let (tx, rx) = queue(4, 64 << 20);
        tx.send_with(1 << 20, fill(1 << 20, 1)).unwrap();
        let first = rx.recv_ref().unwrap();
        for with in 2..20 {
            tx.send_with(1 << 20, fill(1 << 20, with)).unwrap();
            assert!(rx.recv_ref().unwrap().iter().all(|byte| *byte == with));
            assert!(first.iter().all(|byte| *byte == 1));
        }
    });
}

#[test]
fn more_loans_than_there_are_pieces_of_memory_are_copies() {
    counted(|| {
        let (tx, rx) = queue(4, 8 << 20);
        let mut loans = Vec::new();
        for n in 0..200 {
            tx.send_with(2000, fill(2000, n)).unwrap();
            loans.push(rx.recv_ref().unwrap());
        }
        assert!((0..).zip(&loans).all(|(n, loan)| loan.iter().all(|byte| *byte == n)));
    });
}

#[test]
fn who_panics_while_it_writes_sends_nothing() {
    counted(|| {
        let (tx, rx) = queue(4, 1 << 20);
        for _ in 0..300 {
            let panicked = catch_unwind(AssertUnwindSafe(|| tx.send_with(5000, |_| panic!("half way"))));
            assert!(panicked.is_err() && rx.is_empty());
        }
        tx.send_with(5000, fill(5000, 1)).unwrap();
        assert_eq!(rx.recv_ref().unwrap().len(), 5000);
    });
}

#[test]
fn what_does_not_fit_is_not_written_or_waits() {
    counted(|| {
        let (tx, rx) = queue(2, 100_000);
        let too_large = tx.send_with(100_001, |_| panic!("written"));
        assert!(matches!(too_large, Err(SendFault::TooLarge { len: 100_001, limit: 100_000 })));
        tx.send_with(60_000, fill(60_000, 1)).unwrap();
        assert!(matches!(tx.try_send_with(60_000, fill(60_000, 2)), Err(SendFault::Full)));
        let brief = Duration::from_millis(1);
        assert!(matches!(tx.send_with_timeout(60_000, fill(60_000, 2), brief), Err(SendFault::TimedOut)));
        let soon = Instant::now() + brief;
        assert!(matches!(tx.send_with_until(60_000, fill(60_000, 2), soon), Err(SendFault::TimedOut)));
        thread::scope(|scope| {
            let sender = scope.spawn(|| tx.send_with(60_000, fill(60_000, 3)).unwrap());
            assert_eq!(rx.recv_ref().unwrap()[0], 1);
            sender.join().unwrap();
            assert_eq!(rx.recv_ref().unwrap()[0], 3);
        });
    });
}

/// Has a loan, and does not give it back.
fn borrower() {
    let rx: Receiver<Bytes, AsBytes> = parcel::received();
    let loan = rx.recv_ref().unwrap();
    roles::say(&loan[0].to_string());
    while roles::hear().is_some() {}
}

#[test]
fn the_memory_of_who_is_killed_with_a_loan_comes_back() {
    if role().is_some() {
        return borrower();
    }
    guarded(|| {
        let (tx, rx) = queue(4, 8 << 20);
        // More often than there are pieces of memory.
        for n in 0..140_u8 {
            tx.send_with(2000, fill(2000, n)).unwrap();
            let mut victim = parcel::hand(Role::new("borrower"), &rx).spawn();
            assert_eq!(victim.hear(LIMIT), Some(n.to_string()));
            victim.kill_and_reap();
        }
        let all: Vec<_> = (0..4)
            .map(|n| {
                tx.send_with(2000, fill(2000, n)).unwrap();
                rx.recv_ref().unwrap()
            })
            .collect();
        assert!((0..).zip(&all).all(|(n, loan)| loan[0] == n && loan.len() == 2000));
    });
}
