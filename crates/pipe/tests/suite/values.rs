//! Values: both ways, of every size, in every codec, and what one that does not encode or decode leaves behind.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use procession_codec::{Bytes, Json, MessagePack, Postcard};
use procession_pipe::{Duplex, RecvError, SendError, pipe};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Method, pattern};

fn measure(end: Duplex<usize, String>) -> u32 {
    let mut n = 0;
    while let Ok(text) = end.recv() {
        end.send(&text.len()).unwrap();
        n += 1;
    }
    n
}

pub(crate) fn values_go_both_ways<M: Method>() {
    let (ours, theirs) = M::pipe::<String, usize>().unwrap();
    let peer = M::start(measure, theirs);
    for text in ["", "one", "καλημέρα"] {
        ours.send(&text.to_string()).unwrap();
        assert_eq!(ours.recv().unwrap(), text.len());
    }
    drop(ours);
    assert_eq!(peer.join(), 3);
}

fn count_units(end: Duplex<u32, ()>) {
    let mut n = 0;
    while n < 100 {
        let () = end.recv().unwrap();
        n += 1;
    }
    end.send(&n).unwrap();
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

pub(crate) fn values_without_bytes<M: Method>() {
    let (ours, theirs) = M::pipe::<(), u32>().unwrap();
    let peer = M::start(count_units, theirs);
    for _ in 0..100 {
        ours.send(&()).unwrap();
    }
    assert_eq!(ours.recv().unwrap(), 100);
    drop(ours);
    peer.join();
}

fn echo(end: Duplex<Bytes, Bytes>) {
    while let Ok(bytes) = end.recv() {
        end.send(&bytes).unwrap();
    }
}

pub(crate) fn every_size_comes_back<M: Method>() {
    let (ours, theirs) = M::pipe::<Bytes, Bytes>().unwrap();
    let peer = M::start(echo, theirs);
    let around = |n: usize| [n - 16, n - 4, n - 3, n - 1, n, n + 1];
    let sizes = [0, 1, 3 << 20, 5 << 20, 100];
    for size in sizes.into_iter().chain([16, 64 << 10, 128 << 10, 256 << 10].into_iter().flat_map(around)) {
        let bytes = pattern(size);
        ours.send(&bytes).unwrap();
        assert!(ours.recv().unwrap() == bytes, "{size} bytes");
    }
    drop(ours);
    peer.join();
}

fn number(end: Duplex<u32, u32>) {
    for i in 0..5000 {
        end.send(&i).unwrap();
        assert_eq!(end.recv().unwrap(), i);
    }
}

pub(crate) fn messages_keep_their_order<M: Method>() {
    let (ours, theirs) = M::pipe::<u32, u32>().unwrap();
    let peer = M::start(number, theirs);
    // Both directions hold less than this: whoever only sent would wait for the other for ever.
    std::thread::scope(|s| {
        s.spawn(|| (0..5000).for_each(|i| ours.send(&i).unwrap()));
        (0..5000).for_each(|i| assert_eq!(ours.recv().unwrap(), i));
    });
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    peer.join();
}

fn turn_around<C: procession_codec::Codec>(end: Duplex<(f64, String), (String, f64)>) {
    let end = end.with_codec::<C>();
    let (text, number) = end.recv().unwrap();
    end.send(&(number, text)).unwrap();
}

fn one_codec<M: Method, C: procession_codec::Codec>() {
    let (ours, theirs) = pipe::<(String, f64), (f64, String)>().unwrap();
    let (ours, peer) = (ours.with_codec::<C>(), M::start(turn_around::<C>, theirs));
    ours.send(&("a".into(), 0.1)).unwrap();
    assert_eq!(ours.recv().unwrap(), (0.1, "a".into()));
    peer.join();
}

pub(crate) fn other_codecs<M: Method>() {
    one_codec::<M, Postcard>();
    one_codec::<M, MessagePack>();
    one_codec::<M, Json>();
}

/// A number that refuses: 1 to be encoded, 2 to be decoded; panics: 3 when encoded, 4 when decoded.
#[derive(Debug, PartialEq)]
pub(crate) struct Stubborn(pub(crate) u8);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            1 => Err(S::Error::custom("not this way")),
            3 => panic!("on purpose, while encoding"),
            n => serializer.serialize_u8(n),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            2 => Err(D::Error::custom("not that way")),
            4 => panic!("on purpose, while decoding"),
            n => Ok(Self(n)),
        }
    }
}

fn send_all(end: Duplex<Stubborn, ()>) {
    for n in [0, 2, 2, 5, 4, 6] {
        end.send(&Stubborn(n)).unwrap();
    }
}

pub(crate) fn a_value_that_does_not_decode_costs_one_message<M: Method>() {
    let (ours, theirs) = M::pipe::<(), Stubborn>().unwrap();
    let peer = M::start(send_all, theirs);
    assert_eq!(ours.recv().unwrap(), Stubborn(0));
    for _ in 0..2 {
        match ours.recv() {
            Err(RecvError::Decode(e)) => assert!(e.to_string().contains("not that way"), "{e}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ours.recv().unwrap(), Stubborn(5));
    peer.join();
}

pub(crate) fn a_panic_while_decoding_costs_one_message<M: Method>() {
    let (ours, theirs) = M::pipe::<(), Stubborn>().unwrap();
    let peer = M::start(send_all, theirs);
    let mut panics = 0;
    let mut got = Vec::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| ours.recv())) {
            Err(_) => panics += 1,
            Ok(Ok(Stubborn(n))) => got.push(n),
            Ok(Err(RecvError::Decode(_))) => {}
            Ok(Err(RecvError::Closed)) => break,
            Ok(Err(e)) => panic!("{e}"),
        }
    }
    assert_eq!((panics, got), (1, vec![0, 5, 6]));
    peer.join();
}

fn say_first(end: Duplex<u8, (Duplex<u8, u8>, Stubborn)>) {
    let (given, Stubborn(n)) = end.recv().unwrap();
    given.send(&n).unwrap();
    assert!(matches!(end.recv(), Err(RecvError::Closed)));
}

/// Sends an end with a value that does not encode; then it is as before, and the two can be sent with another value.
fn fails_and_leaves_no_trace<M: Method>(
    fail: impl FnOnce(&Duplex<(Duplex<u8, u8>, Stubborn), u8>, Duplex<u8, u8>) -> Duplex<u8, u8>,
) {
    let (ours, theirs) = M::pipe::<(Duplex<u8, u8>, Stubborn), u8>().unwrap();
    let (far, near) = M::pipe::<u8, u8>().unwrap();
    let peer = M::start(say_first, theirs);
    let far = fail(&ours, far);
    far.send(&8).unwrap();
    assert_eq!(near.recv().unwrap(), 8);
    assert!(matches!(near.try_recv(), Err(RecvError::Empty)));
    ours.send(&(far, Stubborn(9))).unwrap();
    assert_eq!(near.recv().unwrap(), 9);
    drop(ours);
    peer.join();
}

pub(crate) fn a_value_that_does_not_encode_leaves_no_trace<M: Method>() {
    fails_and_leaves_no_trace::<M>(|ours, far| {
        let value = (far, Stubborn(1));
        match ours.send(&value) {
            Err(SendError::Encode(e)) => assert!(e.to_string().contains("not this way"), "{e}"),
            other => panic!("{other:?}"),
        }
        value.0
    });
}

pub(crate) fn a_panic_while_encoding_leaves_no_trace<M: Method>() {
    fails_and_leaves_no_trace::<M>(|ours, far| {
        let value = (far, Stubborn(3));
        assert!(catch_unwind(AssertUnwindSafe(|| ours.send(&value))).is_err());
        value.0
    });
}

thread_local! {
    /// The end that [`Curious`] uses while it is encoded or decoded.
    static END: RefCell<Option<Arc<Duplex<Curious, Curious>>>> = const { RefCell::new(None) };
}

/// A number that, while it is encoded, sends another through the same end, and receives another while it is decoded.
struct Curious(u32);

impl Serialize for Curious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = END.with_borrow(Clone::clone);
        if let Some(end) = end.filter(|_| self.0 > 0) {
            end.send(&Self(self.0 - 1)).map_err(S::Error::custom)?;
        }
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Curious {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(deserializer)?;
        let end = END.with_borrow(Clone::clone);
        match end.filter(|_| n < 2) {
            // Sent before the one that sent it, so received before it.
            Some(end) => Ok(Self(n + 10 * end.recv().map_err(D::Error::custom)?.0)),
            None => Ok(Self(n)),
        }
    }
}

fn echo_numbers(end: Duplex<Curious, Curious>) {
    for _ in 0..3 {
        end.send(&end.recv().unwrap()).unwrap();
    }
}

pub(crate) fn reentrant_encoding_and_decoding<M: Method>() {
    let (ours, theirs) = M::pipe::<Curious, Curious>().unwrap();
    let (ours, peer) = (Arc::new(ours), M::start(echo_numbers, theirs));
    END.set(Some(Arc::clone(&ours)));
    ours.send(&Curious(2)).unwrap();
    // 0 came first, and received 1, which received 2.
    assert_eq!(ours.recv().unwrap().0, 210);
    END.set(None);
    peer.join();
}
