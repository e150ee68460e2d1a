//! Reading the postcard format.
//!
//! Invariants: memory is reserved only as `Reserve` grants; the depth of recursion is bounded; strings and
//! blocks borrow from the input. Numbers are read before a visitor sees them, so that a visitor's own error
//! text is not lost in the engine.

use serde::de::value::U32Deserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::input::{Block, Fault, Reader};
use crate::{DecodeError, MAX_DEPTH, Tail};

/// Reads one value, which must be all of `input`.
#[inline]
pub(super) fn decode<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(input);
    match T::deserialize(At { reader: &mut reader, depth: MAX_DEPTH }) {
        Ok(value) if reader.rest.is_empty() => Ok(value),
        Ok(_) => Err(DecodeError::Trailing { extra: reader.rest.len() }),
        Err(fault) => Err(fault.located(input.len() - reader.rest.len())),
    }
}

/// Reads one value whose last block ends with the tail.
#[inline]
pub(super) fn decode_with_tail<'de, T: Deserialize<'de>>(head: &'de [u8], tail: Tail<'de>) -> Option<T> {
    let mut reader = Reader { tail: Some(tail), ..Reader::new(head) };
    let value = T::deserialize(At { reader: &mut reader, depth: MAX_DEPTH }).ok()?;
    (reader.tail.is_none() && reader.rest.is_empty()).then_some(value)
}

/// The reader, seen from one level of nesting.
struct At<'r, 'de> {
    reader: &'r mut Reader<'de>,
    /// Levels that may still be entered.
    depth: usize,
}

impl<'r, 'de> At<'r, 'de> {
    #[inline]
    fn deeper(self) -> Result<Self, Fault> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { reader: self.reader, depth }),
            None => Err(Fault::new(DecodeError::TooDeep { limit: MAX_DEPTH })),
        }
    }

    /// The elements of a sequence or map, behind its length prefix.
    #[inline]
    fn elements<T>(self, visit: impl FnOnce(&mut Elements<'_, 'de>) -> Result<T, Fault>) -> Result<T, Fault> {
        let Self { reader, depth } = self.deeper()?;
        let len = reader.len()?;
        let start = reader.rest.len();
        let reserved = reader.reserve.grant(len.min(start));
        let mut elements = Elements { reader, depth, left: len, hint: reserved };
        let value = visit(&mut elements)?;
        elements.finish()?;
        let empty = len.saturating_sub(start - reader.rest.len());
        match reader.empty_left.checked_sub(empty) {
            Some(left) => reader.empty_left = left,
            None => return Err(reader.too_long(len as u64)),
        }
        Ok(value)
    }

    /// The fields of a tuple or struct, whose number is part of the type.
    #[inline]
    fn fields<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let Self { reader, depth } = self.deeper()?;
        let mut elements = Elements { reader, depth, left: len, hint: len };
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }
}

/// Reads a number, then shows it to the visitor.
macro_rules! number {
    ($($method:ident $visit:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                visitor.$visit(self.reader.number()?)
            }
        )*
    };
}

/// What needs an input that describes itself.
macro_rules! undescribed {
    ($($method:ident)*) => {
        $(
            #[cold]
            fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
                Err(Fault::new(DecodeError::NotSelfDescribing { codec: super::NAME }))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for At<'_, 'de> {
    type Error = Fault;

    number! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    undescribed! { deserialize_any deserialize_ignored_any deserialize_identifier }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let mut chars = self.reader.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => visitor.visit_char(only),
            _ => Err(de::Error::custom("expected one character")),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.reader.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.reader.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.reader.block()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.block_or_last()? {
            Block::Here(block) => visitor.visit_borrowed_bytes(block),
            Block::Whole(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.reader.number::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.deeper()?),
            other => Err(de::Error::custom(format_args!("{other} is no tag of an option"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.elements(|elements| visitor.visit_seq(elements))
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.elements(|elements| visitor.visit_map(elements))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self)
    }
}

impl<'de> de::EnumAccess<'de> for At<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let index: U32Deserializer<Fault> = self.reader.number::<u32>()?.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for At<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.deeper()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }
}

/// What is left of a sequence, map, tuple or struct.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    depth: usize,
    left: usize,
    /// For how many elements a visitor may reserve memory.
    hint: usize,
}

impl<'de> Elements<'_, 'de> {
    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        match self.left.checked_sub(1) {
            None => return Ok(None),
            Some(left) => self.left = left,
        }
        self.read(seed).map(Some)
    }

    #[inline]
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(At { reader: &mut *self.reader, depth: self.depth })
    }

    /// What a visitor did not read would be taken for what follows.
    #[inline]
    fn finish(&self) -> Result<(), Fault> {
        match self.left {
            0 => Ok(()),
            left => Err(de::Error::custom(format_args!("{left} elements more than the type takes"))),
        }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        self.read(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint.min(self.left))
    }
}
