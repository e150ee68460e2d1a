//! The readable codec.
//!
//! Invariant: what would come back as something else (a NaN, `Some` of nothing) is refused on encoding.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::bounded::{Decoding, Encoding};
use crate::handles::Refusals;
use crate::output::{self, Format, Output, Sink};
use crate::{Codec, DecodeError, EncodeError};

const NAME: &str = "json";

/// JSON, without spaces or line ends: to read along, or to talk to anything.
///
/// Slower and larger than the others; most of all for bytes, which become an array of numbers. Floats come
/// back exactly. NaN, infinities, `Some(None)`, `Some(())` and maps whose keys are neither strings, numbers,
/// booleans nor unit variants cannot be written: encoding them is an error.
///
/// A lone number is the one value for which a truncated input may still be a value; carriers deliver whole
/// messages, so none of them is affected.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, Json};
///
/// let mut out = Vec::new();
/// Json::encode_into(&(Some(1.5), "text", [true]), &mut out)?;
/// assert_eq!(out, br#"[1.5,"text",[true]]"#);
/// assert!(Json::encode_into(&f32::NAN, &mut out).is_err());
/// # Ok::<(), procession_codec::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Json;

impl Codec for Json {
    const NAME: &'static str = NAME;

    fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        output::append::<Self, T>(value, out)
    }

    fn encode_to_slice<T: Serialize + ?Sized>(value: &T, out: &mut [u8]) -> Result<usize, EncodeError> {
        output::fill::<Self, T>(value, out)
    }

    fn encoded_size<T: Serialize + ?Sized>(value: &T) -> Result<usize, EncodeError> {
        output::measure::<Self, T>(value)
    }

    fn decode<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, DecodeError> {
        let refusals = Refusals::watch();
        let decoding = Decoding::new(NAME, input);
        let mut engine = serde_json::Deserializer::from_slice(input);
        // Ours counts more than this one's, which would only stop short of what can be sent.
        engine.disable_recursion_limit();
        let value = T::deserialize(decoding.wrap(&mut engine))
            .map_err(|error| decoding.explain(|| explain(&error, &refusals)))?;
        match input.len() - engine.into_iter::<IgnoredAny>().byte_offset() {
            0 => Ok(value),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

impl Format for Json {
    fn write<T: Serialize + ?Sized, O: Output>(value: &T, out: O) -> Result<O, EncodeError> {
        let encoding = Encoding::new(usize::MAX, true, true);
        let mut engine = serde_json::Serializer::new(Sink(out));
        match value.serialize(encoding.wrap(&mut engine)) {
            Ok(()) => Ok(engine.into_inner().0),
            Err(error) => Err(encoding.explain(|| EncodeError::Value(error.to_string()))),
        }
    }
}

#[cold]
fn explain(error: &serde_json::Error, refusals: &Refusals) -> DecodeError {
    match refusals.last() {
        _ if error.is_eof() => DecodeError::Truncated,
        Some(refusal) if error.is_data() => DecodeError::Handle(refusal),
        _ => DecodeError::Malformed(format!("{NAME}: {error}")),
    }
}
