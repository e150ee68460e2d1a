//! Bytes that travel as one block.
//!
//! Invariant: the encoding equals that of `serde_bytes`, so either side may use either.

use std::borrow::Borrow;
use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use crate::pieces;

/// Owned bytes that are encoded as one block instead of one by one.
///
/// serde treats a `Vec<u8>` as a sequence of numbers: a call and a branch for each byte. A block is one
/// copy, and with [`Postcard`](crate::Postcard) some 40 to 60 times faster: 1 MiB takes about 0.03 ms instead of
/// 1.0 to encode and 1.6 to decode (two-core x86-64 virtual machine,
/// `cargo bench -p procession-benches --bench codec`). [`MessagePack`](crate::MessagePack) also saves the byte
/// that it spends on each number above 127. [`Json`](crate::Json) has no blocks and writes an array of
/// numbers all the same.
///
/// Costs nothing to make from a `Vec<u8>` or to turn into one. For a field inside of a struct,
/// `#[serde(with = "procession_codec::serde_bytes")]` does the same to a plain `Vec<u8>`; to borrow from
/// the input, decode to `&[u8]`.
///
/// # Examples
///
/// ```
/// use procession_codec::{Bytes, Codec, Postcard};
///
/// let image = Bytes::from(vec![255; 4096]);
/// let mut out = Vec::new();
/// Postcard::encode_into(&("logo.png", &image), &mut out)?;
/// let (name, pixels): (String, Bytes) = Postcard::decode(&out)?;
/// assert_eq!((name.as_str(), &pixels), ("logo.png", &image));
/// assert_eq!(pixels.into_vec().len(), 4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    /// No bytes; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The bytes as a plain vector, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl Debug for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Block).map(Self)
    }
}

/// A block, which is copied by [`pieces`]; all else is left to `serde_bytes`.
struct Block;

impl<'de> Visitor<'de> for Block {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, block: &[u8]) -> Result<Vec<u8>, E> {
        let mut bytes = Vec::new();
        pieces::append(&mut bytes, block);
        Ok(bytes)
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        self.visit_bytes(text.as_bytes())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Vec<u8>, E> {
        Ok(text.into_bytes())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, numbers: A) -> Result<Vec<u8>, A::Error> {
        ByteBuf::deserialize(SeqAccessDeserializer::new(numbers)).map(ByteBuf::into_vec)
    }
}
