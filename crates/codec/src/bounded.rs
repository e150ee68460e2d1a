//! Bounds around an engine that has none, or not all: what `MessagePack` and `Json` share.
//!
//! An engine of another crate is wrapped twice, as a `Serializer` (`ser`) and as a `Deserializer` (`de`).
//! Everything passes through to it but nesting, lengths and reservations.
//!
//! Why the engines' own bounds do not suffice: `rmp-serde` counts arrays and maps but not enums, options or
//! newtypes, and reserves what a length prefix asks for, up to a megabyte each time. `serde_json` counts
//! objects and arrays, but a recursive newtype of an option recurses without end on any input. Both change
//! values on the way without an error (`Some(None)`, and NaN in JSON), which encoding refuses here.
//!
//! Invariants: depth is a value that is handed down, so no way out can leave it wrong. An error that is ours
//! is noted, because on its way through the engine it becomes a text.

mod de;
mod ser;
mod visit;

use std::cell::RefCell;

use crate::limits::Reserve;
use crate::{DecodeError, EncodeError, MAX_DEPTH};

/// One encoding: what the format cannot write, and the first error that was ours.
#[derive(Debug)]
pub(crate) struct Encoding {
    /// The longest sequence, map, string or block that the format's prefixes can say.
    pub(crate) max_len: usize,
    /// Whether the format has no NaN and no infinities.
    pub(crate) finite: bool,
    /// Whether a unit struct is written as the same nothing as `None`.
    pub(crate) unit_struct_is_null: bool,
    fault: RefCell<Option<EncodeError>>,
}

impl Encoding {
    pub(crate) fn new(max_len: usize, finite: bool, unit_struct_is_null: bool) -> Self {
        Self { max_len, finite, unit_struct_is_null, fault: RefCell::new(None) }
    }

    /// The engine wrapped for the whole of this encoding.
    pub(crate) fn wrap<S>(&self, engine: S) -> ser::Bounded<'_, S> {
        ser::Bounded { engine, encoding: self, depth: MAX_DEPTH, in_some: false }
    }

    /// Our error, or else the engine's.
    pub(crate) fn explain(&self, engine: impl FnOnce() -> EncodeError) -> EncodeError {
        self.fault.take().unwrap_or_else(engine)
    }

    #[cold]
    fn fail<E: serde::ser::Error>(&self, error: EncodeError) -> E {
        let text = E::custom(&error);
        self.fault.replace(Some(error));
        text
    }

    fn deeper<E: serde::ser::Error>(&self, depth: usize) -> Result<usize, E> {
        depth.checked_sub(1).ok_or_else(|| self.fail(EncodeError::TooDeep { limit: MAX_DEPTH }))
    }

    fn check_len<E: serde::ser::Error>(&self, len: usize) -> Result<(), E> {
        if len > self.max_len {
            return Err(self.fail(EncodeError::TooLong { len, limit: self.max_len }));
        }
        Ok(())
    }

    fn check_finite<E: serde::ser::Error>(&self, finite: bool) -> Result<(), E> {
        if self.finite && !finite {
            return Err(E::custom("the format has no NaN and no infinity"));
        }
        Ok(())
    }
}

/// One decoding: how long its input is, what may still be reserved, and the first error that was ours.
#[derive(Debug)]
pub(crate) struct Decoding {
    codec: &'static str,
    input: usize,
    reserve: RefCell<Reserve>,
    fault: RefCell<Option<DecodeError>>,
}

impl Decoding {
    pub(crate) fn new(codec: &'static str, input: &[u8]) -> Self {
        let reserve = RefCell::new(Reserve::for_input(input.len()));
        Self { codec, input: input.len(), reserve, fault: RefCell::new(None) }
    }

    /// The engine wrapped for the whole of this decoding.
    pub(crate) fn wrap<D>(&self, engine: D) -> de::Bounded<'_, D> {
        de::Bounded { engine, decoding: self, depth: MAX_DEPTH }
    }

    /// Our error, or else the engine's.
    pub(crate) fn explain(&self, engine: impl FnOnce() -> DecodeError) -> DecodeError {
        self.fault.take().unwrap_or_else(engine)
    }

    #[cold]
    fn fail<E: serde::de::Error>(&self, error: DecodeError) -> E {
        let text = E::custom(&error);
        self.fault.replace(Some(error));
        text
    }

    fn deeper<E: serde::de::Error>(&self, depth: usize) -> Result<usize, E> {
        depth.checked_sub(1).ok_or_else(|| self.fail(DecodeError::TooDeep { limit: MAX_DEPTH }))
    }

    /// For how many elements a visitor may reserve memory, if it is `claimed` that there are so many. Each
    /// element takes a byte at least in the formats that come this way.
    fn grant<E: serde::de::Error>(&self, claimed: Option<usize>) -> Result<Option<usize>, E> {
        let Some(len) = claimed else { return Ok(None) };
        if len > self.input {
            let claimed = len as u64;
            return Err(self.fail(DecodeError::Length { codec: self.codec, claimed, remaining: self.input }));
        }
        Ok(Some(self.reserve.borrow_mut().grant(len)))
    }
}
