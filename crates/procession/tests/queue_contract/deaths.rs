//! Users of a queue are killed: the other side hears of it if they were the last, and what was sent is whole.

use std::thread;

use procession_codec::Bytes;
use procession_process::{JoinError, Process, spawn};
use procession_queue::{AsBytes, Receiver, RecvError, SendFault, Sender, bounded, bounded_as};
use procession_shm::Atomic;

use crate::travel::workers;

fn kill<R: procession_codec::Message>(process: Process<R>) {
    process.kill().unwrap();
    // One of several may not have come to its task before the others did all there was to do.
    let error = process.join().err().unwrap();
    assert!(matches!(error, JoinError::Killed { .. } | JoinError::NeverStarted { .. }), "{error:?}");
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

pub(crate) fn all_workers_are_killed() {
    let (tx, rx) = bounded::<String>(16).unwrap();
    let workers = workers(&rx);
    drop(rx);
    // They are there.
    (0..100).for_each(|_| tx.send("a line".into()).unwrap());
    let killer = thread::spawn(|| workers.into_iter().for_each(kill));
    let error = std::iter::repeat_with(|| tx.send("a line".into())).find_map(Result::err).unwrap();
    assert!(matches!(error.fault(), SendFault::Disconnected), "{error}");
    assert_eq!(error.into_value(), "a line");
    killer.join().unwrap();
}

/// Has the end and does nothing with it.
fn hold<T>((_end, stage): (T, Atomic<u32>)) {
    stage.store(1);
    loop {
        thread::park();
    }
}

pub(crate) fn all_workers_are_killed_and_the_queue_is_full() {
    let (tx, rx) = bounded::<String>(3).unwrap();
    let stage = Atomic::new(0).unwrap();
    let worker = spawn(hold::<Receiver<String>>, (rx, stage.clone())).unwrap();
    until(|| stage.load() == 1);
    (0..3).for_each(|_| tx.send("a line".into()).unwrap());
    let killer = thread::spawn(|| kill(worker));
    let error = tx.send("one more".into()).unwrap_err();
    assert!(matches!(error.fault(), SendFault::Disconnected), "{error}");
    killer.join().unwrap();
}

fn send_for_ever((tx, stage): (Sender<(u64, Vec<u64>)>, Atomic<u32>)) {
    for n in 0.. {
        tx.send((n, vec![n; (n % 700) as usize])).unwrap();
        stage.store(1);
    }
}

pub(crate) fn a_sender_is_killed_on_its_way() {
    for _ in 0..3 {
        let (tx, rx) = bounded(5).unwrap();
        let stage = Atomic::new(0).unwrap();
        let sender = spawn(send_for_ever, (tx, stage)).unwrap();
        let check = |n: u64, received: (u64, Vec<u64>)| {
            assert_eq!(received, (n, vec![n; (n % 700) as usize]));
        };
        (0..200).for_each(|n| check(n, rx.recv().unwrap()));
        sender.kill().unwrap();
        (200..).zip(rx.iter()).for_each(|(n, received)| check(n, received));
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert!(matches!(sender.join(), Err(JoinError::Killed { .. })));
    }
}

pub(crate) fn the_last_sender_is_killed_while_a_receiver_sleeps() {
    let (tx, rx) = bounded::<u64>(5).unwrap();
    let stage = Atomic::new(0).unwrap();
    let holder = spawn(hold::<Sender<u64>>, (tx, stage.clone())).unwrap();
    until(|| stage.load() == 1);
    let sleepers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            thread::spawn(move || matches!(rx.recv(), Err(RecvError::Disconnected)))
        })
        .collect();
    kill(holder);
    assert!(sleepers.into_iter().all(|sleeper| sleeper.join().unwrap()));
}

pub(crate) fn the_last_sender_is_killed_while_a_receiver_polls() {
    let (tx, rx) = bounded::<u64>(5).unwrap();
    let stage = Atomic::new(0).unwrap();
    let holder = spawn(hold::<Sender<u64>>, (tx, stage.clone())).unwrap();
    until(|| stage.load() == 1);
    assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    holder.kill().unwrap();
    // Nobody waits for it yet.
    until(|| matches!(rx.try_recv(), Err(RecvError::Disconnected)));
    assert!(matches!(holder.join(), Err(JoinError::Killed { .. })));
}

pub(crate) fn the_last_receiver_is_killed_while_a_sender_polls() {
    for n in [1, 100_000] {
        let (tx, rx) = bounded::<u64>(n).unwrap();
        let stage = Atomic::new(0).unwrap();
        let holder = spawn(hold::<Receiver<u64>>, (rx, stage.clone())).unwrap();
        until(|| stage.load() == 1);
        tx.send(1).unwrap();
        holder.kill().unwrap();
        until(|| tx.try_send(1).is_err_and(|e| matches!(e.fault(), SendFault::Disconnected)));
        assert!(matches!(holder.join(), Err(JoinError::Killed { .. })));
    }
}

const LARGE: usize = 50 << 20;
type Queue = (Sender<Bytes, AsBytes>, Receiver<Bytes, AsBytes>);

fn send_large((tx, stage): (Sender<Bytes, AsBytes>, Atomic<u32>)) {
    let value = Bytes::from(vec![7; LARGE]);
    stage.store(1);
    tx.send(value).unwrap();
    stage.store(2);
    loop {
        thread::park();
    }
}

/// Others go on, and the large message is wholly there or not at all.
pub(crate) fn in_the_middle_of_a_very_large_message() {
    let (tx, rx): Queue = bounded_as(100, LARGE as u64 + 100_000).unwrap();
    let mut seen = [0; 2];
    for round in 0..6 {
        let stage = Atomic::new(0).unwrap();
        let victim = spawn(send_large, (tx.clone(), stage.clone())).unwrap();
        until(|| stage.load() >= 1);
        for n in 0..round * 40 {
            tx.send(Bytes::from(vec![n as u8; 1000])).unwrap();
            while rx.recv().unwrap().len() > 1000 {}
        }
        kill(victim);
        tx.send(Bytes::from(vec![9; 20_000])).unwrap();
        let first = rx.recv().unwrap();
        if first.len() == LARGE {
            assert!(first.iter().all(|byte| *byte == 7));
            assert_eq!(rx.recv().unwrap().len(), 20_000);
        } else {
            assert_eq!(first.len(), 20_000);
        }
        seen[usize::from(first.len() == LARGE)] += 1;
        assert!(rx.is_empty());
    }
    assert_eq!(seen.iter().sum::<u32>(), 6);
}
