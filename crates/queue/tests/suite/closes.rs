//! For channels that anybody can close for all: nobody sends any more, and what was sent is received.

use super::{Closes, Ends, FAR, Fault, Peer, Rx, Tx, World, start_sleeper};

macro_rules! contract {
    ($method:ident, $world:ty) => {
        crate::suite::cases! { closes, $method, $world;
            senders_get_it_back_and_receivers_drain
            either_end_closes
            sleeping_receivers_are_woken
            sleeping_senders_are_woken
            closed_and_disconnected
            while_many_send
        }
    };
}
pub(crate) use contract;

pub(crate) fn senders_get_it_back_and_receivers_drain<W: World>()
where
    W::Tx: Closes,
{
    for queued in 0..=2 {
        let (tx, rx) = W::make(2);
        (0..queued).for_each(|n| tx.send(n).unwrap());
        let other = tx.clone();
        tx.close();
        tx.close();
        assert!(other.is_closed());
        for tx in [&tx, &other] {
            assert_eq!(tx.send(5), Err((5, Fault::Closed)));
            assert_eq!(tx.try_send(6), Err((6, Fault::Closed)));
            assert_eq!(tx.send_timeout(7, FAR), Some(Err((7, Fault::Closed))));
        }
        (0..queued).for_each(|n| assert_eq!(rx.recv(), Ok(n)));
        assert_eq!(rx.recv(), Err(Fault::Closed));
        assert_eq!(rx.try_recv(), Err(Fault::Closed));
        assert_eq!(rx.recv_timeout(FAR), Err(Fault::Closed));
    }
}

pub(crate) fn either_end_closes<W: World>()
where
    W::Rx: Closes,
{
    let (tx, rx) = W::make(2);
    tx.send(1).unwrap();
    rx.close();
    assert!(rx.is_closed());
    assert_eq!(tx.send(2), Err((2, Fault::Closed)));
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Err(Fault::Closed)));
}

fn sleep_to_receive<W: World>((_, rx, _, ready): Ends<W>) -> bool {
    ready.unwrap().send(1).unwrap();
    rx.unwrap().recv() == Err(Fault::Closed)
}

fn sleep_to_send<W: World>((tx, _, n, ready): Ends<W>) -> bool {
    ready.unwrap().send(1).unwrap();
    tx.unwrap().send(n) == Err((n, Fault::Closed))
}

pub(crate) fn sleeping_receivers_are_woken<W: World>()
where
    W::Tx: Closes,
    W::Rx: Clone,
{
    let (tx, rx) = W::make(1);
    let sleeper = |_| start_sleeper::<W, _>(sleep_to_receive::<W>, None, Some(rx.clone()));
    let sleepers: Vec<_> = (0..3).map(sleeper).collect();
    tx.close();
    assert!(sleepers.into_iter().all(Peer::join));
}

pub(crate) fn sleeping_senders_are_woken<W: World>()
where
    W::Rx: Closes,
{
    let (tx, rx) = W::make(1);
    tx.send(0).unwrap();
    let sleeper = |_| start_sleeper::<W, _>(sleep_to_send::<W>, Some(tx.clone()), None);
    let sleepers: Vec<_> = (0..3).map(sleeper).collect();
    rx.close();
    assert!(sleepers.into_iter().all(Peer::join));
    assert_eq!((rx.recv(), rx.recv()), (Ok(0), Err(Fault::Closed)));
}

/// Whichever came first is told, and the message is not lost.
pub(crate) fn closed_and_disconnected<W: World>()
where
    W::Tx: Closes,
{
    let (tx, rx) = W::make(1);
    tx.send(0).unwrap();
    tx.close();
    drop(tx);
    assert_eq!((rx.recv(), rx.recv()), (Ok(0), Err(Fault::Closed)));
    let (tx, rx) = W::make(1);
    drop(rx);
    tx.close();
    assert_eq!(tx.send(1), Err((1, Fault::Closed)));
}

fn send_until_closed<W: World>((tx, ..): Ends<W>) -> u64 {
    let tx = tx.unwrap();
    let (n, fault) = (0..).find_map(|n| tx.send(n).err()).unwrap();
    assert_eq!(fault, Fault::Closed);
    n
}

/// What was sent with success is received, all of it, and nothing after "closed".
pub(crate) fn while_many_send<W: World>()
where
    W::Rx: Closes,
{
    let (tx, rx) = W::make(4);
    let sender = |id| W::start(send_until_closed::<W>, (Some(tx.clone()), None, id, None));
    let senders: Vec<_> = (0..3).map(sender).collect();
    let before = 500;
    (0..before).for_each(|_| assert!(rx.recv().is_ok()));
    rx.close();
    let after = rx.iter().count() as u64;
    assert_eq!(rx.try_recv(), Err(Fault::Closed));
    let sent: u64 = senders.into_iter().map(Peer::join).sum();
    assert_eq!(before + after, sent);
}
