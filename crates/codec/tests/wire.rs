//! The bytes themselves: `Postcard` speaks the postcard format as the `postcard` crate does, in both
//! directions, and the others those of their engines. Whoever changes a format breaks a test here.

use std::collections::BTreeMap;

use procession_codec::{Bytes, Codec, Json, MessagePack, Postcard};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    id: u64,
    delta: i32,
    name: String,
    letter: char,
    ratio: f64,
    wide: (u128, i128),
    block: Bytes,
    kinds: Vec<Kind>,
    map: BTreeMap<u8, Option<bool>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u16),
    Tuple(u8, i8),
    Struct { a: f32 },
}

fn sample() -> Sample {
    Sample {
        id: 300,
        delta: -2,
        name: "ab".into(),
        letter: 'ü',
        ratio: 0.5,
        wide: (u128::MAX, i128::MIN),
        block: Bytes::from(vec![0, 255]),
        kinds: vec![Kind::Unit, Kind::Newtype(999), Kind::Tuple(1, -1), Kind::Struct { a: 1.0 }],
        map: [(1, None), (2, Some(true))].into(),
    }
}

fn encode<C: Codec>(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    C::encode_into(value, &mut out).unwrap();
    out
}

#[test]
fn postcard_is_the_postcard_format() {
    let ours = encode::<Postcard>(&sample());
    assert_eq!(ours, postcard::to_stdvec(&sample()).unwrap());
    assert_eq!(postcard::from_bytes::<Sample>(&ours).unwrap(), sample());
    assert_eq!(Postcard::decode::<Sample>(&ours).unwrap(), sample());
}

#[test]
fn postcard_in_bytes() {
    assert_eq!(
        encode::<Postcard>(&(300_u16, -2_i32, "ab", Some(()), [1_u8, 2])),
        [0xac, 2, 3, 2, b'a', b'b', 1, 1, 2]
    );
    assert_eq!(encode::<Postcard>(&vec![Kind::Newtype(5), Kind::Unit]), [2, 1, 5, 0]);
}

#[test]
fn message_pack_is_that_of_its_engine_with_names() {
    let ours = encode::<MessagePack>(&sample());
    assert_eq!(ours, rmp_serde::to_vec_named(&sample()).unwrap());
    assert_eq!(rmp_serde::from_slice::<Sample>(&ours).unwrap(), sample());
    // A peer that writes without names is read as well.
    let unnamed = rmp_serde::to_vec(&sample()).unwrap();
    assert_eq!(MessagePack::decode::<Sample>(&unnamed).unwrap(), sample());
}

#[test]
fn json_is_that_of_its_engine() {
    let ours = encode::<Json>(&sample());
    assert_eq!(ours, serde_json::to_vec(&sample()).unwrap());
    assert_eq!(Json::decode::<Sample>(&ours).unwrap(), sample());
    let pretty = serde_json::to_vec_pretty(&sample()).unwrap();
    assert_eq!(Json::decode::<Sample>(&pretty).unwrap(), sample());
}
