//! Many threads on one end: whole messages, each thread's in its order, and nobody waits beyond his own deadline.

use std::sync::mpsc;
use std::thread;

use procession_codec::Bytes;
use procession_pipe::{Duplex, RecvError, SendError};
use procession_testkit::processes::{self, State};

use super::{Method, SOON, pattern};

const THREADS: usize = 4;
const EACH: usize = 150;

/// Which thread, its how manieth, and bytes that can be checked.
type Letter = (usize, usize, Bytes);

fn length(thread: usize, i: usize) -> usize {
    if i.is_multiple_of(10) { 200_000 + thread } else { thread * 100 + i }
}

fn check_letters(end: Duplex<usize, Letter>) {
    let mut next = [0; THREADS];
    for _ in 0..THREADS * EACH {
        let (thread, i, bytes) = end.recv().unwrap();
        assert_eq!(i, next[thread]);
        assert!(bytes == pattern(length(thread, i)));
        next[thread] += 1;
    }
    end.send(&next.iter().sum()).unwrap();
}

pub(crate) fn many_senders_on_one_end<M: Method>() {
    let (ours, theirs) = M::pipe::<Letter, usize>().unwrap();
    let peer = M::start(check_letters, theirs);
    thread::scope(|s| {
        for thread in 0..THREADS {
            let ours = &ours;
            s.spawn(move || {
                for i in 0..EACH {
                    ours.send(&(thread, i, pattern(length(thread, i)))).unwrap();
                }
            });
        }
    });
    assert_eq!(ours.recv().unwrap(), THREADS * EACH);
    peer.join();
}

fn send_letters(end: Duplex<Letter, ()>) {
    for i in 0..EACH * THREADS {
        end.send(&(0, i, pattern(length(0, i)))).unwrap();
    }
}

pub(crate) fn many_receivers_on_one_end<M: Method>() {
    let (ours, theirs) = M::pipe::<(), Letter>().unwrap();
    let peer = M::start(send_letters, theirs);
    let receive = || {
        let mut got = Vec::new();
        while let Ok((_, i, bytes)) = ours.recv() {
            assert!(bytes == pattern(length(0, i)));
            got.push(i);
        }
        assert!(got.is_sorted());
        got
    };
    let mut all = thread::scope(|s| {
        let threads = [(); THREADS].map(|()| s.spawn(receive));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    all.sort_unstable();
    assert!(all.into_iter().eq(0..EACH * THREADS));
    peer.join();
}

/// Runs `blocks` in a thread of its own, and `meanwhile` once it sleeps; `meanwhile` must wake it.
fn while_asleep(blocks: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
    let (tell, told) = mpsc::channel();
    thread::scope(|s| {
        s.spawn(move || {
            // The name of this link's target ends in the number of the thread.
            tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            blocks();
        });
        let link = told.recv().unwrap();
        let id = link.file_name().and_then(|id| id.to_str()?.parse().ok()).unwrap();
        while processes::state(id) != Some(State::Sleeping) {
            thread::yield_now();
        }
        meanwhile();
    });
}

fn echo_one(end: Duplex<u8, u8>) {
    end.send(&end.recv().unwrap()).unwrap();
}

pub(crate) fn a_blocked_receiver_is_in_nobodys_way<M: Method>() {
    let (ours, theirs) = M::pipe::<u8, u8>().unwrap();
    let peer = M::start(echo_one, theirs);
    while_asleep(
        || assert_eq!(ours.recv().unwrap(), 6),
        || {
            assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
            assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::TimedOut)));
            // Nor in that of a sender.
            ours.try_send(&6).unwrap();
        },
    );
    peer.join();
}

fn read_two_when_told((go, end): (Duplex<(), ()>, Duplex<(), Bytes>)) {
    go.recv().unwrap();
    assert!(end.recv().unwrap() == pattern(5 << 20));
    assert!(end.recv().unwrap() == pattern(1));
}

pub(crate) fn a_blocked_sender_is_in_nobodys_way<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, ()>().unwrap();
    let (go, their_go) = M::pipe::<(), ()>().unwrap();
    let peer = M::start(read_two_when_told, (their_go, theirs));
    while_asleep(
        || ours.send(&pattern(5 << 20)).unwrap(),
        || {
            assert!(matches!(ours.try_send(&pattern(1)), Err(SendError::Full)));
            assert!(matches!(ours.send_timeout(&pattern(1), SOON), Err(SendError::TimedOut)));
            assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
            go.send(&()).unwrap();
        },
    );
    ours.send(&pattern(1)).unwrap();
    peer.join();
}
