//! One way only: channels, and ends in two halves; and handles of every kind in one message.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use procession_codec::{Bytes, Descriptor, Json};
use procession_pipe::{
    Connection, Duplex, Receiver, RecvError, SendError, Sender, UnsplitError, channel, pipe,
};
use serde::{Deserialize, Serialize};

use super::{FAR, Method, SOON, pattern};

fn sum_up((from, to): (Receiver<u32>, Sender<u64>)) {
    to.send(&from.iter().map(u64::from).sum()).unwrap();
}

pub(crate) fn channel_one_way<M: Method>() {
    let (to, their_from) = channel().unwrap();
    let (their_to, from) = channel().unwrap();
    let peer = M::start(sum_up, (their_from, their_to));
    assert!(matches!(from.try_recv(), Err(RecvError::Empty)));
    assert!(matches!(from.recv_timeout(SOON), Err(RecvError::TimedOut)));
    assert!(matches!(from.recv_until(Instant::now()), Err(RecvError::TimedOut)));
    for n in 0..2000 {
        to.send(&n).unwrap();
    }
    to.send_timeout(&1, FAR).unwrap();
    to.send_until(&1, Instant::now() + FAR).unwrap();
    drop(to);
    assert!(from.wait_readable(FAR).unwrap());
    assert_eq!(from.recv().unwrap(), 1_999_002);
    assert!(matches!(from.recv(), Err(RecvError::Closed)));
    peer.join();
}

fn drop_both(_ends: (Receiver<Bytes>, Sender<Bytes>)) {}

pub(crate) fn channel_hears_of_the_end<M: Method>() {
    let (to, their_from) = channel::<Bytes>().unwrap();
    let (their_to, from) = channel::<Bytes>().unwrap();
    let to = to.with_limit(10 << 20);
    assert!(matches!(to.try_send(&pattern(5 << 20)), Err(SendError::Full)));
    assert!(matches!(to.with_limit(9).send(&pattern(10)), Err(SendError::TooLarge { len: 11, limit: 9 })));
    let (to, their_from_2) = channel::<Bytes>().unwrap();
    drop(their_from);
    M::start(drop_both, (their_from_2, their_to)).join();
    assert!(matches!(to.send(&pattern(1)), Err(SendError::Closed)));
    assert!(matches!(to.try_send(&pattern(1)), Err(SendError::Closed)));
    assert!(matches!(from.recv(), Err(RecvError::Closed)));
    assert!(matches!(from.try_recv(), Err(RecvError::Closed)));
}

type Both = (Sender<String, Json>, Receiver<String, Json>);

fn pass_on(ends: Duplex<(), Both>) {
    let (to, from) = ends.recv().unwrap();
    let (to, from): Both = (to.with_codec(), from.with_codec());
    for text in from.iter() {
        to.send(&text).unwrap();
    }
}

pub(crate) fn channel_ends_move<M: Method>() {
    let (ours, theirs) = M::pipe::<Both, ()>().unwrap();
    let peer = M::start(pass_on, theirs);
    let (to, their_from) = channel::<String>().unwrap();
    let (their_to, from) = channel::<String>().unwrap();
    let (to, from) = (to.with_codec::<Json>(), from.with_codec::<Json>());
    let both = (their_to.with_codec(), their_from.with_codec());
    ours.send(&both).unwrap();
    assert!(matches!(both.0.send(&String::new()), Err(SendError::Moved)));
    assert!(matches!(both.1.recv(), Err(RecvError::Moved)));
    assert!(matches!(ours.send(&both), Err(SendError::Encode(_))));
    for text in ["one", ""] {
        to.send(&text.into()).unwrap();
        assert_eq!(from.recv().unwrap(), text);
    }
    drop(to);
    assert!(matches!(from.recv(), Err(RecvError::Closed)));
    peer.join();
}

fn double(end: Duplex<u32, u32>) -> u32 {
    let mut n = 0;
    while let Ok(i) = end.recv() {
        end.send(&(2 * i)).unwrap();
        n += 1;
    }
    n
}

pub(crate) fn halves_in_two_threads<M: Method>() {
    let (ours, theirs) = M::pipe::<u32, u32>().unwrap();
    let peer = M::start(double, theirs);
    let (to, from) = ours.split();
    thread::scope(|s| {
        // More than both directions hold.
        s.spawn(move || (0..5000).for_each(|i| to.send(&i).unwrap()));
        assert!((0..5000).all(|i| from.recv().unwrap() == 2 * i));
    });
    // The sending half is gone: the other end has heard of it, and has ended.
    assert!(matches!(from.recv(), Err(RecvError::Closed)));
    assert_eq!(peer.join(), 5000);
}

fn send_until_refused(end: Duplex<u32, String>) -> (u32, String) {
    let mut n = 0;
    while end.send(&n).is_ok() {
        n += 1;
    }
    (n, end.recv().unwrap())
}

pub(crate) fn halves_end_one_direction<M: Method>() {
    let (ours, theirs) = M::pipe::<String, u32>().unwrap();
    let peer = M::start(send_until_refused, theirs);
    let (to, from) = ours.split();
    assert_eq!(from.recv().unwrap(), 0);
    drop(from);
    to.send(&"still open".into()).unwrap();
    let (n, text) = peer.join();
    assert!(n >= 1);
    assert_eq!(text, "still open");
}

pub(crate) fn halves_are_put_together<M: Method>() {
    let (ours, theirs) = M::pipe::<u32, u32>().unwrap();
    let (_other, stranger) = M::pipe::<u32, u32>().unwrap();
    let peer = M::start(double, theirs);
    let ((to, from), (stranger, _far)) = (ours.split(), stranger.split());
    let UnsplitError(stranger, from) = stranger.unsplit(from).unwrap_err();
    drop(stranger);
    let ours = to.unsplit(from).unwrap();
    ours.send(&4).unwrap();
    assert_eq!(ours.recv().unwrap(), 8);
    // It is whole again, and can move.
    let (carrier, carried) = M::pipe::<Duplex<u32, u32>, ()>().unwrap();
    carrier.send(&ours).unwrap();
    let ours = carried.recv().unwrap();
    ours.send(&5).unwrap();
    assert_eq!(ours.recv().unwrap(), 10);
    drop(ours);
    assert_eq!(peer.join(), 2);
}

/// Handles of every kind that this crate and the codec have, each with its number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Bundle {
    files: Vec<Descriptor>,
    both_ways: Vec<Duplex<u32, u32>>,
    senders: Vec<Sender<u32>>,
    receivers: Vec<Receiver<u32>>,
    bytes: Vec<Connection>,
    bundle: Option<Box<Bundle>>,
}

fn answer_on_all(end: Duplex<(), Bundle>) {
    let mut bundle = Some(Box::new(end.recv().unwrap()));
    while let Some(mut now) = bundle {
        for (i, file) in now.files.drain(..).enumerate() {
            std::fs::File::from(file.into_owned().unwrap()).write_all(i.to_string().as_bytes()).unwrap();
        }
        for (((both, to), from), bytes) in
            now.both_ways.iter().zip(&now.senders).zip(&now.receivers).zip(&now.bytes)
        {
            let n = both.recv().unwrap();
            both.send(&(n + 1)).unwrap();
            to.send(&(from.recv().unwrap() + 2)).unwrap();
            bytes.send_bytes(&n.to_le_bytes()).unwrap();
        }
        bundle = now.bundle.take();
    }
    end.send(&()).unwrap();
}

/// What is left here of a bundle.
#[derive(Default)]
struct Near {
    files: Vec<std::io::PipeReader>,
    both_ways: Vec<Duplex<u32, u32>>,
    from: Vec<Receiver<u32>>,
    bytes: Vec<Connection>,
}

fn bundle(n: u32, inner: Option<Box<Bundle>>, near: &mut Near) -> Bundle {
    let (mut files, mut both_ways, mut senders) = (Vec::new(), Vec::new(), Vec::new());
    let (mut receivers, mut bytes) = (Vec::new(), Vec::new());
    for i in 0..n {
        let (reader, writer) = std::io::pipe().unwrap();
        near.files.push(reader);
        files.push(OwnedFd::from(writer).into());
        let (ours, theirs) = pipe::<u32, u32>().unwrap();
        ours.send(&i).unwrap();
        near.both_ways.push(ours);
        both_ways.push(theirs);
        let (to, from) = channel().unwrap();
        senders.push(to);
        near.from.push(from);
        let (to, from) = channel().unwrap();
        to.send(&i).unwrap();
        receivers.push(from);
        let (ours, theirs) = Connection::pair().unwrap();
        near.bytes.push(ours);
        bytes.push(theirs);
    }
    Bundle { files, both_ways, senders, receivers, bytes, bundle: inner }
}

/// In all 400: more than the kernel carries in one message of its own.
pub(crate) fn handles_of_every_kind_in_one_message<M: Method>() {
    let (ours, theirs) = M::pipe::<Bundle, ()>().unwrap();
    let peer = M::start(answer_on_all, theirs);
    let mut near = Near::default();
    let inner = bundle(20, None, &mut near);
    let all = bundle(60, Some(Box::new(inner)), &mut near);
    ours.send(&all).unwrap();
    drop(all);
    ours.recv().unwrap();
    for (i, number) in (0..20).chain(0..60).enumerate() {
        let file = std::mem::replace(&mut near.files[i], std::io::pipe().unwrap().0);
        assert_eq!(std::io::read_to_string(file).unwrap(), number.to_string());
        assert_eq!(near.both_ways[i].recv().unwrap(), number + 1);
        assert_eq!(near.from[i].recv().unwrap(), number + 2);
        assert_eq!(near.bytes[i].recv_bytes().unwrap(), number.to_le_bytes());
    }
    peer.join();
}
