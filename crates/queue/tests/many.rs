//! Many messages at once: in order, each once, and what is not sent comes back; and both ends in one handle.

use std::thread;
use std::time::{Duration, Instant};

use procession_codec::Bytes;
use procession_queue::{
    AsBytes, AsPlain, Queue, RecvError, SendFault, SimpleQueue, bounded, bounded_as, bounded_bytes,
};
use procession_testkit::counted;
use serde::{Deserialize, Serialize, Serializer, ser};

#[test]
fn thousands_through_a_few_slots() {
    counted(|| {
        for n in [1, 3, 256, 1000] {
            let (tx, rx) = bounded::<u32>(n).unwrap();
            thread::scope(|scope| {
                let sender = scope.spawn(|| tx.send_many(0..5000).unwrap());
                let mut all = Vec::new();
                while all.len() < 5000 {
                    let before = all.len();
                    let came = rx.recv_many(&mut all, 100).unwrap();
                    assert!((1..=100).contains(&came) && all.len() == before + came);
                }
                assert_eq!(sender.join().unwrap(), 5000);
                assert!(all.into_iter().eq(0..5000) && rx.is_empty());
            });
        }
    });
}

/// Numbers as they are, which are put and taken in one pass.
#[test]
fn thousands_of_plain_numbers() {
    counted(|| {
        for n in [1, 3, 96, 256, 1000] {
            let (tx, rx) = bounded_as::<u64, AsPlain>(n, 1 << 16).unwrap();
            let error = tx.try_send_many(0..5000).unwrap_err();
            assert!(matches!(error.fault(), SendFault::Full) && error.n_sent() == n);
            let mut rest = error.into_unsent();
            thread::scope(|scope| {
                let sender = scope.spawn(|| tx.send_many(rest.by_ref()).unwrap());
                let mut all = Vec::new();
                while all.len() < 5000 {
                    rx.recv_many(&mut all, 100).unwrap();
                }
                assert_eq!(sender.join().unwrap(), 5000 - n);
                assert!(all.into_iter().eq(0..5000) && rx.is_empty());
            });
        }
        // Room for fewer bytes than one needs, and than all need.
        let (tx, _rx) = bounded_as::<u64, AsPlain>(10, 7).unwrap();
        let error = tx.try_send_many(0..3).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { .. }) && error.into_unsent().eq(0..3));
        let (tx, rx) = bounded_as::<u64, AsPlain>(10, 17).unwrap();
        assert!(tx.try_send_many(0..3).unwrap_err().into_unsent().eq(2..3));
        assert_eq!(rx.try_recv_many(&mut Vec::new(), 5).unwrap(), 2);
    });
}

/// Small ones, such as lie in the ring, and large ones, in any order.
#[test]
fn lengths_of_all_kinds_in_one_call() {
    counted(|| {
        let (tx, rx) = bounded_as::<Bytes, AsBytes>(10, 1 << 20).unwrap();
        let lengths = [0, 3, 40, 41, 100_000, 5000, 16 << 10, 16 << 10, 20_000, 20_000, 1, 0, 300_000, 9];
        let messages = || (0..).zip(lengths).map(|(n, len)| Bytes::from(vec![n; len]));
        thread::scope(|scope| {
            let sender = scope.spawn(|| tx.send_many(messages()).unwrap());
            let mut all = Vec::new();
            while all.len() < lengths.len() {
                rx.recv_many(&mut all, 5).unwrap();
            }
            assert_eq!(sender.join().unwrap(), lengths.len());
            assert!(all.into_iter().eq(messages()));
        });
    });
}

#[test]
fn what_is_not_sent_comes_back_in_its_order() {
    counted(|| {
        for n in [1, 7, 300] {
            let (tx, rx) = bounded::<u32>(n).unwrap();
            let error = tx.try_send_many(0..1000).unwrap_err();
            assert!(matches!(error.fault(), SendFault::Full) && error.n_sent() == n);
            assert!(error.into_unsent().eq(n as u32..1000));
            let error = tx.send_many_timeout([1], Duration::from_millis(1)).unwrap_err();
            assert!(matches!(error.fault(), SendFault::TimedOut), "{error}");
            let error = tx.send_many_until([1], Instant::now()).unwrap_err();
            assert!(matches!(error.fault(), SendFault::TimedOut), "{error}");
            tx.close();
            let error = tx.send_many([1, 2]).unwrap_err();
            assert!(matches!(error.fault(), SendFault::Closed) && error.into_unsent().eq([1, 2]));
            let mut all = Vec::new();
            while all.len() < n {
                rx.recv_many(&mut all, usize::MAX).unwrap();
            }
            assert!(all.into_iter().eq(0..n as u32));
            assert!(matches!(rx.recv_many(&mut Vec::new(), 1), Err(RecvError::Closed)));
        }
        let (tx, rx) = bounded::<u32>(4).unwrap();
        drop(rx);
        let error = tx.send_many(0..3).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Disconnected) && error.into_unsent().eq(0..3));
        assert_eq!(tx.send_many([]).unwrap(), 0);
    });
}

/// Encodes, unless it is 13; decodes, unless it is 7.
#[derive(Debug, PartialEq)]
struct Unlucky(u32);

impl Serialize for Unlucky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 { Err(ser::Error::custom("thirteen")) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Unlucky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            7 => Err(serde::de::Error::custom("seven")),
            n => Ok(Self(n)),
        }
    }
}

#[test]
fn one_that_does_not_encode_or_decode_costs_no_other() {
    counted(|| {
        let (tx, rx) = bounded::<Unlucky>(100).unwrap();
        let error = tx.send_many((0..20).map(Unlucky)).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Encode(_)) && error.n_sent() == 13);
        assert!(error.into_unsent().eq((13..20).map(Unlucky)));
        let mut all = Vec::new();
        assert!(matches!(rx.recv_many(&mut all, 100), Err(RecvError::Decode(_))));
        assert!(all.into_iter().eq((0..13).filter(|n| *n != 7).map(Unlucky)) && rx.is_empty());
        let (tx, _rx) = bounded_bytes::<String>(4, 100).unwrap();
        let error = tx.send_many(["a".to_string(), "b".repeat(100)]).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { len: 101, limit: 100 }), "{error}");
        assert_eq!((error.n_sent(), error.into_unsent().next()), (1, Some("b".repeat(100))));
    });
}

#[test]
fn every_form_of_receiving_many() {
    counted(|| {
        let (tx, rx) = bounded::<u32>(10).unwrap();
        let mut all = Vec::new();
        assert_eq!(rx.recv_many(&mut all, 0).unwrap(), 0);
        assert!(matches!(rx.try_recv_many(&mut all, 1), Err(RecvError::Empty)));
        assert!(matches!(rx.recv_many_timeout(&mut all, 1, Duration::ZERO), Err(RecvError::TimedOut)));
        assert!(matches!(rx.recv_many_until(&mut all, 1, Instant::now()), Err(RecvError::TimedOut)));
        tx.send_many(0..10).unwrap();
        assert_eq!(rx.try_recv_many(&mut all, 3).unwrap(), 3);
        assert_eq!(rx.recv_many_timeout(&mut all, 3, Duration::MAX).unwrap(), 3);
        assert_eq!(rx.recv_many_until(&mut all, 100, Instant::now()).unwrap(), 4);
        assert!(all.into_iter().eq(0..10));
    });
}

#[test]
fn both_ends_in_one_handle() {
    counted(|| {
        let queue = Queue::new(3).unwrap();
        assert_eq!((queue.len(), queue.capacity(), queue.is_empty(), queue.is_full()), (0, 3, true, false));
        queue.send(1).unwrap();
        queue.try_send(2).unwrap();
        queue.send_timeout(3, Duration::ZERO).unwrap();
        assert!(queue.is_full() && queue.try_send(4).is_err());
        assert!(queue.send_until(4, Instant::now()).is_err());
        let other = queue.clone();
        assert_eq!((other.recv().unwrap(), other.try_recv().unwrap()), (1, 2));
        assert_eq!(other.recv_timeout(Duration::ZERO).unwrap(), 3);
        assert!(matches!(other.recv_until(Instant::now()), Err(RecvError::TimedOut)));
        assert_eq!(queue.send_many(5..8).unwrap(), 3);
        let mut all = Vec::new();
        assert_eq!(queue.recv_many(&mut all, 2).unwrap(), 2);
        assert!(queue.try_iter().eq([7]));
        queue.send(8).unwrap();
        queue.close();
        assert!(queue.is_closed() && queue.iter().eq([8]));
        let (tx, rx) = queue.into_ends();
        drop((tx, other));
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        let simple = SimpleQueue::unbounded().unwrap();
        (0..10_000).for_each(|n| simple.send(n).unwrap());
        assert!(simple.try_iter().eq(0..10_000));
    });
}
