//! What happens to values on their way: they arrive as they were, or ride back, and what fails, panics or sends inside of
//! its own encoding leaves the queue as it was.

mod parcel;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parcel::pack;
use procession_codec::{Bytes, DecodeError};
use procession_queue::{
    AsBytes, AsPlain, Receiver, RecvError, SendError, SendFault, Sender, bounded, bounded_as, bounded_bytes,
};
use procession_testkit::counted;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A second handle of the other type, as if it had come from another process.
fn other_type<T, U>(rx: &Receiver<T>) -> Receiver<U> {
    pack(rx).unpack()
}

#[test]
fn values_of_every_size_arrive_as_they_were() {
    counted(|| {
        let (tx, rx) = bounded::<Vec<u8>>(4).unwrap();
        let (btx, brx) = bounded_as::<Bytes, AsBytes>(4, 64 << 20).unwrap();
        for near in [0, 40, 4096, 16 << 10, 64 << 10, 1 << 20, 5 << 20] {
            for len in [near, near.max(1) - 1, near + 1, near.max(2) - 2, near + 8] {
                let value: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                for _ in 0..2 {
                    // A number at a time is slow, if it is not optimised.
                    tx.send(value[..len.min(100_000)].to_vec()).unwrap();
                    btx.send(Bytes::from(value.clone())).unwrap();
                }
                for _ in 0..2 {
                    assert!(rx.recv().unwrap() == value[..len.min(100_000)], "{len}");
                    assert!(brx.recv().unwrap()[..] == value, "{len}");
                }
            }
        }
    });
}

#[test]
fn plain_values_and_bytes_need_no_codec() {
    counted(|| {
        let (tx, rx) = bounded_as::<[u64; 6], AsPlain>(2, 96).unwrap();
        tx.send([1; 6]).unwrap();
        tx.send([2; 6]).unwrap();
        assert!(matches!(tx.try_send([3; 6]).unwrap_err().fault(), SendFault::Full));
        assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), ([1; 6], [2; 6]));
        let (tx, rx) = bounded::<(String, Option<u8>, Vec<()>)>(2).unwrap();
        let value = ("ä".to_owned(), Some(3), vec![(); 5]);
        tx.send(value.clone()).unwrap();
        assert_eq!(rx.recv().unwrap(), value);
    });
}

/// Says how often it was dropped; encodes if told so, and can do more.
#[derive(Debug)]
struct Odd {
    drops: Arc<()>,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Encodes,
    Fails,
    FailsLate,
    Panics,
    Sends,
}

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
    /// Where a value that sends does so.
    static INNER: RefCell<Option<Sender<Odd>>> = const { RefCell::new(None) };
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.what {
            What::Encodes => 1_u32.serialize(serializer),
            What::Fails => Err(ser::Error::custom("it does not want to")),
            What::FailsLate => (7_u32, [9_u8; 30], Late).serialize(serializer),
            What::Panics => panic!("while it was encoded"),
            What::Sends => {
                let tx = INNER.take().unwrap();
                tx.send(odd(What::Encodes)).unwrap();
                2_u32.serialize(serializer)
            }
        }
    }
}

struct Late;

impl Serialize for Late {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("it does not want to"))
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert!(!PANICS.get(), "while it was decoded");
        match u32::deserialize(deserializer)? {
            1 => Ok(Self { drops: Arc::new(()), what: What::Encodes }),
            2 => Ok(Self { drops: Arc::new(()), what: What::Sends }),
            n => Err(de::Error::custom(format!("{n} is not odd"))),
        }
    }
}

fn odd(what: What) -> Odd {
    Odd { drops: Arc::new(()), what }
}

#[test]
fn a_value_that_does_not_encode_leaves_no_trace() {
    counted(|| {
        let (tx, rx) = bounded::<Odd>(1).unwrap();
        for what in [What::Fails, What::FailsLate] {
            for form in 0..4 {
                let sent = match form {
                    0 => tx.send(odd(what)),
                    1 => tx.try_send(odd(what)),
                    2 => tx.send_timeout(odd(what), Duration::from_secs(50)),
                    _ => tx.send_until(odd(what), Instant::now()),
                };
                let (value, fault) = sent.unwrap_err().into_parts();
                assert!(matches!(fault, SendFault::Encode(_)), "{fault:?}");
                assert_eq!((value.what, tx.len()), (what, 0));
            }
        }
        tx.send(odd(What::Encodes)).unwrap();
        assert_eq!(rx.recv().unwrap().what, What::Encodes);
    });
}

#[test]
fn what_does_not_decode_is_one_error() {
    counted(|| {
        let (tx, rx) = bounded::<(u32, u32)>(10).unwrap();
        let odd: Receiver<Odd> = other_type(&rx);
        for (a, b) in [(1, 1), (7, 7), (1, 2)] {
            tx.send((a, b)).unwrap();
        }
        for _ in 0..3 {
            assert!(matches!(odd.recv(), Err(RecvError::Decode(_))));
        }
        assert!(matches!(odd.try_recv(), Err(RecvError::Empty)));
        let text: Receiver<String> = other_type(&rx);
        let large: Receiver<Vec<u64>> = other_type(&rx);
        tx.send((1000, 0)).unwrap();
        tx.send((u32::MAX, 0)).unwrap();
        tx.send((5, 6)).unwrap();
        assert!(matches!(text.recv(), Err(RecvError::Decode(_))));
        // A length that nothing could hold.
        assert!(matches!(large.recv(), Err(RecvError::Decode(DecodeError::Length { .. }))));
        assert_eq!(rx.recv().unwrap(), (5, 6));
    });
}

#[test]
fn a_plain_value_of_another_size() {
    counted(|| {
        let (tx, rx) = bounded_as::<u32, AsPlain>(4, 100).unwrap();
        let long: Receiver<u64, AsPlain> = pack(&rx).unpack();
        let short: Receiver<u8, AsPlain> = pack(&rx).unpack();
        for n in 0..3 {
            tx.send(n).unwrap();
        }
        assert!(matches!(long.recv(), Err(RecvError::Decode(DecodeError::Truncated))));
        assert!(matches!(short.recv(), Err(RecvError::Decode(DecodeError::Trailing { extra: 3 }))));
        assert_eq!(rx.recv().unwrap(), 2);
    });
}

#[test]
fn a_panic_leaves_the_queue_usable() {
    counted(|| {
        let (tx, rx) = bounded::<Odd>(2).unwrap();
        let panicked = |call: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        for _ in 0..3 {
            panicked(&|| drop(tx.send(odd(What::Panics))));
            assert!(tx.is_empty());
            tx.send(odd(What::Encodes)).unwrap();
            tx.send(odd(What::Encodes)).unwrap();
            PANICS.set(true);
            panicked(&|| drop(rx.recv()));
            PANICS.set(false);
            assert_eq!(rx.recv().unwrap().what, What::Encodes);
            assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
        }
    });
}

#[test]
fn a_value_sends_while_it_is_encoded() {
    counted(|| {
        let (tx, rx) = bounded::<Odd>(2).unwrap();
        for _ in 0..3 {
            INNER.set(Some(tx.clone()));
            tx.send(odd(What::Sends)).unwrap();
            assert_eq!([(); 2].map(|()| rx.recv().unwrap().what), [What::Encodes, What::Sends]);
        }
    });
}

type Test = fn(&SendFault) -> bool;
type Send = fn(&Sender<Odd>, Odd) -> Result<(), SendError<Odd>>;

/// A value that rides back is the one that was given, not a copy.
#[test]
fn values_ride_back_whole() {
    counted(|| {
        let (tx, rx) = bounded_bytes::<Odd>(1, 4).unwrap();
        let first = odd(What::Encodes);
        let drops = Arc::downgrade(&first.drops);
        tx.send(first).unwrap();
        assert_eq!(drops.strong_count(), 0, "what was sent is dropped here");
        let faults: [(Send, Test); 3] = [
            (|tx, odd| tx.try_send(odd), |f| matches!(f, SendFault::Full)),
            (|tx, odd| tx.send_timeout(odd, Duration::ZERO), |f| matches!(f, SendFault::TimedOut)),
            (|tx, odd| tx.send_until(odd, Instant::now()), |f| matches!(f, SendFault::TimedOut)),
        ];
        for (send, is_right) in faults {
            let value = odd(What::Encodes);
            let drops = Arc::clone(&value.drops);
            let error = send(&tx, value).unwrap_err();
            assert!(is_right(error.fault()), "{error}");
            assert!(Arc::ptr_eq(&drops, &error.into_value().drops));
        }
        tx.close();
        let error = tx.send(odd(What::Encodes)).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Closed));
        assert!(error.to_string().contains("closed") && format!("{error:?}").contains("Closed"));
        drop(rx);
    });
}

#[test]
fn ends_may_go_in_any_order() {
    counted(|| {
        for order in 0..4 {
            let (tx, rx) = bounded::<Vec<u8>>(5).unwrap();
            (0..3).for_each(|n| tx.send(vec![n; 20_000]).unwrap());
            let far: (Sender<Vec<u8>>, Receiver<Vec<u8>>) = pack(&(tx.clone(), rx.clone())).unpack();
            assert_eq!(far.1.recv().unwrap(), vec![0; 20_000]);
            match order {
                0 => drop((tx, rx, far)),
                1 => drop((far, rx, tx)),
                2 => {
                    drop((tx, far.0));
                    assert_eq!(far.1.iter().count(), 2);
                    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
                }
                _ => {
                    drop((rx, far.1));
                    assert!(matches!(far.0.send(vec![]).unwrap_err().fault(), SendFault::Disconnected));
                    assert!(matches!(tx.send(vec![]).unwrap_err().fault(), SendFault::Disconnected));
                }
            }
        }
    });
}

/// An end that is in a message on its way is an end like another.
#[test]
fn an_end_on_its_way_keeps_its_side() {
    counted(|| {
        let (tx, rx) = bounded::<u32>(5).unwrap();
        let parcel = pack(&tx);
        drop(tx);
        assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
        let tx: Sender<u32> = parcel.unpack();
        tx.send(5).unwrap();
        drop(pack(&tx));
        assert_eq!(rx.recv().unwrap(), 5);
        let parcel = pack(&tx);
        drop(tx);
        drop(parcel);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    });
}

/// What is no end of this kind.
#[test]
fn other_messages_are_no_ends() {
    counted(|| {
        let (tx, rx) = bounded::<u32>(5).unwrap();
        let mut parcel = pack(&tx);
        parcel.descriptors.clear();
        assert!(parcel.try_unpack::<Sender<u32>>().is_err());
        let mut parcel = pack(&tx);
        parcel.descriptors.reverse();
        assert!(parcel.try_unpack::<Sender<u32>>().is_err());
        let mut parcel = pack(&tx);
        parcel.bytes.truncate(1);
        assert!(parcel.try_unpack::<Sender<u32>>().is_err());
        drop(rx);
    });
}
