//! The other end goes away: what was sent is there, then everybody hears of it.

use std::thread;

use procession_codec::Bytes;
use procession_pipe::{Duplex, RecvError, SendError};

use super::{FAR, Method, pattern};

fn send_and_go(end: Duplex<Bytes, u8>) {
    for i in 0..100 {
        end.send(&pattern(i)).unwrap();
    }
    end.send(&pattern(1 << 20)).unwrap();
}

pub(crate) fn everything_sent_is_there_before_the_end<M: Method>() {
    let (ours, theirs) = M::pipe::<u8, Bytes>().unwrap();
    let peer = M::start(send_and_go, theirs);
    for i in 0..100 {
        assert_eq!(ours.recv().unwrap(), pattern(i));
    }
    assert!(ours.recv().unwrap() == pattern(1 << 20));
    peer.join();
    for _ in 0..2 {
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        assert!(matches!(ours.try_recv(), Err(RecvError::Closed)));
        assert!(matches!(ours.recv_timeout(FAR), Err(RecvError::Closed)));
        assert!(ours.wait_readable(FAR).unwrap());
    }
}

fn send_one_of_each_and_go(ends: Duplex<(), Duplex<u32, ()>>) {
    let mut n = 0;
    while let Ok(end) = ends.recv() {
        end.send(&n).unwrap();
        drop(end);
        n += 1;
    }
}

/// A receiver that looks again and again meets the last message and the close at every distance from each other.
pub(crate) fn the_last_message_is_not_overtaken_by_the_end<M: Method>() {
    let (ours, theirs) = M::pipe::<Duplex<u32, ()>, ()>().unwrap();
    let peer = M::start(send_one_of_each_and_go, theirs);
    for i in 0..2000 {
        let (far, near) = M::pipe::<u32, ()>().unwrap();
        ours.send(&far).unwrap();
        let n = loop {
            match near.try_recv() {
                Err(RecvError::Empty) => std::hint::spin_loop(),
                got => break got,
            }
        };
        assert_eq!(n.unwrap(), i);
    }
    drop(ours);
    peer.join();
}

fn go(_end: Duplex<Bytes, Bytes>) {}

pub(crate) fn sending_to_nobody<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    M::start(go, theirs).join();
    for bytes in [pattern(1), pattern(5 << 20)] {
        assert!(matches!(ours.send(&bytes), Err(SendError::Closed)));
        assert!(matches!(ours.try_send(&bytes), Err(SendError::Closed)));
        assert!(matches!(ours.send_timeout(&bytes, FAR), Err(SendError::Closed)));
    }
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
}

fn answer_without_reading(end: Duplex<Bytes, Bytes>) {
    assert!(end.wait_readable(FAR).unwrap());
    end.send(&pattern(7)).unwrap();
}

pub(crate) fn unread_messages_hide_nothing<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    ours.send(&pattern(3)).unwrap();
    M::start(answer_without_reading, theirs).join();
    assert_eq!(ours.recv().unwrap(), pattern(7));
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    assert!(matches!(ours.send(&pattern(1)), Err(SendError::Closed)));
}

fn read_one_and_go(end: Duplex<Bytes, Bytes>) {
    let _ = end.recv().unwrap();
}

pub(crate) fn the_end_wakes_a_receiver<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let peer = M::start(read_one_and_go, theirs);
    thread::scope(|s| {
        let waiting = [(); 3].map(|()| s.spawn(|| ours.recv()));
        let with_limit = s.spawn(|| ours.recv_timeout(FAR));
        ours.send(&pattern(1)).unwrap();
        for thread in waiting.into_iter().chain([with_limit]) {
            assert!(matches!(thread.join().unwrap(), Err(RecvError::Closed)));
        }
    });
    peer.join();
}

/// Goes away with a message half read: one that is refused is refused at its first packet.
fn look_and_go(end: Duplex<Bytes, Bytes>) {
    assert!(matches!(end.with_limit(1000).recv(), Err(RecvError::TooLarge { .. })));
}

pub(crate) fn the_end_wakes_a_sender<M: Method>() {
    for timeout in [None, Some(FAR)] {
        let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
        let peer = M::start(look_and_go, theirs);
        let bytes = Bytes::from(vec![7; 50 << 20]);
        let sent = match timeout {
            None => ours.send(&bytes),
            Some(timeout) => ours.send_timeout(&bytes, timeout),
        };
        assert!(matches!(sent, Err(SendError::Closed)));
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        peer.join();
    }
}

pub(crate) fn leaving_both_ends_unused<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let peer = M::start(go, theirs);
    drop(ours);
    peer.join();
    drop(M::pipe::<u8, u8>().unwrap());
}
