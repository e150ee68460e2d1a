//! The limit on the length of a message, at both ends.

use procession_codec::Bytes;
use procession_pipe::{DEFAULT_LIMIT, Duplex, RecvError, SendError};

use super::{Method, pattern};

fn lengths(end: Duplex<usize, Bytes>) {
    while let Ok(bytes) = end.recv() {
        end.send(&bytes.len()).unwrap();
    }
}

/// Bytes that take `len` bytes when encoded: postcard writes their number first.
fn encoded_as(len: usize) -> Bytes {
    let prefix = [1, 2, 3, 4, 5].into_iter().find(|n| len - n < 1 << (7 * n)).unwrap();
    pattern(len - prefix)
}

pub(crate) fn at_the_limit_and_above<M: Method>() {
    const LIMIT: usize = 300_000;
    let (ours, theirs) = M::pipe::<Bytes, usize>().unwrap();
    assert_eq!(ours.limit(), DEFAULT_LIMIT);
    let (ours, peer) = (ours.with_limit(LIMIT as u64), M::start(lengths, theirs));
    for _ in 0..2 {
        ours.send(&encoded_as(LIMIT)).unwrap();
        assert_eq!(ours.recv().unwrap(), LIMIT - 3);
        for above in [LIMIT + 1, 10 * LIMIT] {
            match ours.send(&encoded_as(above)) {
                Err(SendError::TooLarge { len, limit }) => {
                    assert_eq!((len, limit), (above as u64, LIMIT as u64));
                }
                other => panic!("{other:?}"),
            }
        }
        // Nothing was sent: the answer is that to the next one.
        ours.send(&encoded_as(10)).unwrap();
        assert_eq!(ours.recv().unwrap(), 9);
    }
    drop(ours);
    peer.join();
}

/// What arrives, under a limit of our own: a length, or that of a message refused.
fn lengths_up_to_1000(end: Duplex<Result<usize, u64>, Bytes>) {
    let end = end.with_limit(1000);
    loop {
        let seen = match end.recv() {
            Ok(bytes) => Ok(bytes.len()),
            Err(RecvError::TooLarge { len, limit: 1000 }) => Err(len),
            Err(RecvError::Closed) => return,
            Err(e) => panic!("{e}"),
        };
        end.send(&seen).unwrap();
    }
}

pub(crate) fn the_receivers_limit_is_lower<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Result<usize, u64>>().unwrap();
    let peer = M::start(lengths_up_to_1000, theirs);
    for len in [1000, 1001, 1002, 70_000, 10, 5 << 20, 1001, 1000] {
        ours.send(&encoded_as(len)).unwrap();
        match ours.recv().unwrap() {
            Ok(got) => assert_eq!((len <= 1000, got), (true, encoded_as(len).len())),
            Err(refused) => assert_eq!((len > 1000, refused), (true, len as u64)),
        }
    }
    drop(ours);
    peer.join();
}

fn limit_of(end: Duplex<u64, Bytes>) {
    assert!(matches!(end.recv(), Err(RecvError::TooLarge { len: 1001, limit: 1000 })));
    end.send(&end.limit()).unwrap();
}

pub(crate) fn the_limit_travels_with_the_end<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, u64>().unwrap();
    let (carrier, carried) = M::pipe::<Duplex<u64, Bytes>, ()>().unwrap();
    carrier.send(&theirs.with_limit(1000)).unwrap();
    let peer = M::start(limit_of, carried.recv().unwrap());
    ours.send(&encoded_as(1001)).unwrap();
    assert_eq!(ours.recv().unwrap(), 1000);
    peer.join();
}
