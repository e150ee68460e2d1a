//! The contract of a codec, as far as bounds go: they are the same for sender and receiver, and a value
//! within them passes.

use std::collections::BTreeMap;

use procession_codec::{Codec, DecodeError, EncodeError, MAX_DEPTH, MAX_EMPTY_ELEMENTS};
use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
use serde::{Deserialize, Serialize, Serializer};

use crate::cases::{encode, round_trip};

/// A sequence and a map that announce `said` elements and have `given`.
struct Lies {
    said: usize,
    given: usize,
    map: bool,
}

impl Serialize for Lies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.map {
            let mut map = serializer.serialize_map(Some(self.said))?;
            for n in 0..self.given {
                map.serialize_entry(&n, &n)?;
            }
            SerializeMap::end(map)
        } else {
            let mut seq = serializer.serialize_seq(Some(self.said))?;
            for n in 0..self.given {
                seq.serialize_element(&n)?;
            }
            SerializeSeq::end(seq)
        }
    }
}

pub(crate) fn lies_about_a_length_are_refused<C: Codec>() {
    for map in [false, true] {
        assert!(C::encoded_size(&Lies { said: 3, given: 3, map }).is_ok());
        for (said, given) in [(3, 2), (2, 3), (0, 1), (1, 0)] {
            let error = C::encoded_size(&Lies { said, given, map }).unwrap_err();
            assert!(matches!(error, EncodeError::Value(_)), "{error:?}");
        }
    }
}

/// Each way to put one value into another.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Newtype(Box<Tree>),
    Tuple(u8, Box<Tree>),
    Struct { name: String, child: Box<Tree> },
    Seq(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Option(Option<Box<Tree>>),
}

type Wrap = fn(Tree) -> Tree;

/// With the levels that each adds.
const WRAPS: [(usize, Wrap); 6] = [
    (1, |tree| Tree::Newtype(Box::new(tree))),
    (1, |tree| Tree::Tuple(7, Box::new(tree))),
    (1, |tree| Tree::Struct { name: String::new(), child: Box::new(tree) }),
    (2, |tree| Tree::Seq(vec![tree])),
    (2, |tree| Tree::Map([(String::new(), tree)].into())),
    (2, |tree| Tree::Option(Some(Box::new(tree)))),
];

fn nested(times: usize, wrap: Wrap) -> Tree {
    (0..times).fold(Tree::Leaf, |tree, _| wrap(tree))
}

pub(crate) fn nesting_ends_where_the_receiver_ends<C: Codec>() {
    for (levels, wrap) in WRAPS {
        round_trip::<C, _>(nested(MAX_DEPTH / levels, wrap));
        let mut out = Vec::new();
        let too_deep = nested(MAX_DEPTH / levels + 1, wrap);
        assert_eq!(C::encode_into(&too_deep, &mut out), Err(EncodeError::TooDeep { limit: MAX_DEPTH }));
    }
}

/// `depth` tuples around nothing, written by hand, because a type of that depth cannot be written down.
struct Tuples {
    depth: usize,
}

impl Serialize for Tuples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(depth) = self.depth.checked_sub(1) else { return serializer.serialize_u8(0) };
        let mut tuple = serializer.serialize_tuple(1)?;
        tuple.serialize_element(&Self { depth })?;
        tuple.end()
    }
}

pub(crate) fn each_kind_of_nesting_counts_alike<C: Codec>() {
    /// A newtype around an option, which engines do not count, and which some never stop reading.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Chain(Option<Box<Chain>>);
    fn chain(links: usize) -> Chain {
        (0..links).fold(Chain(None), |chain, _| Chain(Some(Box::new(chain))))
    }
    let limit = MAX_DEPTH;
    assert!(C::encoded_size(&Tuples { depth: limit }).is_ok());
    assert_eq!(C::encoded_size(&Tuples { depth: limit + 1 }), Err(EncodeError::TooDeep { limit }));
    // Options alone: one level each.
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Options(Option<Box<Options>>);
    let options = |n| (0..n).fold(Options(None), |inner, _| Options(Some(Box::new(inner))));
    assert_ne!(C::encoded_size(&options(limit)), Err(EncodeError::TooDeep { limit }));
    assert_eq!(C::encoded_size(&options(limit + 1)), Err(EncodeError::TooDeep { limit }));
    // Two levels for each link. Formats in which a chain is ambiguous say so, or that it is too deep.
    assert_eq!(C::encoded_size(&chain(limit / 2)), Err(EncodeError::TooDeep { limit }));
    match C::encoded_size(&chain(limit / 2 - 1)) {
        Ok(_) => round_trip::<C, _>(chain(limit / 2 - 1)),
        Err(error) => assert!(matches!(error, EncodeError::Value(_)), "{error:?}"),
    }
    // A newtype of itself has no values, and takes no bytes to look for one in any format.
    #[derive(Debug, PartialEq, Deserialize)]
    struct Endless(Box<Endless>);
    assert_eq!(C::decode::<Endless>(&encode::<C>(&5_u8)), Err(DecodeError::TooDeep { limit }));
    // A format without marks for `Some` would follow this chain without end.
    if C::NAME != "postcard" {
        assert_eq!(C::decode::<Chain>(&encode::<C>(&5)), Err(DecodeError::TooDeep { limit }));
    }
}

/// With structs of some size, in whatever build this is; a debug build is the hard one.
pub(crate) fn nesting_fits_a_default_stack<C: Codec>() {
    #[derive(Serialize, Deserialize)]
    struct Large {
        numbers: [u64; 32],
        text: String,
        more: (u8, u16, String),
        next: Option<Box<Large>>,
    }
    fn large(links: usize) -> Large {
        let link = |next| Large { numbers: [1; 32], text: String::new(), more: (1, 2, String::new()), next };
        (1..links).fold(link(None), |next, _| link(Some(Box::new(next))))
    }
    let run = || {
        // A struct and an option each, and the array in the last one.
        let bytes = encode::<C>(&large(MAX_DEPTH / 2));
        let mut value = C::decode::<Large>(&bytes).map(Some).unwrap();
        let mut links = 0;
        while let Some(link) = value {
            links += 1;
            value = link.next.map(|next| *next);
        }
        assert_eq!(links, MAX_DEPTH / 2);
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

pub(crate) fn empty_elements_are_bounded_alike_on_both_sides<C: Codec>() {
    round_trip::<C, _>(vec![(); 1000]);
    round_trip::<C, _>(vec![(); MAX_EMPTY_ELEMENTS]);
    round_trip::<C, _>(vec![vec![(); MAX_EMPTY_ELEMENTS / 2]; 2]);
    for value in [vec![vec![(); MAX_EMPTY_ELEMENTS + 1]], vec![vec![(); MAX_EMPTY_ELEMENTS / 2 + 1]; 2]] {
        match C::encoded_size(&value) {
            Ok(_) => round_trip::<C, _>(value),
            Err(error) => assert!(matches!(error, EncodeError::TooLong { .. }), "{error:?}"),
        }
    }
    // Not empty: any number of them.
    round_trip::<C, _>(vec![0_u8; 3 * MAX_EMPTY_ELEMENTS]);
    round_trip::<C, _>(vec![None::<()>; 3 * MAX_EMPTY_ELEMENTS]);
}
