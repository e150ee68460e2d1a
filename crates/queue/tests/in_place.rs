//! Long values that are encoded into the memory of the queue and decoded out of it: nothing else changes for who sends and
//! receives them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_codec::{Bytes, Codec, Descriptor, MessagePack, Postcard};
use procession_queue::{AsBytes, AsPlain, Receiver, SendFault, Sender, Wire, bounded_as};
use procession_testkit::counted;
use serde::de::{Error, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn queue<T, W: Wire<T>>() -> (Sender<T, W>, Receiver<T, W>) {
    bounded_as(8, 4 << 20).unwrap()
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Alone(Bytes),
    Last(String, Bytes),
    First(Bytes, u32),
    Two(Bytes, Bytes),
    Numbers(Vec<u32>),
    Nothing,
}

fn values(len: usize) -> [Value; 6] {
    let numbers = (0..len as u32 / 4).map(|n| n.wrapping_mul(2_654_435_761)).collect();
    [
        Value::Alone(bytes(len)),
        Value::Last("name".repeat(100), bytes(len)),
        Value::First(bytes(len), 7),
        Value::Two(bytes(len / 3), bytes(len)),
        Value::Numbers(numbers),
        Value::Nothing,
    ]
}

/// Short and long, longer and shorter than the one before.
const LENGTHS: [usize; 12] =
    [17 << 10, 17 << 10, 300 << 10, 0, 16380, 16384, 16385, 1 << 20, 240, 260, 20000, 1 << 20];

fn all_arrive<C: Codec>() {
    let (tx, rx) = queue::<Value, C>();
    for value in LENGTHS.into_iter().flat_map(values) {
        tx.send(value.clone()).unwrap();
        assert!(rx.recv().unwrap() == value);
    }
    // Several at a time.
    for value in values(100 << 10) {
        tx.send(value).unwrap();
    }
    assert!(rx.try_iter().eq(values(100 << 10)));
}

#[test]
fn values_of_every_shape_and_length() {
    counted(all_arrive::<Postcard>);
    counted(all_arrive::<MessagePack>);
}

#[test]
fn bytes_and_plain_values() {
    counted(|| {
        let (tx, rx) = queue::<Bytes, AsBytes>();
        for len in LENGTHS {
            tx.send(bytes(len)).unwrap();
            assert!(rx.recv().unwrap() == bytes(len));
        }
        let (tx, rx) = queue::<[u64; 5000], AsPlain>();
        tx.send([7; 5000]).unwrap();
        assert_eq!(rx.recv().unwrap(), [7; 5000]);
    });
}

thread_local! {
    static N_ENCODED: Cell<u32> = const { Cell::new(0) };
}

/// Counts how often it is encoded, and how many bytes were decoded without a copy.
#[derive(Debug, PartialEq)]
struct Watched(Vec<u8>, bool);

impl Serialize for Watched {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        N_ENCODED.set(N_ENCODED.get() + 1);
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Owned;
        impl Visitor<'_> for Owned {
            type Value = Watched;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Watched, E> {
                Ok(Watched(bytes.to_vec(), false))
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Watched, E> {
                Ok(Watched(bytes, true))
            }
        }
        deserializer.deserialize_byte_buf(Owned)
    }
}

#[test]
fn a_long_block_is_given_as_it_is_and_encoded_once_where_its_length_is_known() {
    counted(|| {
        let (tx, rx) = queue::<Watched, Postcard>();
        // Nothing is known at first; then it is as long, or shorter, or longer.
        let cases =
            [(100, false, 1), (50_000, true, 1), (50_000, true, 1), (40_000, true, 1), (90_000, true, 2)];
        for (len, is_owned, n_encoded) in cases {
            N_ENCODED.set(0);
            tx.send(Watched(vec![7; len], false)).unwrap();
            assert_eq!(rx.recv().unwrap(), Watched(vec![7; len], is_owned));
            assert_eq!(N_ENCODED.get(), n_encoded, "{len}");
        }
    });
}

#[test]
fn handles_go_along() {
    counted(|| {
        let (tx, rx) = queue::<(Descriptor, Bytes), Postcard>();
        for len in LENGTHS {
            let (reader, writer) = std::io::pipe().unwrap();
            tx.send((std::os::fd::OwnedFd::from(writer).into(), bytes(len))).unwrap();
            let (descriptor, came) = rx.recv().unwrap();
            assert!(came == bytes(len));
            let mut writer = std::io::PipeWriter::from(descriptor.into_owned().unwrap());
            std::io::Write::write_all(&mut writer, b"!").unwrap();
            drop(writer);
            assert_eq!(std::io::read_to_string(reader).unwrap(), "!");
        }
    });
}

thread_local! {
    static MEANWHILE: RefCell<Option<Sender<Odd>>> = const { RefCell::new(None) };
}

/// Does something else before it is encoded.
#[derive(Debug, PartialEq, Deserialize)]
struct Odd(u8, Watched);

/// As it is sent, and as it comes if it had an extent.
fn odd(len: usize, what: u8) -> Odd {
    Odd(what, Watched(vec![7; len], true))
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => return Err(S::Error::custom("on purpose")),
            2 => panic!("on purpose"),
            3 => MEANWHILE.with_borrow(|tx| tx.as_ref().unwrap().send(odd(50_000, 0)).unwrap()),
            _ => {}
        }
        (self.0, &self.1).serialize(serializer)
    }
}

#[test]
fn what_is_not_encoded_leaves_nothing() {
    counted(|| {
        let (tx, rx) = queue::<Odd, Postcard>();
        let arrives = || {
            tx.send(odd(60_000, 0)).unwrap();
            assert!(rx.recv().unwrap() == odd(60_000, 0));
        };
        // More than there are extents.
        for _ in 0..200 {
            arrives();
            assert!(matches!(tx.send(odd(60_000, 1)).unwrap_err().fault(), SendFault::Encode(_)));
            assert!(catch_unwind(AssertUnwindSafe(|| tx.send(odd(60_000, 2)))).is_err());
            assert!(tx.is_empty());
        }
        let error = tx.send(odd(5 << 20, 0)).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { limit, .. } if *limit == 4 << 20));
        assert!(error.into_value() == odd(5 << 20, 0));
        arrives();
    });
}

#[test]
fn who_sends_while_it_is_encoded_sends_before() {
    counted(|| {
        let (tx, rx) = queue::<Odd, Postcard>();
        tx.send(odd(60_000, 0)).unwrap();
        rx.recv().unwrap();
        MEANWHILE.set(Some(tx.clone()));
        tx.send(odd(60_000, 3)).unwrap();
        MEANWHILE.set(None);
        assert!(rx.recv().unwrap() == odd(50_000, 0));
        assert!(rx.recv().unwrap() == odd(60_000, 3));
    });
}
