//! How much fits: what a queue promises in items and bytes it takes without a receiver, wherever its slots and its ring of
//! bytes have come to.

use procession_queue::{
    AsBytes, Receiver, RecvError, SendFault, Sender, bounded_as, bounded_bytes, unbounded,
};
use procession_testkit::{Storm, counted, guarded};

use procession_codec::Bytes;

type Ends = (Sender<Bytes, AsBytes>, Receiver<Bytes, AsBytes>);

fn queue(n: usize, bytes: u64) -> Ends {
    bounded_as(n, bytes).unwrap()
}

/// A message that no other is equal to.
fn message(len: usize, salt: u64) -> Bytes {
    let mut storm = Storm::from_seed(salt);
    let mut bytes = vec![0; len];
    // Enough of them to tell all pages apart.
    for chunk in bytes.chunks_mut(509) {
        chunk.fill(storm.bits() as u8);
    }
    Bytes::from(bytes)
}

fn send_now((tx, _): &Ends, bytes: Bytes, context: &str) {
    let len = bytes.len();
    tx.try_send(bytes).unwrap_or_else(|e| panic!("{context}: {len} bytes behind {} messages: {e}", tx.len()));
}

fn is_full(ends: &Ends, len: usize) {
    let error = ends.0.try_send(message(len, 0)).unwrap_err();
    assert!(matches!(error.fault(), SendFault::Full), "{error}");
    assert_eq!(error.into_value(), message(len, 0));
}

#[test]
fn exactly_n_messages() {
    counted(|| {
        for n in [1, 2, 3, 4, 5, 8, 100] {
            let ends = queue(n, 1 << 20);
            for round in 0..3 {
                for i in 0..n {
                    send_now(&ends, message(i % 60, i as u64), "small");
                }
                is_full(&ends, 0);
                for i in 0..n {
                    assert_eq!(ends.1.recv().unwrap(), message(i % 60, i as u64), "round {round}");
                }
            }
        }
    });
}

#[test]
fn exactly_the_bytes_of_a_queue() {
    counted(|| {
        for budget in [1, 40, 41, 4096, 16 << 10, (16 << 10) + 1, 100_000, 5 << 20] {
            let ends = queue(10, budget as u64);
            for _ in 0..3 {
                send_now(&ends, message(budget, 1), "all of it");
                send_now(&ends, message(0, 0), "nothing fits always");
                is_full(&ends, 1);
                assert_eq!(ends.1.recv().unwrap(), message(budget, 1));
                assert_eq!(ends.1.recv().unwrap(), message(0, 0));
                let error = ends.0.send(message(budget + 1, 2)).unwrap_err();
                assert!(
                    matches!(error.fault(), &SendFault::TooLarge { len, limit } if len == limit + 1),
                    "{error}"
                );
                assert_eq!(error.into_value(), message(budget + 1, 2));
                assert!(ends.0.is_empty());
            }
        }
    });
}

/// The ring of bytes has memory for a part of what it may hold, and everything in it is received.
#[test]
fn as_much_after_it_was_drained_as_before() {
    counted(|| {
        for (len, before) in [(1000, 70), (1000, 64), (9000, 8), (16 << 10, 4), (41, 1600)] {
            let ends = queue(2000, 4 << 20);
            for at in 0..before {
                send_now(&ends, message(len, at), "before");
                drop(ends.1.recv().unwrap());
            }
            let n = (4 << 20) / len;
            for at in 0..n.min(2000) {
                send_now(&ends, message(len, at as u64), "after");
            }
            for at in 0..n.min(2000) {
                assert_eq!(ends.1.recv().unwrap(), message(len, at as u64), "{len} {at}");
            }
        }
    });
}

/// Sends what fits in items and bytes, and nothing of it is refused; receives some of it, and so on.
fn mix(ends: &Ends, storm: &mut Storm, longest: u64, n_rounds: usize) {
    let (capacity, budget) = (ends.0.capacity(), ends.0.capacity_bytes());
    let mut queued = std::collections::VecDeque::new();
    let mut bytes = 0;
    for round in 0..n_rounds {
        for _ in 0..storm.below(2 * capacity as u64 + 2) {
            let len = match storm.below(4) {
                0 => storm.below(60),
                1 => storm.below(17 << 10),
                2 => budget.saturating_sub(bytes).min(longest),
                _ => storm.below(longest + 1),
            }
            .min(budget);
            if queued.len() == capacity || bytes + len > budget {
                is_full(ends, len as usize);
                continue;
            }
            let salt = storm.bits();
            send_now(
                ends,
                message(len as usize, salt),
                &format!("round {round}, {bytes} of {budget}, seed {}", storm.seed()),
            );
            queued.push_back((len, salt));
            bytes += len;
        }
        for _ in 0..storm.below(queued.len() as u64 + 2) {
            let Some((len, salt)) = queued.pop_front() else {
                assert!(matches!(ends.1.try_recv(), Err(RecvError::Empty)));
                break;
            };
            assert!(
                ends.1.recv().unwrap() == message(len as usize, salt),
                "not what was sent, in round {round}"
            );
            bytes -= len;
        }
        assert_eq!(ends.0.len(), queued.len());
    }
}

#[test]
fn any_mix_of_sizes_within_the_budget() {
    let n_queues = if std::env::var_os("PROCESSION_LONG").is_some() { 2000 } else { 15 };
    counted(|| {
        let mut storm = Storm::seeded();
        for _ in 0..n_queues {
            let capacity = 1 + storm.below(64) as usize;
            let most = *storm.pick(&[100, 70_000, 400_000, 2 << 20]);
            let budget = 1 + storm.below(most);
            mix(&queue(capacity, budget), &mut storm, budget.min(200 << 10), 12);
        }
    });
}

/// More large messages than there are pieces for them.
#[test]
fn more_large_messages_than_extents() {
    counted(|| {
        let ends = queue(300, 200 * 20_000);
        for round in 0..3 {
            for at in 0..200 {
                send_now(&ends, message(20_000, at), "large");
            }
            is_full(&ends, 1);
            for at in 0..200 {
                assert!(ends.1.recv().unwrap() == message(20_000, at), "round {round}");
            }
        }
    });
}

#[test]
fn an_unbounded_queue_ends_in_an_error() {
    guarded(|| {
        let (tx, rx) = unbounded::<()>().unwrap();
        let fault = std::iter::repeat_with(|| tx.send(())).find_map(Result::err).unwrap();
        assert!(matches!(fault.fault(), SendFault::Full), "{fault}");
        assert_eq!(rx.len(), tx.capacity());
        rx.recv().unwrap();
        tx.send(()).unwrap();
    });
}

#[test]
fn no_queue_holds_nothing_or_too_much() {
    counted(|| {
        for (n, bytes) in [(0, 1), ((1 << 24) + 1, 1), (1, 0), (1, (1 << 38) + 1)] {
            let made = std::panic::catch_unwind(|| bounded_bytes::<u8>(n, bytes).map(drop));
            assert!(made.is_err(), "{n} {bytes}");
        }
        drop(bounded_bytes::<u8>(1 << 24, 1 << 38).unwrap());
    });
}
