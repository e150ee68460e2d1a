//! The bounds on decoding, from the engine's side: visitors and accesses.
//!
//! Invariant: this is where a level begins. Each way by which an engine hands over something that holds
//! other values passes `deeper` once; `tests/hostile.rs` has an input for each of them.

use std::fmt::{self, Formatter};

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use super::Decoding;
use super::de::{Bounded, Nested};

/// A visitor that sees only what is within the bounds.
pub(super) struct Watch<'d, V> {
    pub(super) visitor: V,
    pub(super) decoding: &'d Decoding,
    pub(super) depth: usize,
}

macro_rules! plain {
    ($($method:ident($type:ty))*) => {
        $(
            #[inline]
            fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
                self.visitor.$method(value)
            }
        )*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<'_, V> {
    type Value = V::Value;

    plain! {
        visit_bool(bool) visit_char(char)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, engine: D) -> Result<V::Value, D::Error> {
        let depth = self.decoding.deeper(self.depth)?;
        self.visitor.visit_some(Bounded { engine, decoding: self.decoding, depth })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, engine: D) -> Result<V::Value, D::Error> {
        let depth = self.decoding.deeper(self.depth)?;
        self.visitor.visit_newtype_struct(Bounded { engine, decoding: self.decoding, depth })
    }

    #[inline]
    fn visit_seq<A: de::SeqAccess<'de>>(self, engine: A) -> Result<V::Value, A::Error> {
        let depth = self.decoding.deeper(self.depth)?;
        let hint = self.decoding.grant(engine.size_hint())?;
        self.visitor.visit_seq(Elements { engine, decoding: self.decoding, depth, hint })
    }

    #[inline]
    fn visit_map<A: de::MapAccess<'de>>(self, engine: A) -> Result<V::Value, A::Error> {
        let depth = self.decoding.deeper(self.depth)?;
        let hint = self.decoding.grant(engine.size_hint())?;
        self.visitor.visit_map(Elements { engine, decoding: self.decoding, depth, hint })
    }

    #[inline]
    fn visit_enum<A: de::EnumAccess<'de>>(self, engine: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Variant { engine, decoding: self.decoding, depth: self.depth })
    }
}

/// A sequence or a map.
struct Elements<'d, A> {
    engine: A,
    decoding: &'d Decoding,
    depth: usize,
    /// For how many elements a visitor may reserve memory.
    hint: Option<usize>,
}

impl<'d, A> Elements<'d, A> {
    #[inline]
    fn nested<S>(&self, seed: S) -> Nested<'d, S> {
        Nested { seed, decoding: self.decoding, depth: self.depth }
    }

    #[inline]
    fn count(&mut self) {
        self.hint = self.hint.map(|hint| hint.saturating_sub(1));
    }
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count();
        let nested = self.nested(seed);
        self.engine.next_element_seed(nested)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.count();
        let nested = self.nested(seed);
        self.engine.next_key_seed(nested)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let nested = self.nested(seed);
        self.engine.next_value_seed(nested)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint
    }
}

/// An enum, first before and then behind its variant's name.
struct Variant<'d, A> {
    engine: A,
    decoding: &'d Decoding,
    depth: usize,
}

impl<'de, 'd, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Variant<'d, A> {
    type Error = A::Error;
    type Variant = Variant<'d, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let Self { engine, decoding, depth } = self;
        let (value, engine) = engine.variant_seed(Nested { seed, decoding, depth })?;
        Ok((value, Variant { engine, decoding, depth }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Variant<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.engine.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let depth = self.decoding.deeper(self.depth)?;
        self.engine.newtype_variant_seed(Nested { seed, decoding: self.decoding, depth })
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.engine.tuple_variant(len, Watch { visitor, decoding: self.decoding, depth: self.depth })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.engine.struct_variant(fields, Watch { visitor, decoding: self.decoding, depth: self.depth })
    }
}
