//! The bounds on decoding: a `Deserializer` around a `Deserializer`.
//!
//! Invariant: no visitor and no seed reaches the engine unwrapped, whatever method was called, because a
//! self-describing input decides what the visitor sees.

use serde::de::{DeserializeSeed, Deserializer, Visitor};

use super::Decoding;
use super::visit::Watch;

/// An engine, seen from one level of nesting.
pub(crate) struct Bounded<'d, D> {
    pub(super) engine: D,
    pub(super) decoding: &'d Decoding,
    /// Levels that may still be entered.
    pub(super) depth: usize,
}

impl<'d, D> Bounded<'d, D> {
    fn split<V>(self, visitor: V) -> (D, Watch<'d, V>) {
        (self.engine, Watch { visitor, decoding: self.decoding, depth: self.depth })
    }
}

macro_rules! pass {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
                let (engine, watch) = self.split(visitor);
                engine.$method($($argument,)* watch)
            }
        )*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    pass! {
        deserialize_any() deserialize_ignored_any() deserialize_identifier()
        deserialize_bool() deserialize_char() deserialize_str() deserialize_string()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map()
        deserialize_tuple(len: usize)
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.engine.is_human_readable()
    }
}

/// A value inside of another: whatever deserializer the engine gives it is wrapped again.
pub(super) struct Nested<'d, S> {
    pub(super) seed: S,
    pub(super) decoding: &'d Decoding,
    pub(super) depth: usize,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nested<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<S::Value, D::Error> {
        self.seed.deserialize(Bounded { engine, decoding: self.decoding, depth: self.depth })
    }
}
