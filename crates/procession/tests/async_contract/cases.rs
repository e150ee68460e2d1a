//! Futures that are awaited to their end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use procession_codec::Bytes;
use procession_pipe::{Connection, Duplex};
use procession_process::{JoinError, Process, Signal, spawn};
use procession_queue::{AsBytes, Receiver, RecvError, SendFault, Sender, bounded, bounded_as};
use procession_shm::Atomic;
use procession_sync::Event;

use crate::executors::{Boxed, Executor, all, once};

fn echo(end: Duplex<u64, u64>) {
    while let Ok(n) = end.recv() {
        end.send(&(n + 1)).unwrap();
    }
}

pub(crate) fn ping_pong_over_pipes<E: Executor>() {
    let (ours, theirs) = procession_pipe::pipe::<u64, u64>().unwrap();
    let process = spawn(echo, theirs).unwrap();
    E::run(async move {
        for n in 0..500 {
            ours.send_async(&n).await.unwrap();
            assert_eq!(ours.recv_async().await.unwrap(), n + 1);
        }
        let (to, from) = ours.split();
        for n in 0..100 {
            to.send_async(&n).await.unwrap();
            assert_eq!(from.recv_async().await.unwrap(), n + 1);
        }
        drop(to);
        assert!(matches!(from.recv_async().await, Err(procession_pipe::RecvError::Closed)));
    });
    process.join().unwrap();
}

pub(crate) fn ping_pong_over_queues<E: Executor>() {
    let (there, from_here) = bounded::<u64>(4).unwrap();
    let (back, from_there) = bounded::<u64>(4).unwrap();
    let echo = |(tx, rx): (Sender<u64>, Receiver<u64>)| rx.iter().for_each(|n| tx.send(n + 1).unwrap());
    let process = spawn(echo, (back, from_here)).unwrap();
    E::run(async move {
        for n in 0..500 {
            there.send_async(n).await.unwrap();
            assert_eq!(from_there.recv_async().await.unwrap(), n + 1);
        }
        there.close();
        assert_eq!(there.send_async(1).await.unwrap_err().into_value(), 1);
        assert!(matches!(from_there.recv_async().await, Err(RecvError::Disconnected)));
    });
    process.join().unwrap();
}

type Far = (Vec<Sender<u64>>, Vec<procession_pipe::Sender<u64>>);

pub(crate) fn many_at_once<E: Executor>() {
    let (txs, rxs): (Vec<_>, Vec<_>) = (0..60).map(|_| bounded::<u64>(2).unwrap()).unzip();
    let (tos, froms): (Vec<_>, Vec<_>) = (0..60).map(|_| procession_pipe::channel::<u64>().unwrap()).unzip();
    let send = |(txs, tos): Far| {
        for n in (0..60).map(|i| i * 7919 % 60) {
            txs[n].send(n as u64).unwrap();
            tos[59 - n].send(&(159 - n as u64)).unwrap();
        }
    };
    let process = spawn(send, (txs, tos)).unwrap();
    E::run(async move {
        let mut futures: Vec<Boxed<'_, u64>> = Vec::new();
        futures.extend(
            rxs.iter().map(|rx| Box::pin(async { rx.recv_async().await.unwrap() }) as Boxed<'_, u64>),
        );
        futures.extend(
            froms.iter().map(|from| Box::pin(async { from.recv_async().await.unwrap() }) as Boxed<'_, u64>),
        );
        assert_eq!(all(futures).await, (0..60).chain(100..160).collect::<Vec<u64>>());
    });
    process.join().unwrap();
}

fn pattern(len: usize, n: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n as u8).collect()
}

fn echo_bytes(end: Connection) {
    while let Ok(bytes) = end.recv_bytes() {
        end.send_bytes(&bytes).unwrap();
    }
}

/// Over packets, and over a stream.
pub(crate) fn connections() -> [(Connection, Connection); 2] {
    let (a, b) = UnixStream::pair().unwrap();
    let over = |stream: UnixStream| Connection::try_from(OwnedFd::from(stream)).unwrap();
    [Connection::pair().unwrap(), (over(a), over(b))]
}

pub(crate) fn long_messages_both_ways<E: Executor>() {
    connections().into_iter().for_each(long_messages::<E>);
}

fn long_messages<E: Executor>((ours, theirs): (Connection, Connection)) {
    let process = spawn(echo_bytes, theirs).unwrap();
    E::run(async move {
        for len in [0, 1, 100 << 10, 128 << 10, (128 << 10) + 1, 1 << 20, 3 << 20] {
            let bytes = pattern(len, len);
            ours.send_bytes_async(&bytes).await.unwrap();
            assert!(ours.recv_bytes_async().await.unwrap() == bytes, "{len} bytes");
        }
    });
    process.join().unwrap();
}

fn count_bytes((end, n): (Connection, usize)) -> Vec<usize> {
    let mut lengths: Vec<usize> = (0..n)
        .map(|_| {
            let bytes = end.recv_bytes().unwrap();
            assert!(bytes == pattern(bytes.len(), bytes.len()));
            bytes.len()
        })
        .collect();
    lengths.sort_unstable();
    lengths
}

/// Several tasks and a thread send long messages on one end: each arrives whole.
pub(crate) fn long_messages_of_many_at_once<E: Executor>() {
    connections().into_iter().for_each(long_messages_of_many::<E>);
}

fn long_messages_of_many<E: Executor>((ours, theirs): (Connection, Connection)) {
    let process = spawn(count_bytes, (theirs, 9)).unwrap();
    let lengths = [1 << 20, 3, (1 << 20) + 1, 2 << 20, 4, 300 << 10];
    E::run(async move {
        let ours = Arc::new(ours);
        let also = Arc::clone(&ours);
        let beside = thread::spawn(move || {
            [7, 700 << 10, 8].into_iter().for_each(|len| also.send_bytes(&pattern(len, len)).unwrap());
        });
        let one = |len: usize| -> Boxed<'_, ()> {
            let sending = ours.send_bytes_async(&pattern(len, len));
            Box::pin(async { sending.await.unwrap() })
        };
        all(lengths.map(one).into_iter().collect()).await;
        beside.join().unwrap();
    });
    let mut expected: Vec<usize> = lengths.into_iter().chain([7, 700 << 10, 8]).collect();
    expected.sort_unstable();
    assert_eq!(process.join().unwrap(), expected);
}

type BytesQueue = (Sender<Bytes, AsBytes>, Receiver<Bytes, AsBytes>);

/// Full in items, and full in bytes with room for items.
pub(crate) fn a_full_queue<E: Executor>() {
    for len in [8, 3000] {
        let (tx, rx): BytesQueue = bounded_as(3, 5000).unwrap();
        let take = |rx: Receiver<Bytes, AsBytes>| rx.iter().map(|bytes| bytes.len()).sum::<usize>();
        let process = spawn(take, rx).unwrap();
        E::run(async move {
            for n in 0..200 {
                tx.send_async(Bytes::from(vec![n as u8; len])).await.unwrap();
            }
            let too_large = tx.send_async(Bytes::from(vec![0; 5001])).await.unwrap_err();
            assert!(matches!(too_large.fault(), SendFault::TooLarge { .. }));
        });
        assert_eq!(process.join().unwrap(), 200 * len);
    }
}

/// Has an end and does nothing with it.
fn hold<T>((_end, there): (T, Event)) {
    there.set();
    loop {
        thread::park();
    }
}

fn held<T: procession_codec::Message + 'static>(end: T) -> Process {
    let there = Event::new().unwrap();
    let process = spawn(hold::<T>, (end, there.clone())).unwrap();
    there.wait();
    process
}

fn kill_soon(process: Process) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        (0..200).for_each(|_| thread::yield_now());
        process.kill().unwrap();
        assert!(matches!(process.join(), Err(JoinError::Killed { signal: Signal::KILL, .. })));
    })
}

pub(crate) fn peers_are_killed<E: Executor>() {
    let (ours, theirs) = procession_pipe::pipe::<u64, u64>().unwrap();
    let (tx, rx) = bounded::<u64>(2).unwrap();
    let killers = [held(theirs), held(tx)].map(kill_soon);
    E::run(async move {
        assert!(matches!(ours.recv_async().await, Err(procession_pipe::RecvError::Closed)));
        assert!(matches!(rx.recv_async().await, Err(RecvError::Disconnected)));
    });
    killers.into_iter().for_each(|killer| killer.join().unwrap());
}

pub(crate) fn peers_are_killed_while_it_is_full<E: Executor>() {
    let (ours, theirs) = Connection::pair().unwrap();
    let (tx, rx) = bounded::<u64>(1).unwrap();
    tx.send(1).unwrap();
    let killers = [held(theirs), held(rx)].map(kill_soon);
    E::run(async move {
        let long = ours.send_bytes_async(&pattern(4 << 20, 1)).await;
        assert!(matches!(long, Err(procession_pipe::SendError::Closed)), "{long:?}");
        let error = tx.send_async(2).await.unwrap_err();
        assert!(matches!(error.fault(), SendFault::Disconnected), "{error}");
        assert_eq!(error.into_value(), 2);
    });
    killers.into_iter().for_each(|killer| killer.join().unwrap());
}

pub(crate) fn processes<E: Executor>() {
    let gate = Event::new().unwrap();
    let task = |(gate, n): (Event, u64)| {
        gate.wait();
        n * n
    };
    let children: Vec<Process<u64>> = (0..5).map(|n| spawn(task, (gate.clone(), n)).unwrap()).collect();
    let victim = held(Event::new().unwrap());
    E::run(async move {
        let victim = &victim;
        let mut futures: Vec<Boxed<'_, u64>> = Vec::new();
        futures.extend(
            children
                .iter()
                .map(|child| Box::pin(async { child.join_async().await.unwrap() }) as Boxed<'_, u64>),
        );
        futures.push(Box::pin(async {
            assert!(victim.wait_async().await.is_ok());
            assert!(matches!(victim.join_async().await, Err(JoinError::Killed { .. })));
            assert!(matches!(victim.join_async().await, Err(JoinError::AlreadyTaken { .. })));
            7
        }));
        futures.push(Box::pin(async {
            once().await;
            gate.set();
            victim.kill().unwrap();
            8
        }));
        assert_eq!(all(futures).await, [0, 1, 4, 9, 16, 7, 8]);
    });
}

pub(crate) fn events<E: Executor>() {
    let (event, done) = (Event::new().unwrap(), Atomic::new(0_u32).unwrap());
    let set_and_clear = |(event, done): (Event, Atomic<u32>)| {
        event.set();
        event.clear();
        done.store(1);
    };
    for _ in 0..5 {
        let (there, counter) = (event.clone(), done.clone());
        E::run(async move {
            let waiting = there.wait_async();
            spawn(set_and_clear, (there.clone(), counter.clone())).unwrap().join_async().await.unwrap();
            waiting.await;
            assert!(!there.is_set() && counter.load() == 1);
            // The same while it is awaited, and nothing else wakes the task.
            let blinking = there.clone();
            let blinker = thread::spawn(move || {
                (0..300).for_each(|_| thread::yield_now());
                blinking.set();
                blinking.clear();
            });
            there.wait_async().await;
            blinker.join().unwrap();
            // Set and left so.
            let waiting = there.wait_async();
            let process = spawn(|event: Event| event.set(), there.clone()).unwrap();
            waiting.await;
            there.wait_async().await;
            process.join_async().await.unwrap();
            there.clear();
        });
    }
}
