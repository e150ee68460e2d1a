//! The bounds on encoding: a `Serializer` around a `Serializer`.
//!
//! Invariant: every value that the engine serializes inside of another is wrapped in [`Nested`], which wraps
//! the engine again; so nothing below the outermost value escapes the bounds.

use std::fmt::Display;

use serde::ser::{self, Error as _, Serialize, Serializer};

use super::Encoding;

/// An engine, seen from one level of nesting.
pub(crate) struct Bounded<'e, S> {
    pub(super) engine: S,
    pub(super) encoding: &'e Encoding,
    /// Levels that may still be entered.
    pub(super) depth: usize,
    /// Directly inside of `Some`, where nothing may be written that reads as `None`.
    pub(super) in_some: bool,
}

impl<'e, S: Serializer> Bounded<'e, S> {
    /// Wraps what is one level below.
    fn nested<'v, T: ?Sized>(&self, value: &'v T, in_some: bool) -> Result<Nested<'e, 'v, T>, S::Error> {
        let depth = self.encoding.deeper(self.depth)?;
        Ok(Nested { value, encoding: self.encoding, depth, in_some })
    }

    /// Wraps a composite that the engine began, `len` elements long if that is known.
    fn parts<C>(
        self,
        len: Option<usize>,
        begin: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Parts<'e, C>, S::Error> {
        let Self { engine, encoding, depth, .. } = self;
        let depth = encoding.deeper(depth)?;
        encoding.check_len(len.unwrap_or(0))?;
        Ok(Parts { engine: begin(engine)?, encoding, depth, left: len })
    }

    /// `Some` of nothing would arrive as `None`.
    fn check_null(&self) -> Result<(), S::Error> {
        if self.in_some {
            return Err(S::Error::custom("the format cannot tell `Some` of nothing from `None`"));
        }
        Ok(())
    }
}

macro_rules! plain {
    ($($method:ident($type:ty))*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
                self.engine.$method(value)
            }
        )*
    };
}

impl<'e, S: Serializer> Serializer for Bounded<'e, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'e, S::SerializeSeq>;
    type SerializeMap = Parts<'e, S::SerializeMap>;
    type SerializeTuple = Parts<'e, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'e, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'e, S::SerializeTupleVariant>;
    type SerializeStruct = Parts<'e, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'e, S::SerializeStructVariant>;

    plain! {
        serialize_bool(bool) serialize_char(char)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    fn is_human_readable(&self) -> bool {
        self.engine.is_human_readable()
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.encoding.check_finite(value.is_finite())?;
        self.engine.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.encoding.check_finite(value.is_finite())?;
        self.engine.serialize_f64(value)
    }

    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        self.encoding.check_len(value.len())?;
        self.engine.serialize_str(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.encoding.check_len(value.len())?;
        self.engine.serialize_bytes(value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.engine.collect_str(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.check_null()?;
        self.engine.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let nested = self.nested(value, true)?;
        self.engine.serialize_some(&nested)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.check_null()?;
        self.engine.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        if self.encoding.unit_struct_is_null {
            self.check_null()?;
        }
        self.engine.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.engine.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let nested = self.nested(value, self.in_some)?;
        self.engine.serialize_newtype_struct(name, &nested)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let nested = self.nested(value, false)?;
        self.engine.serialize_newtype_variant(name, index, variant, &nested)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.parts(len, |engine| engine.serialize_seq(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.parts(len, |engine| engine.serialize_map(len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.parts(Some(len), |engine| engine.serialize_tuple(len))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.parts(Some(len), |engine| engine.serialize_tuple_struct(name, len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.parts(Some(len), |engine| engine.serialize_tuple_variant(name, index, variant, len))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.parts(Some(len), |engine| engine.serialize_struct(name, len))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.parts(Some(len), |engine| engine.serialize_struct_variant(name, index, variant, len))
    }
}

/// A value inside of another: whatever serializer the engine gives it is wrapped again.
struct Nested<'e, 'v, T: ?Sized> {
    encoding: &'e Encoding,
    depth: usize,
    in_some: bool,
    value: &'v T,
}

impl<T: Serialize + ?Sized> Serialize for Nested<'_, '_, T> {
    fn serialize<S: Serializer>(&self, engine: S) -> Result<S::Ok, S::Error> {
        let Self { value, encoding, depth, in_some } = *self;
        value.serialize(Bounded { engine, encoding, depth, in_some })
    }
}

/// The rest of a composite value.
pub(crate) struct Parts<'e, C> {
    engine: C,
    encoding: &'e Encoding,
    depth: usize,
    /// Elements still to come, if their number was said.
    left: Option<usize>,
}

impl<'e, C> Parts<'e, C> {
    fn nested<'v, T: ?Sized>(&self, value: &'v T) -> Nested<'e, 'v, T> {
        Nested { value, encoding: self.encoding, depth: self.depth, in_some: false }
    }

    fn count<E: ser::Error>(&mut self) -> Result<(), E> {
        match self.left.as_mut().map(|left| left.checked_sub(1).map(|less| *left = less)) {
            Some(None) => Err(E::custom("a sequence has more elements than it said")),
            _ => Ok(()),
        }
    }

    fn check_complete<E: ser::Error>(&self) -> Result<(), E> {
        match self.left {
            Some(1..) => Err(E::custom("a sequence has fewer elements than it said")),
            _ => Ok(()),
        }
    }
}

/// The six traits without a separate key differ in names only.
macro_rules! parts {
    ($($trait:ident::$method:ident($($key:ident: $type:ty)?))*) => {
        $(
            impl<C: ser::$trait> ser::$trait for Parts<'_, C> {
                type Ok = C::Ok;
                type Error = C::Error;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &T) -> Result<(), C::Error> {
                    self.count()?;
                    let nested = self.nested(value);
                    self.engine.$method($($key,)? &nested)
                }

                #[inline]
                fn end(self) -> Result<C::Ok, C::Error> {
                    self.check_complete()?;
                    self.engine.end()
                }
            }
        )*
    };
}

parts! {
    SerializeSeq::serialize_element()
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(key: &'static str)
    SerializeStructVariant::serialize_field(key: &'static str)
}

impl<C: ser::SerializeMap> ser::SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.count()?;
        let nested = self.nested(key);
        self.engine.serialize_key(&nested)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let nested = self.nested(value);
        self.engine.serialize_value(&nested)
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.check_complete()?;
        self.engine.end()
    }
}
