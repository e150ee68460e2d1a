//! The compact self-describing codec.
//!
//! Invariant: structs are written as maps with names, so that types which look at the data first (untagged,
//! flattened, internally tagged) and types that gained or lost fields can be read.

use rmp_serde::decode::Error as Engine;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};

use crate::bounded::{Decoding, Encoding};
use crate::handles::Refusals;
use crate::output::{self, Format, Output, Sink};
use crate::{Codec, DecodeError, EncodeError, MAX_DEPTH};

const NAME: &str = "message pack";

/// [MessagePack](https://msgpack.org) with named fields: self-describing and still compact.
///
/// For types that [`Postcard`](crate::Postcard) cannot carry (`untagged`, `flatten`), for sides that were
/// built at different times (unknown fields are skipped, `#[serde(default)]` fills in), and for programs in
/// other languages.
///
/// The format writes `None` and `()` alike, so `Some(None)` and `Some(())` would arrive as `None`: encoding
/// them is an error. One part of a message holds at most 2³²−1 bytes or elements.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, MessagePack};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize)]
/// struct New { id: u32, note: String }
/// #[derive(Deserialize)]
/// struct Old { id: u32 }
///
/// let mut out = Vec::new();
/// MessagePack::encode_into(&New { id: 7, note: "added later".into() }, &mut out)?;
/// assert_eq!(MessagePack::decode::<Old>(&out)?.id, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MessagePack;

impl Codec for MessagePack {
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
        let mut engine = rmp_serde::Deserializer::from_read_ref(input);
        // It counts a part of what we count, so this is never what stops it.
        engine.set_max_depth(2 * MAX_DEPTH);
        let value = T::deserialize(decoding.wrap(&mut engine))
            .map_err(|error| decoding.explain(|| explain(&error, &refusals)))?;
        match Probe::deserialize(&mut engine) {
            Err(Engine::InvalidMarkerRead(_)) => Ok(value),
            _ => Err(DecodeError::Trailing { extra: extra(input) }),
        }
    }
}

impl Format for MessagePack {
    fn write<T: Serialize + ?Sized, O: Output>(value: &T, out: O) -> Result<O, EncodeError> {
        let encoding = Encoding::new(u32::MAX as usize, false, false);
        let mut engine = rmp_serde::Serializer::new(Sink(out)).with_struct_map();
        match value.serialize(encoding.wrap(&mut engine)) {
            Ok(()) => Ok(engine.into_inner().0),
            Err(error) => Err(encoding.explain(|| EncodeError::Value(error.to_string()))),
        }
    }
}

#[cold]
fn explain(error: &Engine, refusals: &Refusals) -> DecodeError {
    match (error, refusals.last()) {
        (Engine::InvalidMarkerRead(_) | Engine::InvalidDataRead(_), _) => DecodeError::Truncated,
        (Engine::Syntax(_), Some(refusal)) => DecodeError::Handle(refusal),
        (error, _) => DecodeError::Malformed(format!("{NAME}: {error}")),
    }
}

/// Bytes behind the first value. The engine that decoded it does not say where it stands, but one that
/// copies does; so the value, which is known to be good, is skipped once more.
#[cold]
fn extra(input: &[u8]) -> usize {
    let mut engine = rmp_serde::Deserializer::new(std::io::Cursor::new(input));
    engine.set_max_depth(2 * MAX_DEPTH);
    let skipped = IgnoredAny::deserialize(&mut engine).is_ok();
    let end = usize::try_from(engine.position()).unwrap_or(0);
    // At least one, as the caller saw it: a type that reads nothing leaves a whole value behind.
    if skipped && end < input.len() { input.len() - end } else { input.len().max(1) }
}

/// Reads the first byte of a further value and nothing more.
struct Probe;

impl<'de> Deserialize<'de> for Probe {
    fn deserialize<D: Deserializer<'de>>(engine: D) -> Result<Self, D::Error> {
        struct Nothing;
        impl<'de> Deserialize<'de> for Nothing {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Ok(Self)
            }
        }
        Option::<Nothing>::deserialize(engine).map(|_| Self)
    }
}
