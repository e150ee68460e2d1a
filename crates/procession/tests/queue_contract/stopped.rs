//! Who is stopped in the middle keeps its side waiting, is named, and is never robbed; time limits hold.

use std::thread;
use std::time::Duration;

use procession_codec::Bytes;
use procession_process::{JoinError, spawn};
use procession_queue::{AsBytes, Receiver, RecvError, SendFault, Sender, bounded_as};
use procession_testkit::Identity;
use procession_testkit::processes::{Signal, State};

use crate::suite::SOON;

type Tx = Sender<Bytes, AsBytes>;
type Rx = Receiver<Bytes, AsBytes>;

/// As large as a message that is copied in the middle can be.
const LEN: usize = 16 << 10;

fn send_for_ever(tx: Tx) {
    let value = Bytes::from(vec![1; LEN]);
    while tx.send(value.clone()).is_ok() {}
}

fn receive_for_ever(rx: Rx) {
    while rx.recv().is_ok() {}
}

/// Stops a process again and again, each time somewhere else, until it is where others wait for it.
fn stop_until(pid: u32, mut is_there: impl FnMut() -> bool) -> Identity {
    let process = Identity::of(pid).unwrap();
    loop {
        process.kill(Signal::STOP).unwrap();
        while process.state() != Some(State::Stopped) {
            thread::yield_now();
        }
        if is_there() {
            return process;
        }
        process.kill(Signal::CONT).unwrap();
        thread::yield_now();
    }
}

pub(crate) fn a_sender_in_the_middle() {
    let (tx, rx): (Tx, Rx) = bounded_as(1000, 64 << 20).unwrap();
    let victim = spawn(send_for_ever, tx.clone()).unwrap();
    let drain = || rx.try_iter().count();
    let mut told = None;
    let process = stop_until(victim.pid(), || {
        drain();
        match tx.try_send(Bytes::from(vec![2; 3])).map_err(|e| e.into_parts().1) {
            Err(SendFault::Contended { by }) => told = by,
            other => assert!(matches!(other, Ok(()) | Err(SendFault::Full)), "{other:?}"),
        }
        told.is_some()
    });
    assert_eq!(told.unwrap().pid(), victim.pid());
    let error = tx.send_timeout(Bytes::from(vec![2; 3]), 30 * SOON).unwrap_err();
    assert!(
        matches!(error.fault(), SendFault::Contended { by: Some(by) } if by.pid() == victim.pid()),
        "{error}"
    );
    assert!(error.to_string().contains(&victim.pid().to_string()));
    // The other side goes on.
    drain();
    assert!(matches!(rx.recv_timeout(SOON), Err(RecvError::TimedOut)));
    assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    // A queue that is closed may still get what is on its way.
    rx.close();
    assert!(matches!(rx.try_recv(), Err(RecvError::Contended { by: Some(_) })));
    assert!(matches!(rx.recv_timeout(SOON), Err(RecvError::Contended { by: Some(_) })));
    process.kill(Signal::CONT).unwrap();
    assert!(rx.iter().count() <= 1);
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    victim.join().unwrap();
}

pub(crate) fn a_receiver_in_the_middle() {
    let (tx, rx): (Tx, Rx) = bounded_as(1000, 64 << 20).unwrap();
    let victim = spawn(receive_for_ever, rx.clone()).unwrap();
    let mut told = None;
    let process = stop_until(victim.pid(), || {
        while tx.try_send(Bytes::from(vec![1; LEN])).is_ok() && tx.len() < 100 {}
        match rx.try_recv() {
            Err(RecvError::Contended { by }) => told = by,
            other => assert!(matches!(other, Ok(_) | Err(RecvError::Empty)), "{other:?}"),
        }
        told.is_some()
    });
    assert_eq!(told.unwrap().pid(), victim.pid());
    match rx.recv_timeout(30 * SOON) {
        Err(RecvError::Contended { by: Some(by) }) => assert_eq!(by.pid(), victim.pid()),
        other => panic!("{other:?}"),
    }
    // The other side goes on.
    while tx.try_send(Bytes::from(vec![1; LEN])).is_ok() {}
    let full = tx.send_timeout(Bytes::from(vec![]), Duration::ZERO).unwrap_err();
    assert!(matches!(full.fault(), SendFault::TimedOut), "{full}");
    // Killed while it is stopped, it is followed.
    process.kill(Signal::KILL).unwrap();
    let n = tx.len();
    let received = (0..n).map(|_| rx.recv().unwrap()).inspect(|bytes| assert!(bytes.iter().all(|b| *b == 1)));
    assert_eq!(received.count(), n);
    assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    assert!(matches!(victim.join(), Err(JoinError::Killed { .. })));
}
