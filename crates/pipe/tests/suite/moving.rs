//! Handles in messages: descriptors are duplicated, ends of pipes move, and a move that fails did not happen.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use procession_codec::{Bytes, Codec as _, Descriptor, EncodeError, HandleError, Postcard};
use procession_pipe::{Duplex, RecvError, SendError, pipe};
use serde::{Deserialize, Serialize};

use super::{FAR, Method, SOON, pattern};

type End = Duplex<u8, u8>;

fn write_there(end: Duplex<(), Descriptor>) {
    let given = end.recv().unwrap();
    File::from(given.into_owned().unwrap()).write_all(b"from there").unwrap();
}

pub(crate) fn a_descriptor_travels<M: Method>() {
    let (ours, theirs) = M::pipe::<Descriptor, ()>().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let peer = M::start(write_there, theirs);
    ours.send(&OwnedFd::from(writer).into()).unwrap();
    // Its last duplicate is gone with the other end.
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "from there");
    peer.join();
}

fn sum_of_all(end: Duplex<(u64, u64), Vec<Descriptor>>) {
    while let Ok(all) = end.recv() {
        let mut sum = (0, 0);
        for (i, descriptor) in (1..).zip(all) {
            let mut text = String::new();
            let mut file = File::from(descriptor.into_owned().unwrap());
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            sum = (sum.0 + 1, sum.1 + i * text.parse::<u64>().unwrap());
        }
        end.send(&sum).unwrap();
    }
}

/// A file that holds a number.
fn numbered(n: u64) -> Descriptor {
    let (mut file, path) = {
        let path = std::env::temp_dir().join(format!("procession-pipe-{}-{n}", std::process::id()));
        (File::options().read(true).write(true).create_new(true).open(&path).unwrap(), path)
    };
    std::fs::remove_file(path).unwrap();
    write!(file, "{n}").unwrap();
    OwnedFd::from(file).into()
}

pub(crate) fn six_hundred_descriptors_travel<M: Method>() {
    let (ours, theirs) = M::pipe::<Vec<Descriptor>, (u64, u64)>().unwrap();
    let peer = M::start(sum_of_all, theirs);
    for n in [600, 1, 0, 253, 254] {
        ours.send(&(1..=n).map(numbered).collect()).unwrap();
        assert_eq!(ours.recv().unwrap(), (n, (1..=n).map(|i| i * i).sum()));
    }
    drop(ours);
    peer.join();
}

/// Owns what it is sent until it is told to part with it.
fn keep(end: Duplex<u8, Option<End>>) {
    while let Ok(Some(given)) = end.recv() {
        given.send(&(given.recv().unwrap() + 1)).unwrap();
        end.send(&0).unwrap();
        assert!(end.recv().unwrap().is_none());
        drop(given);
        end.send(&1).unwrap();
    }
}

fn assert_moved(end: &End) {
    assert!(matches!(end.send(&1), Err(SendError::Moved)));
    assert!(matches!(end.try_send(&1), Err(SendError::Moved)));
    assert!(matches!(end.recv(), Err(RecvError::Moved)));
    assert!(matches!(end.try_recv(), Err(RecvError::Moved)));
    assert!(matches!(end.wait_readable(Duration::ZERO), Err(RecvError::Moved)));
    assert!(matches!(why_not(end), HandleError::Moved));
}

/// Why an end cannot be sent: `NotCarried` where nothing stands in the way but that this is no message.
fn why_not<S, R>(end: &Duplex<S, R>) -> HandleError {
    match Postcard::encode_into(end, &mut Vec::new()) {
        Err(EncodeError::Handle(e)) => e,
        other => panic!("{other:?}"),
    }
}

/// Waits until a call on this end is under way.
fn wait_until_used<S, R>(end: &Duplex<S, R>) {
    while why_not(end) == HandleError::NotCarried {
        thread::yield_now();
    }
    assert_eq!(why_not(end), HandleError::Busy);
}

fn assert_busy(sent: Result<(), SendError>) {
    assert!(matches!(sent, Err(SendError::Encode(EncodeError::Handle(HandleError::Busy)))), "{sent:?}");
}

pub(crate) fn moving_in_a_message<M: Method>() {
    let (ours, theirs) = M::pipe::<Option<End>, u8>().unwrap();
    let peer = M::start(keep, theirs);
    let (far, near) = M::pipe::<u8, u8>().unwrap();
    let far = Some(far);
    ours.send(&far).unwrap();
    assert_moved(far.as_ref().unwrap());
    let twice = ours.send(&far);
    assert!(matches!(twice, Err(SendError::Encode(EncodeError::Handle(HandleError::Moved)))));
    near.send(&7).unwrap();
    assert_eq!(near.recv().unwrap(), 8);
    assert_eq!(ours.recv().unwrap(), 0);
    // We have parted with it, its new owner has not.
    assert!(matches!(near.try_recv(), Err(RecvError::Empty)));
    ours.send(&None).unwrap();
    assert!(matches!(near.recv(), Err(RecvError::Closed)));
    assert_eq!(ours.recv().unwrap(), 1);
    drop(ours);
    peer.join();
    assert_moved(far.as_ref().unwrap());
}

fn send_back(end: Duplex<End, End>) {
    for i in 100..105 {
        let given = end.recv().unwrap();
        assert_eq!(given.recv().unwrap(), i);
        given.send(&i).unwrap();
        end.send(&given).unwrap();
        assert_moved(&given);
    }
}

pub(crate) fn moving_back_and_forth<M: Method>() {
    let (ours, theirs) = M::pipe::<End, End>().unwrap();
    let peer = M::start(send_back, theirs);
    let (mut far, near) = M::pipe::<u8, u8>().unwrap();
    for i in 100..105 {
        near.send(&i).unwrap();
        ours.send(&far).unwrap();
        far = ours.recv().unwrap();
        assert_eq!(near.recv().unwrap(), i);
        far.send(&1).unwrap();
        assert_eq!(near.recv().unwrap(), 1);
    }
    drop(far);
    assert!(matches!(near.recv(), Err(RecvError::Closed)));
    peer.join();
}

fn make_two(n: u8) -> (End, End) {
    let (far, near) = pipe::<u8, u8>().unwrap();
    far.send(&n).unwrap();
    (far, near)
}

pub(crate) fn moving_as_a_result<M: Method>() {
    let (far, near) = M::start(make_two, 9).join();
    assert_eq!(near.recv().unwrap(), 9);
    near.send(&10).unwrap();
    assert_eq!(far.recv().unwrap(), 10);
    drop(far);
    assert!(matches!(near.recv(), Err(RecvError::Closed)));
}

fn collect((end, far): (Duplex<u32, Duplex<(), Bytes>>, Duplex<Bytes, ()>)) {
    drop(far);
    let given = end.recv().unwrap();
    let mut n = 0;
    while let Ok(bytes) = given.recv() {
        assert!(bytes == pattern(n as usize * 30_000));
        n += 1;
    }
    end.send(&n).unwrap();
}

pub(crate) fn moving_takes_waiting_messages_along<M: Method>() {
    let (ours, theirs) = M::pipe::<Duplex<(), Bytes>, u32>().unwrap();
    let (far, near) = M::pipe::<Bytes, ()>().unwrap();
    for n in 0..3 {
        far.send(&pattern(n * 30_000)).unwrap();
    }
    ours.send(&near).unwrap();
    let peer = M::start(collect, (theirs, far));
    assert_eq!(ours.recv().unwrap(), 3);
    peer.join();
}

fn ignore(_end: Duplex<(), (End, Bytes)>) {}

pub(crate) fn moving_is_rolled_back<M: Method>() {
    let (near, far) = M::pipe::<u8, u8>().unwrap();
    let mut value = (far, pattern(1000));
    let works = |far: &End| {
        far.send(&1).unwrap();
        near.send(&2).unwrap();
        assert_eq!((near.recv().unwrap(), far.recv().unwrap()), (1, 2));
        assert_eq!(why_not(far), HandleError::NotCarried);
    };
    let (ours, theirs) = M::pipe::<(End, Bytes), ()>().unwrap();
    let ours = ours.with_limit(100);
    assert!(matches!(ours.send(&value), Err(SendError::TooLarge { .. })));
    works(&value.0);
    let ours = ours.with_limit(100 << 20);
    value.1 = pattern(5 << 20);
    assert!(matches!(ours.try_send(&value), Err(SendError::Full)));
    works(&value.0);
    assert!(matches!(ours.send_timeout(&value, SOON), Err(SendError::TimedOut)));
    works(&value.0);
    M::start(ignore, theirs).join();
    assert!(matches!(ours.send(&value), Err(SendError::Closed)));
    works(&value.0);
    drop(value);
    assert!(matches!(near.recv(), Err(RecvError::Closed)));
}

/// A message that may hold an end of its own pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Node(Option<Duplex<Node, Node>>);

fn send_oneself(end: Duplex<Node, Node>) {
    let node = Node(Some(end));
    let end = node.0.as_ref().unwrap();
    assert!(matches!(end.send(&node), Err(SendError::Moved)));
    end.send(&Node(None)).unwrap();
    assert!(end.recv().unwrap().0.is_none());
}

/// Refused: it would be gone from here and reach nobody.
pub(crate) fn moving_through_itself<M: Method>() {
    let (ours, theirs) = M::pipe::<Node, Node>().unwrap();
    let peer = M::start(send_oneself, theirs);
    assert!(ours.recv().unwrap().0.is_none());
    ours.send(&Node(None)).unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    peer.join();
}

fn send_the_twin((a, b): (Duplex<Node, Node>, Duplex<Node, Node>)) {
    a.send(&Node(Some(b))).unwrap();
    loop {
        match a.recv_timeout(Duration::from_millis(1)) {
            // The kernel looks for lost ends whenever a socket is closed.
            Err(RecvError::TimedOut) => drop(pipe::<u8, u8>().unwrap()),
            other => break assert!(matches!(other, Err(RecvError::Closed)), "{other:?}"),
        }
    }
    assert!(matches!(a.send(&Node(None)), Err(SendError::Closed)));
}

/// An end that waits in its own buffer can be received by nobody. The kernel finds that out, in time, and closes it.
pub(crate) fn moving_through_its_twin<M: Method>() {
    M::start(send_the_twin, M::pipe::<Node, Node>().unwrap()).join();
}

/// Reads when told to.
fn read_when_told((go, end): (End, Duplex<u8, (Option<End>, Bytes)>)) {
    go.recv().unwrap();
    let (given, bytes) = end.recv().unwrap();
    assert!(given.is_none() && bytes == pattern(3));
    go.send(&0).unwrap();
    go.recv().unwrap();
}

pub(crate) fn moving_with_a_value_that_is_given_up<M: Method>() {
    let (ours, theirs) = M::pipe::<(Option<End>, Bytes), u8>().unwrap();
    let (go, their_go) = M::pipe::<u8, u8>().unwrap();
    let peer = M::start(read_when_told, (their_go, theirs));
    let (near, far) = M::pipe::<u8, u8>().unwrap();
    let value = (Some(far), pattern(5 << 20));
    assert!(matches!(ours.send_timeout(&value, SOON), Err(SendError::TimedOut)));
    value.0.as_ref().unwrap().send(&5).unwrap();
    assert_eq!(near.recv().unwrap(), 5);
    go.send(&0).unwrap();
    ours.send(&(None, pattern(3))).unwrap();
    go.recv().unwrap();
    // The other process has nothing left of the end that it saw on its way.
    drop(value);
    assert!(matches!(near.recv(), Err(RecvError::Closed)));
    go.send(&0).unwrap();
    peer.join();
}

fn answer_with_sum(end: Duplex<u8, End>) {
    let given = end.recv().unwrap();
    end.send(&(given.recv().unwrap() + given.recv().unwrap())).unwrap();
}

/// Sends an end while `busy` uses it, which is refused; then what it waits for, then the end with two more numbers.
fn moving_while<M: Method>(busy: fn(&End)) {
    let (ours, theirs) = M::pipe::<End, u8>().unwrap();
    let peer = M::start(answer_with_sum, theirs);
    let (near, far) = M::pipe::<u8, u8>().unwrap();
    thread::scope(|s| {
        let thread = s.spawn(|| busy(&far));
        wait_until_used(&far);
        assert_busy(ours.send(&far));
        near.send(&3).unwrap();
        thread.join().unwrap();
    });
    near.send(&4).unwrap();
    near.send(&5).unwrap();
    ours.send(&far).unwrap();
    assert!(ours.recv().unwrap() >= 7);
    peer.join();
}

pub(crate) fn moving_while_a_thread_receives<M: Method>() {
    moving_while::<M>(|end| assert_eq!(end.recv().unwrap(), 3));
    moving_while::<M>(|end| assert_eq!(end.recv_timeout(FAR).unwrap(), 3));
}

pub(crate) fn moving_while_a_thread_waits<M: Method>() {
    moving_while::<M>(|end| assert!(end.wait_readable(FAR).unwrap()));
}

fn send_large(end: Duplex<Bytes, Bytes>) {
    end.send(&pattern(5 << 20)).unwrap();
    end.send(&pattern(1)).unwrap();
}

pub(crate) fn moving_while_a_message_is_half_received<M: Method>() {
    let (far, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let (carrier, carried) = M::pipe::<Duplex<Bytes, Bytes>, ()>().unwrap();
    let (far, peer) = (far.with_limit(1000), M::start(send_large, theirs));
    // Said when the first packet is there, and before the rest was skipped.
    assert!(matches!(far.recv(), Err(RecvError::TooLarge { .. })));
    assert_eq!(why_not(&far), HandleError::Busy);
    let sent = carrier.send(&far);
    assert!(matches!(sent, Err(SendError::Encode(EncodeError::Handle(HandleError::Busy)))));
    assert_eq!(far.recv().unwrap(), pattern(1));
    carrier.send(&far).unwrap();
    assert!(matches!(carried.recv().unwrap().recv(), Err(RecvError::Closed)));
    peer.join();
}
