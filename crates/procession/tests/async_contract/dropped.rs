//! Futures that are dropped before they have answered.

use std::sync::Arc;
use std::time::Duration;

use procession_pipe::{Connection, Duplex, RecvError, SendError};
use procession_process::spawn;
use procession_queue::{Sender, bounded};

use crate::cases::connections;
use crate::executors::{Boxed, Executor, all, first, once};

/// A time for what is expected not to happen.
const SOON: Duration = Duration::from_millis(5);

/// Somebody sends all the time; receivers are dropped all the time, at every stage.
pub(crate) fn receivers_lose_nothing<E: Executor>() {
    const N: u64 = 600;
    let (to, from) = procession_pipe::channel::<(u64, Vec<u8>)>().unwrap();
    let send = |to: procession_pipe::Sender<(u64, Vec<u8>)>| {
        // Now and then one of several packets.
        (0..N).for_each(|n| to.send(&(n, vec![n as u8; if n % 100 == 0 { 300 << 10 } else { 3 }])).unwrap());
    };
    let process = spawn(send, to).unwrap();
    E::run(async move {
        let (mut expected, mut n_dropped) = (0, 0);
        while expected < N {
            match first(from.recv_async(), once()).await {
                Ok(received) => {
                    let (n, bytes) = received.unwrap();
                    assert_eq!(n, expected);
                    assert!(bytes.iter().all(|byte| *byte == n as u8));
                    expected += 1;
                }
                Err(()) => n_dropped += 1,
            }
        }
        assert!(matches!(from.recv_async().await, Err(RecvError::Closed)));
        assert!(n_dropped > 0);
    });
    process.join().unwrap();
}

pub(crate) fn receivers_of_a_queue_lose_nothing<E: Executor>() {
    const N: u64 = 600;
    let (tx, rx) = bounded::<u64>(3).unwrap();
    let (silent, other) = bounded::<u64>(3).unwrap();
    let process = spawn(|tx: Sender<u64>| (0..N).for_each(|n| tx.send(n).unwrap()), tx).unwrap();
    E::run(async move {
        let mut expected = 0;
        while expected < N {
            if let Ok(received) = first(rx.recv_async(), once()).await {
                assert_eq!(received.unwrap(), expected);
                expected += 1;
            }
            assert!(first(other.recv_async(), once()).await.is_err());
        }
        assert!(matches!(rx.recv_async().await, Err(procession_queue::RecvError::Disconnected)));
        drop(silent);
    });
    process.join().unwrap();
}

const LONG: usize = 4 << 20;

/// Receives until the end; each message is whole.
fn check_all(end: Connection) -> usize {
    let lengths: Vec<usize> = std::iter::from_fn(|| end.recv_bytes().ok()).map(|bytes| bytes.len()).collect();
    assert!(lengths.iter().all(|len| [LONG, 5].contains(len)), "{lengths:?}");
    lengths.into_iter().filter(|len| *len == 5).count()
}

/// A long message of which a part had gone out is void for the other end.
pub(crate) fn a_sender_leaves_nothing_half_sent<E: Executor>() {
    let long = Arc::new(vec![1; LONG]);
    // Somebody reads meanwhile.
    for (ours, theirs) in connections() {
        let process = spawn(check_all, theirs).unwrap();
        let bytes = Arc::clone(&long);
        E::run(async move {
            for n in 0..30 {
                if n % 3 == 0 {
                    ours.send_bytes_async(b"short").await.unwrap();
                }
                let _ = first(ours.send_bytes_async(&bytes), once()).await;
            }
        });
        assert_eq!(process.join().unwrap(), 10);
    }
    // Nobody does.
    let (ours, theirs) = Connection::pair().unwrap();
    E::run(async move {
        for _ in 0..3 {
            assert!(first(ours.send_bytes_async(&long), once()).await.is_err());
            drop(ours.send_bytes_async(b"never awaited"));
            assert!(matches!(theirs.try_recv_bytes(), Err(RecvError::Empty)));
        }
        ours.send_bytes_async(b"short").await.unwrap();
        assert_eq!(theirs.recv_bytes_async().await.unwrap(), b"short");
        // The other end is told at once, and not with the next message.
        assert!(first(ours.send_bytes_async(&long), once()).await.is_err());
        drop(ours);
        assert!(matches!(theirs.recv_bytes_async().await, Err(RecvError::Closed)));
    });
}

/// While a long message is on its way nobody else sends; when it is given up, everybody goes on.
pub(crate) fn a_sender_lets_others_send<E: Executor>() {
    let (ours, theirs) = Connection::pair().unwrap();
    let long = vec![1; 4 << 20];
    E::run(async move {
        let mut sending = Box::pin(ours.send_bytes_async(&long));
        assert!(first(&mut sending, once()).await.is_err());
        assert!(matches!(ours.try_send_bytes(b"x"), Err(SendError::Full)));
        assert!(matches!(ours.send_bytes_timeout(b"x", SOON), Err(SendError::TimedOut)));
        let mut others = [Box::pin(ours.send_bytes_async(b"one")), Box::pin(ours.send_bytes_async(b"two"))];
        for other in &mut others {
            assert!(first(other, once()).await.is_err());
        }
        drop(sending);
        let [one, two] = others;
        let both = async {
            // In any order, so together.
            let both: Vec<Boxed<'_, Result<(), SendError>>> = vec![one, two];
            all(both).await.into_iter().for_each(|sent| sent.unwrap());
        };
        let received = async {
            let (a, b) = (theirs.recv_bytes_async().await.unwrap(), theirs.recv_bytes_async().await.unwrap());
            assert!(
                [a, b].iter().all(|bytes| [b"one", b"two"].contains(&bytes.as_slice().try_into().unwrap()))
            );
        };
        let futures: Vec<Boxed<'_, ()>> = vec![Box::pin(both), Box::pin(received)];
        all(futures).await;
    });
}

pub(crate) fn a_sender_has_its_handles_again<E: Executor>() {
    let (ours, theirs) = procession_pipe::pipe::<(Duplex<u8, u8>, Vec<u8>), u8>().unwrap();
    let (inner, outer) = procession_pipe::pipe::<u8, u8>().unwrap();
    let value = (inner, vec![0; 4 << 20]);
    E::run(async move {
        for _ in 0..3 {
            let mut sending = ours.send_async(&value);
            assert!(matches!(value.0.try_send(&1), Err(SendError::Moved)));
            assert!(first(&mut sending, once()).await.is_err());
            drop(sending);
            value.0.send(&7).unwrap();
            assert_eq!(outer.recv_async().await.unwrap(), 7);
            assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
        }
    });
}

/// Nothing of a future that has answered, or was dropped, keeps an end from being moved.
pub(crate) fn an_end_moves_when_nobody_waits<E: Executor>() {
    let (carrier, other) = procession_pipe::pipe::<Duplex<u8, u8>, Duplex<u8, u8>>().unwrap();
    let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
    E::run(async move {
        let mut ours = ours;
        for n in 0..200 {
            let mut waiting = Box::pin(ours.recv_async());
            assert!(first(&mut waiting, once()).await.is_err());
            assert!(matches!(carrier.try_send(&ours), Err(SendError::Encode(_))), "somebody waits");
            theirs.send(&n).unwrap();
            if n % 2 == 0 {
                assert_eq!(waiting.await.unwrap(), n);
            } else {
                drop(waiting);
            }
            carrier.send_async(&ours).await.unwrap();
            ours = other.recv_async().await.unwrap();
            if n % 2 == 1 {
                assert_eq!(ours.try_recv().unwrap(), n);
            }
        }
    });
}

pub(crate) fn deadlines_of_the_runtime<E: Executor>() {
    let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
    let (tx, rx) = bounded::<u8>(1).unwrap();
    E::run(async move {
        for n in 0..3 {
            assert!(first(ours.recv_async(), E::pause(SOON)).await.is_err());
            theirs.send(&n).unwrap();
            assert_eq!(first(ours.recv_async(), E::pause(1000 * SOON)).await.ok().unwrap().unwrap(), n);
            assert!(first(rx.recv_async(), E::pause(SOON)).await.is_err());
            tx.send_async(n).await.unwrap();
            assert!(first(tx.send_async(9), E::pause(SOON)).await.is_err());
            assert_eq!(rx.recv_async().await.unwrap(), n);
            assert!(rx.is_empty());
        }
    });
}
