//! The default codec: small, fast, not self-describing.
//!
//! Invariant: the bytes are those of the `postcard` wire format, version 1, so `postcard` itself reads what
//! this writes and the other way round (`tests/wire.rs`). The reader and the writer here do the nesting,
//! the lengths and the bounds; numbers are left to the `postcard` crate.

mod input;
mod read;
mod write;

use serde::{Deserialize, Serialize};

use crate::handles::Refusals;
use crate::output::{self, Format, Output};
use crate::{Codec, DecodeError, EncodeError, Tail};

const NAME: &str = "postcard";

/// The [postcard](https://postcard.jamesmunns.com/) wire format: the default of every carrier.
///
/// Variable-length integers, no names, no types: the smallest and fastest of the three. Both sides must
/// have the same types. It cannot write what does not know its length beforehand (`#[serde(flatten)]`), and
/// cannot read what needs to look at the data first (`untagged`, `flatten`, internally tagged enums, ignored
/// fields): [`EncodeError::LengthUnknown`], [`DecodeError::NotSelfDescribing`]. A field that is left out
/// with `skip_serializing_if` is not noticed by a reader and shifts all that follows: do not use it here.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, Postcard};
///
/// let mut slot = [0; 16];
/// let n = Postcard::encode_to_slice(&(7_u64, "seven"), &mut slot)?;
/// let (number, name): (u64, &str) = Postcard::decode(&slot[..n])?;
/// assert_eq!((number, name, n), (7, "seven", 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Postcard;

impl Codec for Postcard {
    const NAME: &'static str = NAME;

    #[inline]
    fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        output::append::<Self, T>(value, out)
    }

    #[inline]
    fn encode_to_slice<T: Serialize + ?Sized>(value: &T, out: &mut [u8]) -> Result<usize, EncodeError> {
        output::fill::<Self, T>(value, out)
    }

    #[inline]
    fn encoded_size<T: Serialize + ?Sized>(value: &T) -> Result<usize, EncodeError> {
        output::measure::<Self, T>(value)
    }

    #[inline]
    fn decode<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, DecodeError> {
        let refusals = Refusals::watch();
        read::decode(input).map_err(|error| match (error, refusals.last()) {
            (DecodeError::Malformed(_), Some(refusal)) => DecodeError::Handle(refusal),
            (error, _) => error,
        })
    }

    #[inline]
    fn decode_with_tail<'de, T: Deserialize<'de>>(head: &'de [u8], tail: Tail<'de>) -> Option<T> {
        read::decode_with_tail(head, tail)
    }
}

impl Format for Postcard {
    #[inline]
    fn write<T: Serialize + ?Sized, O: Output>(value: &T, out: O) -> Result<O, EncodeError> {
        write::write(value, out)
    }
}
