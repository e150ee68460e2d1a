//! Writing the postcard format.
//!
//! Invariants: a sequence has as many elements as its prefix says, or the encoding fails; depth and empty
//! elements are counted exactly as `read` counts them.

use std::fmt::{self, Display, Formatter};

use serde::ser::{self, Serialize, Serializer};

use crate::output::{Output, Sink};
use crate::{EncodeError, MAX_DEPTH, MAX_EMPTY_ELEMENTS};

/// Writes all of `value`.
#[inline]
pub(super) fn write<T: Serialize + ?Sized, O: Output>(value: &T, out: O) -> Result<O, EncodeError> {
    let engine = ::postcard::Serializer { output: Sink(out) };
    let mut writer = Writer { engine, empty_left: MAX_EMPTY_ELEMENTS };
    match value.serialize(At { writer: &mut writer, depth: MAX_DEPTH }) {
        Ok(()) => Ok(writer.engine.output.0),
        Err(fault) => Err(*fault.0),
    }
}

struct Writer<O: Output> {
    engine: ::postcard::Serializer<Sink<O>>,
    /// Elements without bytes that may still come.
    empty_left: usize,
}

impl<O: Output> Writer<O> {
    #[inline]
    fn position(&self) -> usize {
        self.engine.output.0.position()
    }
}

/// The writer, seen from one level of nesting. The depth is a value and not part of the writer, so that no
/// way out can leave it wrong.
struct At<'w, O: Output> {
    writer: &'w mut Writer<O>,
    /// Levels that may still be entered.
    depth: usize,
}

impl<'w, O: Output> At<'w, O> {
    #[inline]
    fn deeper(self) -> Result<Self, Fault> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { writer: self.writer, depth }),
            None => Err(Fault::new(EncodeError::TooDeep { limit: MAX_DEPTH })),
        }
    }

    #[inline]
    fn elements(self, len: Option<usize>) -> Result<Elements<'w, O>, Fault> {
        let Some(len) = len else {
            return Err(Fault::new(EncodeError::LengthUnknown { codec: super::NAME }));
        };
        let at = self.deeper()?;
        at.writer.engine.serialize_u64(len as u64)?;
        let start = at.writer.position();
        Ok(Elements { at, len, left: len, start })
    }

    /// Writes the index of an enum variant that has contents.
    #[inline]
    fn variant(self, index: u32) -> Result<Self, Fault> {
        let at = self.deeper()?;
        at.writer.engine.serialize_u32(index)?;
        Ok(at)
    }
}

/// Hands a plain value to the engine.
macro_rules! plain {
    ($($method:ident($type:ty))*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Fault> {
                Ok(self.writer.engine.$method(value)?)
            }
        )*
    };
}

impl<'w, O: Output> Serializer for At<'w, O> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Elements<'w, O>;
    type SerializeMap = Elements<'w, O>;
    type SerializeTuple = Fields<'w, O>;
    type SerializeTupleStruct = Fields<'w, O>;
    type SerializeTupleVariant = Fields<'w, O>;
    type SerializeStruct = Fields<'w, O>;
    type SerializeStructVariant = Fields<'w, O>;

    plain! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let at = self.deeper()?;
        at.writer.engine.serialize_u8(1)?;
        value.serialize(at)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Fault> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(self.deeper()?)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        value.serialize(self.variant(index)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'w, O>, Fault> {
        self.elements(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'w, O>, Fault> {
        self.elements(len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Fields<'w, O>, Fault> {
        self.deeper().map(Fields)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields<'w, O>, Fault> {
        self.deeper().map(Fields)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'w, O>, Fault> {
        self.deeper().map(Fields)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'w, O>, Fault> {
        self.variant(index).map(Fields)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields<'w, O>, Fault> {
        self.variant(index).map(Fields)
    }
}

/// The rest of a sequence or map, behind its length prefix.
struct Elements<'w, O: Output> {
    at: At<'w, O>,
    len: usize,
    left: usize,
    start: usize,
}

impl<O: Output> Elements<'_, O> {
    #[inline]
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(At { writer: &mut *self.at.writer, depth: self.at.depth })
    }

    #[inline]
    fn count(&mut self) -> Result<(), Fault> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(ser::Error::custom("a sequence has more elements than it said")),
        }
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        if self.left > 0 {
            return Err(ser::Error::custom("a sequence has fewer elements than it said"));
        }
        let writer = self.at.writer;
        let empty = self.len.saturating_sub(writer.position() - self.start);
        match writer.empty_left.checked_sub(empty) {
            Some(left) => writer.empty_left = left,
            None => {
                return Err(Fault::new(EncodeError::TooLong { len: self.len, limit: MAX_EMPTY_ELEMENTS }));
            }
        }
        Ok(())
    }
}

impl<O: Output> ser::SerializeSeq for Elements<'_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.count()?;
        self.write(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl<O: Output> ser::SerializeMap for Elements<'_, O> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.count()?;
        self.write(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.write(value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

/// The rest of a tuple or struct, whose length is part of its type.
struct Fields<'w, O: Output>(At<'w, O>);

/// The five traits of composites without a length prefix differ in the name of a method and in a key.
macro_rules! fields {
    ($($trait:ident::$method:ident($($key:ty)?))*) => {
        $(
            impl<O: Output> ser::$trait for Fields<'_, O> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? value: &T) -> Result<(), Fault> {
                    value.serialize(At { writer: &mut *self.0.writer, depth: self.0.depth })
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    Ok(())
                }
            }
        )*
    };
}

fields! {
    SerializeTuple::serialize_element()
    SerializeTupleStruct::serialize_field()
    SerializeTupleVariant::serialize_field()
    SerializeStruct::serialize_field(&'static str)
    SerializeStructVariant::serialize_field(&'static str)
}

/// The error on its way up. One word, so that the results of the many small calls stay in a register.
#[derive(Debug)]
struct Fault(Box<EncodeError>);

impl Fault {
    #[cold]
    fn new(error: EncodeError) -> Self {
        Self(Box::new(error))
    }
}

impl From<::postcard::Error> for Fault {
    #[cold]
    fn from(error: ::postcard::Error) -> Self {
        ser::Error::custom(error)
    }
}

impl ser::Error for Fault {
    #[cold]
    fn custom<T: Display>(text: T) -> Self {
        Self::new(EncodeError::Value(text.to_string()))
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
