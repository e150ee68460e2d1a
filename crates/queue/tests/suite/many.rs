//! For channels whose receivers can be many.

use super::one::{N, produce};
use super::{Ends, Fault, Gauge, Peer, Rx, Tx, World, start_sleeper};

macro_rules! contract {
    ($method:ident, $world:ty) => {
        crate::suite::cases! { many, $method, $world;
            each_message_goes_to_one_of_them
            how_much_is_queued
            a_clone_keeps_the_receivers
            all_sleeping_receivers_hear_that_the_last_sender_is_gone
            all_sleeping_senders_hear_that_the_last_receiver_is_gone
            one_of_the_sleepers_gets_it
        }
    };
}
pub(crate) use contract;

fn consume<W: World>((_, rx, ..): Ends<W>) -> Vec<u64> {
    let rx = rx.unwrap();
    let received = rx.iter().collect();
    assert_eq!(rx.recv(), Err(Fault::Disconnected));
    received
}

/// Each consumer sees each producer's messages in order, and together they see all of them once.
pub(crate) fn each_message_goes_to_one_of_them<W: World>()
where
    W::Rx: Clone,
{
    let (tx, rx) = W::make(10);
    let producers: Vec<_> =
        (0..4).map(|id| W::start(produce::<W>, (Some(tx.clone()), None, id, None))).collect();
    let consumers: Vec<_> =
        (0..4).map(|_| W::start(consume::<W>, (None, Some(rx.clone()), 0, None))).collect();
    drop((tx, rx));
    producers.into_iter().map(Peer::join).for_each(drop);
    let mut all = Vec::new();
    for received in consumers.into_iter().map(Peer::join) {
        for id in 0..4 {
            assert!(received.iter().filter(|n| **n >> 32 == id).is_sorted());
        }
        all.extend(received);
    }
    all.sort_unstable();
    let expected: Vec<_> = (0..4).flat_map(|id| (0..N).map(move |n| id << 32 | n)).collect();
    assert_eq!(all, expected);
}

pub(crate) fn how_much_is_queued<W: World>()
where
    W::Tx: Gauge,
    W::Rx: Gauge,
{
    let (tx, rx) = W::make(3);
    for _ in 0..3 {
        for n in 0..=3 {
            let expected = (n, n == 0, n == 3, 3);
            assert_eq!((tx.gauge(), rx.gauge()), (expected, expected));
            let sent = tx.try_send(0);
            assert_eq!(sent.is_ok(), n < 3);
        }
        assert_eq!(rx.try_iter().count(), 3);
    }
}

pub(crate) fn a_clone_keeps_the_receivers<W: World>()
where
    W::Rx: Clone,
{
    let (tx, rx) = W::make(2);
    let clone = rx.clone();
    drop(rx);
    tx.send(1).unwrap();
    assert_eq!(clone.recv(), Ok(1));
    tx.send(2).unwrap();
    drop(clone);
    assert_eq!(tx.send(3), Err((3, Fault::Disconnected)));
}

fn sleep_to_receive<W: World>((_, rx, _, ready): Ends<W>) -> Option<u64> {
    ready.unwrap().send(1).unwrap();
    rx.unwrap().recv().ok()
}

fn sleep_to_send<W: World>((tx, _, n, ready): Ends<W>) -> bool {
    ready.unwrap().send(1).unwrap();
    let sent = tx.unwrap().send(n);
    assert!(matches!(sent, Ok(()) | Err((_, Fault::Disconnected))));
    sent.is_ok()
}

pub(crate) fn all_sleeping_receivers_hear_that_the_last_sender_is_gone<W: World>()
where
    W::Rx: Clone,
{
    let (tx, rx) = W::make(1);
    let sleeper = |_| start_sleeper::<W, _>(sleep_to_receive::<W>, None, Some(rx.clone()));
    let sleepers: Vec<_> = (0..3).map(sleeper).collect();
    drop(tx);
    assert!(sleepers.into_iter().map(Peer::join).all(|received| received.is_none()));
}

pub(crate) fn all_sleeping_senders_hear_that_the_last_receiver_is_gone<W: World>() {
    let (tx, rx) = W::make(1);
    tx.send(0).unwrap();
    let sleeper = |_| start_sleeper::<W, _>(sleep_to_send::<W>, Some(tx.clone()), None);
    let sleepers: Vec<_> = (0..3).map(sleeper).collect();
    drop(rx);
    assert!(sleepers.into_iter().map(Peer::join).all(|sent| !sent));
}

pub(crate) fn one_of_the_sleepers_gets_it<W: World>()
where
    W::Rx: Clone,
{
    let (tx, rx) = W::make(4);
    let sleeper = |_| start_sleeper::<W, _>(sleep_to_receive::<W>, None, Some(rx.clone()));
    let sleepers: Vec<_> = (0..3).map(sleeper).collect();
    (0..2).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    let mut received: Vec<_> = sleepers.into_iter().map(Peer::join).collect();
    received.sort_unstable();
    assert_eq!(received, [None, Some(0), Some(1)]);
}
