//! Values of fields, in frames.

use crate::frame::{Frame, Reader};

/// How a value is written: one of these, and the value.
pub(crate) mod tag {
    pub(crate) const BOOL: u8 = 1;
    pub(crate) const I64: u8 = 2;
    pub(crate) const U64: u8 = 3;
    pub(crate) const F64: u8 = 4;
    /// A text that is a value.
    pub(crate) const STR: u8 = 5;
    /// The text of what is no such value.
    pub(crate) const TEXT: u8 = 6;
    pub(crate) const I128: u8 = 7;
    pub(crate) const U128: u8 = 8;
}

/// A value that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'f> {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(&'f str),
    Text(&'f str),
    I128(i128),
    U128(u128),
}

impl<'f> Value<'f> {
    pub(crate) fn read(reader: &mut Reader<'f>) -> Option<Self> {
        Some(match reader.u8()? {
            tag::BOOL => Self::Bool(reader.u8()? != 0),
            tag::I64 => Self::I64(reader.u64()?.cast_signed()),
            tag::U64 => Self::U64(reader.u64()?),
            tag::F64 => Self::F64(f64::from_bits(reader.u64()?)),
            tag::STR => Self::Str(reader.str()?),
            tag::TEXT => Self::Text(reader.str()?),
            tag::I128 => Self::I128(reader.u128()?.cast_signed()),
            tag::U128 => Self::U128(reader.u128()?),
            _ => return None,
        })
    }
}

impl Frame {
    pub(crate) fn word(&mut self, tag: u8, bits: u64) {
        self.u8(tag);
        self.u64(bits);
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn words(&mut self, tag: u8, bits: u128) {
        self.u8(tag);
        self.u128(bits);
    }

    pub(crate) fn value_bool(&mut self, value: bool) {
        self.u8(tag::BOOL);
        self.u8(value.into());
    }

    pub(crate) fn value_str(&mut self, value: &str) {
        self.u8(tag::STR);
        self.str(value);
    }

    pub(crate) fn value_text(&mut self, value: std::fmt::Arguments<'_>) {
        self.u8(tag::TEXT);
        self.text(value);
    }
}
