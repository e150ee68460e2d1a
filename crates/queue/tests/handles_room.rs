//! Room for descriptors on their way: there is less of it than of others, who wants some waits for it, and is woken when there
//! is some.

mod memory;
mod parcel;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use memory::{Memory, N_EXTENTS};
use procession_codec::Descriptor;
use procession_queue::{RecvError, SendFault, bounded, unbounded};
use procession_shm::domain::TICK;
use procession_testkit::{Role, counted, role};

const LIMIT: Duration = Duration::from_secs(60);

/// A file that says which one it is.
fn file(n: u64) -> Descriptor {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&n.to_le_bytes()).unwrap();
    OwnedFd::from(reader).into()
}

/// Which one it is; then it is empty.
fn which(file: Descriptor) -> u64 {
    let mut bytes = Vec::new();
    File::from(file.into_owned().unwrap()).read_to_end(&mut bytes).unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// There is more room in the queue than in the socket: who sends waits, or is told so.
#[test]
fn room_runs_out_in_the_socket() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Descriptor)>(10_000).unwrap();
        let fits = (0..).find(|n| tx.try_send((*n, file(*n))).is_err()).unwrap();
        assert!((100..2000).contains(&fits), "{fits}");
        let error = tx.try_send((fits, file(fits))).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Full), "{error}");
        assert_eq!(which(error.into_value().1), fits);
        let late = tx.send_timeout((0, file(0)), Duration::from_millis(5)).unwrap_err();
        assert!(matches!(late.fault(), SendFault::TimedOut), "{late}");
        // One message more or less, and what is without handles has room all the time.
        let (n, file_0) = rx.recv().unwrap();
        assert_eq!((n, which(file_0)), (0, 0));
        tx.try_send((fits, file(fits))).unwrap();
        assert!(tx.try_send((0, file(0))).is_err());
        thread::scope(|scope| {
            scope.spawn(|| (fits + 1..2000).for_each(|n| tx.send((n, file(n))).unwrap()));
            for n in 1..2000 {
                let (found, file) = rx.recv().unwrap();
                assert_eq!((found, which(file)), (n, n));
            }
        });
        assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    });
}

/// A large message has a piece of its own, which it keeps only if it is sent.
#[test]
fn room_for_large_messages_comes_back() {
    counted(|| {
        let (tx, rx) = bounded::<(Descriptor, Vec<u8>)>(10_000).unwrap();
        let memory = Memory::of(&tx);
        let fits = (0..).take_while(|n| tx.try_send((file(*n), vec![])).is_ok()).count();
        for _ in 0..2 * N_EXTENTS {
            let error = tx.try_send((file(0), vec![1; 20_000])).unwrap_err();
            assert!(matches!(error.fault(), SendFault::Full), "{error}");
        }
        assert_eq!(memory.n_queued(), 0);
        assert_eq!(rx.try_iter().count(), fits);
        (0..N_EXTENTS as u64).for_each(|n| tx.try_send((file(n), vec![1; 20_000])).unwrap());
        assert_eq!(memory.n_queued(), N_EXTENTS);
        for (n, (file, bytes)) in (0..).zip(rx.try_iter()) {
            assert_eq!((which(file), bytes.len()), (n, 20_000));
        }
        assert_eq!(memory.n_queued(), 0);
    });
}

#[test]
fn an_unbounded_queue_does_not_wait_for_room_either() {
    counted(|| {
        let (tx, rx) = unbounded::<Option<Descriptor>>().unwrap();
        let fits = (0..).find(|n| tx.send(Some(file(*n))).is_err()).unwrap();
        let error = tx.send(Some(file(fits))).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Full), "{error}");
        tx.send(None).unwrap();
        (0..fits).for_each(|n| assert_eq!(which(rx.recv().unwrap().unwrap()), n));
        assert!(rx.recv().unwrap().is_none());
    });
}

/// Woken by what is received, and not by a tick or by what is received later: also who finds no room while some is made.
#[test]
fn who_waits_for_room_is_woken() {
    let one_for_one = || {
        let (tx, rx) = bounded::<(u64, Descriptor)>(1000).unwrap();
        let fits = (0..).find(|n| tx.try_send((*n, file(*n))).is_err()).unwrap();
        let n_sent = AtomicU64::new(fits);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in fits..N_MESSAGES {
                    tx.send((n, file(n))).unwrap();
                    n_sent.store(n + 1, SeqCst);
                }
            });
            for n in 0..N_MESSAGES {
                let (found, file) = rx.recv().unwrap();
                assert_eq!((found, which(file)), (n, n));
                // One more has room now, and nobody receives anything until it is sent.
                while n_sent.load(SeqCst) < N_MESSAGES.min(n + 1 + fits) {
                    thread::yield_now();
                }
            }
        });
    };
    match role() {
        Some(_) => counted(one_for_one),
        None => counted(|| {
            let role = Role::new("never ticks").env(TICK, "600000").spawn();
            role.wait_with_output(LIMIT).expect_success();
        }),
    }
}

const N_MESSAGES: u64 = 5000;
