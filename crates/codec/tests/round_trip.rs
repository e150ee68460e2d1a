//! Whatever the standard library's types hold comes back equal, from every codec.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddrV4};
use std::num::NonZeroI64;
use std::ops::{Bound, Range, RangeInclusive};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use procession_codec::{Bytes, Codec, Json, Message, MessagePack, Postcard};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Encodes in all ways, decodes, and compares.
fn check<C: Codec, T: Message + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let mut bytes = Vec::new();
    C::encode_into(value, &mut bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(C::encoded_size(value), Ok(bytes.len()));
    let mut slice = vec![0; bytes.len()];
    prop_assert_eq!(C::encode_to_slice(value, &mut slice), Ok(bytes.len()));
    prop_assert_eq!(&slice, &bytes);
    prop_assert_eq!(&C::decode::<T>(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?, value);
    Ok(())
}

fn check_all<T: Message + PartialEq + Debug>(value: T) -> Result<(), TestCaseError> {
    check::<Postcard, T>(&value)?;
    check::<MessagePack, T>(&value)?;
    check::<Json, T>(&value)
}

/// Floats for the codecs that keep every bit, compared as bits.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bits(f32, f64);

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        (self.0.to_bits(), self.1.to_bits()) == (other.0.to_bits(), other.1.to_bits())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Named(String),
    Pair(i16, Box<str>),
    Record { on: bool, values: Vec<u16> },
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Empty),
        any::<String>().prop_map(Shape::Named),
        any::<(i16, String)>().prop_map(|(n, text)| Shape::Pair(n, text.into())),
        any::<(bool, Vec<u16>)>().prop_map(|(on, values)| Shape::Record { on, values }),
    ]
}

/// Nested to a few levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(Shape),
    Many(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
    Maybe(Option<Box<Tree>>),
}

fn tree() -> impl Strategy<Value = Tree> {
    shape().prop_map(Tree::Leaf).prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::Many),
            prop::collection::btree_map(any::<String>(), inner.clone(), 0..4).prop_map(Tree::Named),
            prop::option::of(inner).prop_map(|tree| Tree::Maybe(tree.map(Box::new))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integers(
        unsigned in any::<(u8, u16, u32, u64, u128, usize)>(),
        signed in any::<(i8, i16, i32, i64, i128, isize)>(),
        other in any::<(bool, char, NonZeroI64)>(),
    ) {
        check_all(unsigned)?;
        check_all(signed)?;
        check_all(other)?;
    }

    #[test]
    fn floats(single in any::<u32>(), double in any::<u64>()) {
        let bits = Bits(f32::from_bits(single), f64::from_bits(double));
        check::<Postcard, _>(&bits)?;
        check::<MessagePack, _>(&bits)?;
        if bits.0.is_finite() && bits.1.is_finite() {
            check::<Json, _>(&bits)?;
        }
    }

    #[test]
    fn strings_and_bytes(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        check_all(text.clone())?;
        check_all::<Box<str>>(text.clone().into())?;
        check_all((text, bytes.clone()))?;
        check_all(Bytes::from(bytes.clone()))?;
        check_all(vec![(Bytes::from(bytes), Some(1))])?;
    }

    #[test]
    fn options_and_results(option in any::<Option<u64>>(), result in any::<Result<i32, String>>()) {
        check_all(option)?;
        check_all(result.clone())?;
        check_all(vec![(option, Some(result))])?;
        check::<Postcard, _>(&Some(Some(option)))?;
    }

    #[test]
    fn sequences(
        numbers in any::<Vec<i64>>(),
        nested in prop::collection::vec(prop::collection::vec(any::<(u8, String)>(), 0..4), 0..4),
        array in any::<[u32; 5]>(),
    ) {
        check_all(VecDeque::from(numbers.clone()))?;
        check_all(numbers.iter().copied().collect::<BTreeSet<_>>())?;
        check_all(numbers.iter().copied().collect::<HashSet<_>>())?;
        check_all::<Box<[i64]>>(numbers.clone().into())?;
        check_all(numbers)?;
        check_all(nested)?;
        check_all(array)?;
    }

    #[test]
    fn maps(
        hashed in prop::collection::hash_map(any::<u32>(), any::<String>(), 0..10),
        ordered in prop::collection::btree_map(any::<String>(), any::<Vec<Option<i8>>>(), 0..5),
        by_pair in prop::collection::btree_map(any::<(u8, String)>(), any::<i64>(), 0..10),
    ) {
        check_all(hashed)?;
        check_all(ordered)?;
        // JSON has text keys only.
        check::<Postcard, _>(&by_pair)?;
        check::<MessagePack, _>(&by_pair)?;
    }

    #[test]
    fn standard_structs(
        duration in any::<Duration>(),
        since_epoch in 0..1_u64 << 40,
        path in "[^\0]{0,20}",
        addresses in any::<(IpAddr, SocketAddrV4)>(),
        range in any::<Range<u32>>(),
        inclusive in any::<RangeInclusive<i8>>(),
    ) {
        check_all(duration)?;
        check_all(SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch))?;
        check_all(PathBuf::from(path))?;
        check_all(addresses)?;
        check_all((Bound::Included(range.start), Bound::<u8>::Unbounded))?;
        check_all(range)?;
        check_all(inclusive)?;
        check_all(std::ffi::CString::default())?;
        check_all(std::num::Wrapping(since_epoch))?;
    }

    #[test]
    fn enums_and_trees(shapes in prop::collection::vec(shape(), 0..8), tree in tree()) {
        check_all(shapes)?;
        check_all(tree)?;
    }

    #[test]
    fn long_sequences_grow_past_what_is_reserved(length in 0..5000_usize, byte in any::<u8>()) {
        check_all(vec![byte; length])?;
        check_all(vec![String::new(); length])?;
        check_all((0..length as u32).map(|n| (n, byte)).collect::<HashMap<_, _>>())?;
    }
}
