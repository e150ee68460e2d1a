//! The types that hostile inputs are decoded into, and how much memory an honest byte of each may take.

use std::collections::{BTreeMap, HashMap, HashSet};

use procession_codec::{Bytes, Codec};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::memory;

/// Each way to put a value into another, without end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tree {
    Leaf,
    Newtype(Box<Tree>),
    Tuple(u8, Box<Tree>),
    Struct { name: String, child: Box<Tree> },
    Seq(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Option(Option<Box<Tree>>),
}

/// Nothing but a chain of newtypes and options, which self-describing formats write as nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chain(Option<Box<Chain>>);

/// Nothing but options.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Options(Option<Box<Options>>);

/// Nothing but sequences.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nest(Vec<Nest>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Untagged {
    Number(u32),
    Text(String),
    Many(Vec<Untagged>),
    Named(HashMap<String, Untagged>),
}

/// Large in memory and nothing in postcard.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hidden {
    #[serde(skip)]
    _fat: [u64; 8],
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    id: u64,
    name: String,
    block: Bytes,
    wide: (i128, char, f32),
    options: Vec<Option<String>>,
    trees: Vec<Tree>,
    map: BTreeMap<u16, Vec<bool>>,
    result: Result<u8, Box<str>>,
}

pub(crate) fn sample() -> Sample {
    let child = || Box::new(Tree::Option(Some(Box::new(Tree::Leaf))));
    Sample {
        id: 1 << 40,
        name: "näme\n".into(),
        block: Bytes::from(vec![0, 200, 255]),
        wide: (-1, 'ß', 0.25),
        options: vec![None, Some("text".into())],
        trees: vec![
            Tree::Newtype(child()),
            Tree::Struct { name: "x".into(), child: child() },
            Tree::Seq(vec![Tree::Leaf, Tree::Tuple(3, child())]),
            Tree::Map([("k".into(), Tree::Leaf)].into()),
        ],
        map: [(1, vec![]), (300, vec![true, false])].into(),
        result: Err("no".into()),
    }
}

/// A node of a `BTreeMap` holds eleven entries, and an only entry is in one.
const NODE: usize = 16 + 11 * (size_of::<String>() + size_of::<Tree>());

/// Decodes `input` into every target.
pub(crate) fn attack<C: Codec>(input: &[u8]) {
    one::<C, u64>(input, 1);
    one::<C, char>(input, 1);
    one::<C, f64>(input, 1);
    one::<C, i128>(input, 1);
    one::<C, String>(input, 1);
    one::<C, Bytes>(input, 1);
    one::<C, (u8, Option<i64>)>(input, 1);
    one::<C, IgnoredAny>(input, 1);
    one::<C, Vec<()>>(input, 1);
    one::<C, Vec<u8>>(input, 1);
    one::<C, Vec<u64>>(input, size_of::<u64>());
    one::<C, Vec<String>>(input, size_of::<String>());
    one::<C, Vec<Vec<u16>>>(input, size_of::<Vec<u16>>());
    one::<C, Vec<[u64; 32]>>(input, 32);
    one::<C, HashSet<u32>>(input, 16);
    one::<C, HashMap<u32, String>>(input, 64);
    one::<C, BTreeMap<String, Bytes>>(input, 64);
    one::<C, Chain>(input, 8);
    one::<C, Options>(input, 8);
    one::<C, Nest>(input, size_of::<Nest>());
    one::<C, Tree>(input, NODE);
    one::<C, Untagged>(input, 200);
    one::<C, Sample>(input, NODE);
    // What borrows.
    memory::bounded(input, 1, || C::decode::<&str>(input).is_ok());
    memory::bounded(input, 1, || C::decode::<&[u8]>(input).is_ok());
    memory::bounded(input, size_of::<&str>(), || C::decode::<Vec<&str>>(input).is_ok());
}

fn one<C: Codec, T: DeserializeOwned>(input: &[u8], share: usize) {
    // The value lives until it is counted.
    drop(memory::bounded(input, share, || C::decode::<T>(input)));
}
