//! What a slot of a list holds, and how it lies there.
//!
//! A copy begins with a head: the kind in the lowest byte, the number of bytes in the others. Numbers are 8 bytes in this
//! machine's order.
//!
//! Invariant: a length is never believed beyond the copy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::ShmError;
use crate::place::WORD;
use crate::twin;

/// What a slot of a [`List`](crate::List) holds: of the types of Python's `ShareableList`.
///
/// Items are equal if kind and content are; floats as floats are, so that a NaN is not equal to itself.
///
/// # Examples
/// ```
/// use procession_shm::Item;
/// assert_eq!(Item::from("text"), Item::Text("text".to_owned()));
/// assert_eq!(Item::from(7), Item::Int(7));
/// assert_ne!(Item::from(1.0), Item::from(1));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Item {
    /// Nothing.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

const NONE: u64 = 0;
const BOOL: u64 = 1;
const INT: u64 = 2;
const FLOAT: u64 = 3;
const TEXT: u64 = 4;
const BYTES: u64 = 5;
/// The length stands above the kind.
const KIND_BITS: u32 = 8;

impl Item {
    /// How many bytes of a slot it takes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => WORD,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// How many bytes a slot has that is made for it: as in Python.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Text(_) | Self::Bytes(_) => (self.len() + 1).next_multiple_of(WORD),
            _ => WORD,
        }
    }

    /// Writes it into a copy that has room for it.
    pub(super) fn store(&self, copy: &[AtomicU64]) {
        let (head, words) = copy.split_first().expect("a copy begins with its head");
        let kind = match self {
            Self::None => NONE,
            Self::Bool(value) => number(words, BOOL, u64::from(*value)),
            Self::Int(value) => number(words, INT, value.cast_unsigned()),
            Self::Float(value) => number(words, FLOAT, value.to_bits()),
            Self::Text(text) => block(words, TEXT, text.as_bytes()),
            Self::Bytes(bytes) => block(words, BYTES, bytes),
        };
        head.store((self.len() as u64) << KIND_BITS | kind, Relaxed);
    }

    /// The item that these are; `None` if they are none.
    pub(super) fn from_parts(head: u64, bytes: Vec<u8>) -> Option<Self> {
        if head >> KIND_BITS != bytes.len() as u64 {
            return None;
        }
        let word = || Some(u64::from_ne_bytes(bytes[..].try_into().ok()?));
        match head & ((1 << KIND_BITS) - 1) {
            NONE => bytes.is_empty().then_some(Self::None),
            BOOL => Some(Self::Bool(word()? != 0)),
            INT => Some(Self::Int(word()?.cast_signed())),
            FLOAT => Some(Self::Float(f64::from_bits(word()?))),
            TEXT => String::from_utf8(bytes).ok().map(Self::Text),
            BYTES => Some(Self::Bytes(bytes)),
            _ => None,
        }
    }
}

/// Copies an item's bytes out of a copy, and returns its head; there are none if it says more than there can be.
pub(super) fn load(copy: &[AtomicU64], bytes: &mut Vec<u8>) -> Result<u64, ShmError> {
    let (head, words) = copy.split_first().expect("a copy begins with its head");
    let head = head.load(Relaxed);
    twin::load_all(words, head >> KIND_BITS, bytes)?;
    Ok(head)
}

fn number(words: &[AtomicU64], kind: u64, bits: u64) -> u64 {
    block(words, kind, &bits.to_ne_bytes())
}

fn block(words: &[AtomicU64], kind: u64, bytes: &[u8]) -> u64 {
    twin::store(words, bytes);
    kind
}

macro_rules! from {
    ($($type:ty => $kind:ident by $into:expr,)*) => {$(
        impl From<$type> for Item {
            fn from(value: $type) -> Self {
                Self::$kind($into(value))
            }
        }
    )*};
}

from! {
    bool => Bool by |value| value,
    i8 => Int by i64::from,
    i16 => Int by i64::from,
    i32 => Int by i64::from,
    i64 => Int by |value| value,
    u8 => Int by i64::from,
    u16 => Int by i64::from,
    u32 => Int by i64::from,
    f32 => Float by f64::from,
    f64 => Float by |value| value,
    &str => Text by str::to_owned,
    String => Text by |value| value,
    &[u8] => Bytes by <[u8]>::to_vec,
    Vec<u8> => Bytes by |value| value,
}

impl From<()> for Item {
    fn from((): ()) -> Self {
        Self::None
    }
}

/// [`Item::None`] is `None`.
impl<T: Into<Item>> From<Option<T>> for Item {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
