//! For every channel: order, capacity, the forms of both ends, and what it means that an end is gone.

use std::time::Duration;

use super::{Ends, FAR, Fault, Peer, Rx, SOON, Tx, World, start_sleeper};

macro_rules! contract {
    ($method:ident, $world:ty) => {
        crate::suite::cases! { one, $method, $world;
            one_producer_is_received_in_order
            each_producer_is_received_in_order
            as_many_fit_as_were_asked_for
            nothing_to_receive
            no_room
            what_was_sent_outlives_its_senders
            nobody_receives
            a_clone_keeps_the_senders
            a_sleeping_receiver_is_woken_by_a_message
            a_sleeping_receiver_is_woken_by_the_last_sender
            a_sleeping_sender_is_woken_by_room
            a_sleeping_sender_is_woken_by_the_last_receiver
            iterators
        }
    };
}
pub(crate) use contract;

/// Numbers with the producer's in the upper half.
pub(crate) fn produce<W: World>((tx, _, id, _): Ends<W>) -> u64 {
    let tx = tx.unwrap();
    (0..N).for_each(|n| tx.send(id << 32 | n).unwrap());
    N
}

pub(crate) const N: u64 = 3000;

pub(crate) fn one_producer_is_received_in_order<W: World>() {
    for capacity in [1, 7] {
        let (tx, rx) = W::make(capacity);
        let producer = W::start(produce::<W>, (Some(tx), None, 0, None));
        (0..N).for_each(|n| assert_eq!(rx.recv(), Ok(n)));
        assert_eq!((producer.join(), rx.recv()), (N, Err(Fault::Disconnected)));
    }
}

pub(crate) fn each_producer_is_received_in_order<W: World>() {
    let (tx, rx) = W::make(16);
    let producers: Vec<_> =
        (0..3).map(|id| W::start(produce::<W>, (Some(tx.clone()), None, id, None))).collect();
    drop(tx);
    let mut next = [0; 3];
    while let Ok(n) = rx.recv() {
        let of = &mut next[(n >> 32) as usize];
        assert_eq!(n & 0xffff_ffff, *of);
        *of += 1;
    }
    assert_eq!(next, [N; 3]);
    producers.into_iter().map(Peer::join).for_each(drop);
}

pub(crate) fn as_many_fit_as_were_asked_for<W: World>() {
    for n in [1, 2, 3, 5, 8, 100] {
        let (tx, rx) = W::make(n as usize);
        for _ in 0..3 {
            (0..n).for_each(|i| tx.try_send(i).unwrap());
            assert_eq!(tx.try_send(n), Err((n, Fault::Full)));
            assert_eq!(rx.recv(), Ok(0));
            tx.send(n).unwrap();
            assert_eq!(tx.try_send(9), Err((9, Fault::Full)));
            (1..=n).for_each(|i| assert_eq!(rx.try_recv(), Ok(i)));
            assert_eq!(rx.try_recv(), Err(Fault::Empty));
        }
    }
}

pub(crate) fn nothing_to_receive<W: World>() {
    let (tx, rx) = W::make(1);
    assert_eq!(rx.try_recv(), Err(Fault::Empty));
    for time in [Duration::ZERO, SOON] {
        assert_eq!(rx.recv_timeout(time), Err(Fault::TimedOut));
    }
    tx.send(1).unwrap();
    assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
    tx.send(2).unwrap();
    assert_eq!(rx.recv_timeout(FAR), Ok(2));
    assert_eq!(rx.recv_timeout(SOON), Err(Fault::TimedOut));
}

pub(crate) fn no_room<W: World>() {
    let (tx, rx) = W::make(1);
    tx.send(1).unwrap();
    assert_eq!(tx.try_send(2), Err((2, Fault::Full)));
    for time in [Duration::ZERO, SOON] {
        assert!(tx.send_timeout(3, time).is_none_or(|sent| sent == Err((3, Fault::TimedOut))));
    }
    assert_eq!(rx.recv(), Ok(1));
    if let Some(sent) = tx.send_timeout(4, FAR) {
        assert_eq!((sent, rx.recv()), (Ok(()), Ok(4)));
    }
}

pub(crate) fn what_was_sent_outlives_its_senders<W: World>() {
    let (tx, rx) = W::make(3);
    (0..3).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    assert_eq!((rx.recv(), rx.try_recv(), rx.recv_timeout(FAR)), (Ok(0), Ok(1), Ok(2)));
    for _ in 0..2 {
        assert_eq!(rx.recv(), Err(Fault::Disconnected));
        assert_eq!(rx.try_recv(), Err(Fault::Disconnected));
        assert_eq!(rx.recv_timeout(FAR), Err(Fault::Disconnected));
    }
}

pub(crate) fn nobody_receives<W: World>() {
    for queued in 0..=2 {
        let (tx, rx) = W::make(2);
        (0..queued).for_each(|n| tx.send(n).unwrap());
        drop(rx);
        for tx in [&tx.clone(), &tx] {
            assert_eq!(tx.send(5), Err((5, Fault::Disconnected)), "{queued} queued");
            assert_eq!(tx.try_send(6), Err((6, Fault::Disconnected)), "{queued} queued");
            assert!(tx.send_timeout(7, FAR).is_none_or(|sent| sent == Err((7, Fault::Disconnected))));
        }
    }
}

pub(crate) fn a_clone_keeps_the_senders<W: World>() {
    let (tx, rx) = W::make(2);
    let clone = tx.clone();
    drop(tx);
    assert_eq!(rx.try_recv(), Err(Fault::Empty));
    clone.send(1).unwrap();
    drop(clone);
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Err(Fault::Disconnected)));
}

fn receive_one<W: World>((_, rx, _, ready): Ends<W>) -> Option<u64> {
    ready.unwrap().send(1).unwrap();
    match rx.unwrap().recv() {
        Err(Fault::Disconnected) => None,
        received => Some(received.unwrap()),
    }
}

pub(crate) fn a_sleeping_receiver_is_woken_by_a_message<W: World>() {
    for _ in 0..3 {
        let (tx, rx) = W::make(1);
        let sleeper = start_sleeper::<W, _>(receive_one::<W>, None, Some(rx));
        tx.send(5).unwrap();
        assert_eq!(sleeper.join(), Some(5));
    }
}

pub(crate) fn a_sleeping_receiver_is_woken_by_the_last_sender<W: World>() {
    for _ in 0..3 {
        let (tx, rx) = W::make(1);
        let sleeper = start_sleeper::<W, _>(receive_one::<W>, None, Some(rx));
        drop(tx.clone());
        drop(tx);
        assert_eq!(sleeper.join(), None);
    }
}

fn send_one<W: World>((tx, _, n, ready): Ends<W>) -> bool {
    ready.unwrap().send(1).unwrap();
    match tx.unwrap().send(n) {
        Err(error) => {
            assert_eq!(error, (n, Fault::Disconnected));
            false
        }
        Ok(()) => true,
    }
}

pub(crate) fn a_sleeping_sender_is_woken_by_room<W: World>() {
    for _ in 0..3 {
        let (tx, rx) = W::make(1);
        tx.send(1).unwrap();
        let sleeper = start_sleeper::<W, _>(send_one::<W>, Some(tx), None);
        assert_eq!(rx.recv(), Ok(1));
        assert!(sleeper.join());
        assert_eq!((rx.recv(), rx.recv()), (Ok(7), Err(Fault::Disconnected)));
    }
}

pub(crate) fn a_sleeping_sender_is_woken_by_the_last_receiver<W: World>() {
    for _ in 0..3 {
        let (tx, rx) = W::make(1);
        tx.send(1).unwrap();
        let sleeper = start_sleeper::<W, _>(send_one::<W>, Some(tx), None);
        drop(rx);
        assert!(!sleeper.join());
    }
}

pub(crate) fn iterators<W: World>() {
    let (tx, rx) = W::make(5);
    let fill = |tx: &W::Tx| (0..5).for_each(|n| tx.send(n).unwrap());
    assert_eq!(rx.try_iter().count(), 0);
    fill(&tx);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    fill(&tx);
    assert_eq!(rx.iter().take(2).collect::<Vec<_>>(), [0, 1]);
    drop(tx);
    assert_eq!(rx.iter().collect::<Vec<_>>(), [2, 3, 4]);
    let (tx, rx) = W::make(5);
    fill(&tx);
    drop(tx);
    let mut rest = rx.into_iter();
    assert_eq!(rest.by_ref().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(rest.next(), None);
}
