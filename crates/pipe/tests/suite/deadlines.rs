//! Giving up: at any moment, at either end, and everything is as if the call had not been made.

use std::time::{Duration, Instant};

use procession_codec::Bytes;
use procession_pipe::{Duplex, RecvError, SendError};

use super::{FAR, Method, SOON, pattern};

fn send_when_told(end: Duplex<u8, u8>) {
    let n = end.recv().unwrap();
    end.send(&n).unwrap();
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

pub(crate) fn nothing_there<M: Method>() {
    let (ours, theirs) = M::pipe::<u8, u8>().unwrap();
    let peer = M::start(send_when_told, theirs);
    assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
    assert!(matches!(ours.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
    assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::TimedOut)));
    assert!(matches!(ours.recv_until(Instant::now() + SOON), Err(RecvError::TimedOut)));
    assert!(!ours.wait_readable(Duration::ZERO).unwrap());
    assert!(!ours.wait_readable(SOON).unwrap());
    ours.send(&1).unwrap();
    assert!(ours.wait_readable(FAR).unwrap());
    assert_eq!(ours.try_recv().unwrap(), 1);
    assert!(!ours.wait_readable(Duration::ZERO).unwrap());
    assert!(matches!(ours.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
    assert!(matches!(ours.recv_timeout(Duration::MAX.min(SOON)), Err(RecvError::TimedOut)));
    drop(ours);
    peer.join();
}

/// Reads when told to, until the end; returns how many numbers came, each the next.
fn count_when_told((go, end): (Duplex<u32, ()>, Duplex<(), u32>)) {
    while let Ok(()) = go.recv() {
        let mut n = 0;
        while let Ok(i) = end.try_recv() {
            assert_eq!(i, n);
            n += 1;
        }
        go.send(&n).unwrap();
    }
}

pub(crate) fn full_until_drained<M: Method>() {
    let (ours, theirs) = M::pipe::<u32, ()>().unwrap();
    let (go, their_go) = M::pipe::<(), u32>().unwrap();
    let peer = M::start(count_when_told, (their_go, theirs));
    for _ in 0..3 {
        let mut n = 0;
        let full = loop {
            match ours.try_send(&n) {
                Ok(()) => n += 1,
                Err(e) => break e,
            }
        };
        assert!(matches!(full, SendError::Full) && n > 50, "{full:?} after {n}");
        assert!(matches!(ours.send_timeout(&n, SOON), Err(SendError::TimedOut)));
        assert!(matches!(ours.send_until(&n, Instant::now()), Err(SendError::TimedOut)));
        go.send(&()).unwrap();
        assert_eq!(go.recv().unwrap(), n);
    }
    drop(go);
    peer.join();
}

/// Takes two values when told to and sends them back.
fn swap_when_told((go, end): (Duplex<(), ()>, Duplex<Bytes, Bytes>)) {
    go.recv().unwrap();
    for _ in 0..2 {
        end.send(&end.recv().unwrap()).unwrap();
    }
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

pub(crate) fn giving_up_inside_a_large_message<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let (go, their_go) = M::pipe::<(), ()>().unwrap();
    let peer = M::start(swap_when_told, (their_go, theirs));
    let large = pattern(5 << 20);
    assert!(matches!(ours.send_timeout(&large, SOON), Err(SendError::TimedOut)));
    assert!(matches!(ours.try_send(&large), Err(SendError::Full)));
    assert!(matches!(ours.send_until(&pattern(1), Instant::now() + SOON), Err(SendError::TimedOut)));
    go.send(&()).unwrap();
    for bytes in [pattern(3), large] {
        ours.send(&bytes).unwrap();
        assert!(ours.recv_timeout(FAR).unwrap() == bytes);
    }
    drop(ours);
    peer.join();
}

/// Reads when told to, and finds nothing but the end.
fn find_nothing((go, end): (Duplex<(), ()>, Duplex<Bytes, Bytes>)) {
    go.recv().unwrap();
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

pub(crate) fn giving_up_and_going_away<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let (go, their_go) = M::pipe::<(), ()>().unwrap();
    let peer = M::start(find_nothing, (their_go, theirs));
    let large = pattern(5 << 20);
    for _ in 0..3 {
        assert!(matches!(ours.try_send(&large), Err(SendError::Full)));
        assert!(matches!(ours.send_timeout(&large, SOON), Err(SendError::TimedOut)));
    }
    drop(ours);
    go.send(&()).unwrap();
    peer.join();
}

fn send_large_ones(end: Duplex<Bytes, u8>) {
    for n in 1..4 {
        end.send(&pattern(n << 20)).unwrap();
    }
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

pub(crate) fn a_receiver_gives_up_inside_a_message<M: Method>() {
    let (ours, theirs) = M::pipe::<u8, Bytes>().unwrap();
    let peer = M::start(send_large_ones, theirs);
    for n in 1..4 {
        let bytes = loop {
            match ours.try_recv() {
                Err(RecvError::Empty) => assert!(ours.wait_readable(FAR).unwrap()),
                Ok(bytes) => break bytes,
                Err(e) => panic!("{e}"),
            }
            match ours.recv_timeout(Duration::from_nanos(1)) {
                Err(RecvError::TimedOut) => {}
                Ok(bytes) => break bytes,
                Err(e) => panic!("{e}"),
            }
        };
        assert!(bytes == pattern(n << 20));
    }
    drop(ours);
    peer.join();
}
