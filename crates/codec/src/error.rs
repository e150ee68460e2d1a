//! What encoding and decoding can fail with, for all codecs alike.
//!
//! Invariant: every variant says what was wrong with *this* value or *this* input; nothing here wraps an
//! error type of an underlying serialization crate, so that a codec can change its engine without
//! breaking a `match`.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use crate::handles::HandleError;

/// Why a value could not be encoded.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// The slice is too short. Nothing was kept in the handle table, so the caller may retry with a longer one.
    TooSmall {
        /// Bytes that the whole value takes, exactly.
        needed: usize,
    },
    /// A handle inside the value cannot travel.
    Handle(HandleError),
    /// The value refused to be serialized, or the format has no way to write it. The text is serde's.
    Value(String),
    /// The value is nested deeper than a receiver would accept.
    TooDeep {
        /// The greatest depth that is accepted, [`MAX_DEPTH`](crate::MAX_DEPTH).
        limit: usize,
    },
    /// A sequence, map, string or block is longer than the format or a receiver allows.
    TooLong {
        /// Elements or bytes of the offending part.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The codec writes lengths first, and a sequence or map inside the value does not know its own.
    LengthUnknown {
        /// [`Codec::NAME`](crate::Codec::NAME).
        codec: &'static str,
    },
}

impl Display for EncodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { needed } => {
                write!(f, "the encoded value needs {needed} bytes, more than the slice has")
            }
            Self::Handle(error) => write!(f, "encoding a handle: {error}"),
            Self::Value(text) => write!(f, "encoding the value: {text}"),
            Self::TooDeep { limit } => write!(f, "the value is nested deeper than {limit} levels"),
            Self::TooLong { len, limit } => {
                write!(f, "a part of the value has length {len}, and at most {limit} can be received")
            }
            Self::LengthUnknown { codec } => {
                write!(f, "{codec} writes lengths first, and a part of the value does not know its length")
            }
        }
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Handle(error) => Some(error),
            _ => None,
        }
    }
}

/// Why an input could not be decoded.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ends in the middle of the value.
    Truncated,
    /// The value ended before the input did.
    Trailing {
        /// Bytes left over.
        extra: usize,
    },
    /// A length prefix claims more than the rest of the input can hold.
    Length {
        /// [`Codec::NAME`](crate::Codec::NAME).
        codec: &'static str,
        /// Elements or bytes claimed.
        claimed: u64,
        /// Bytes that were left. Where the codec does not know its position: the length of the whole input.
        remaining: usize,
    },
    /// The input is nested deeper than is accepted.
    TooDeep {
        /// The greatest depth that is accepted, [`MAX_DEPTH`](crate::MAX_DEPTH).
        limit: usize,
    },
    /// A handle inside the value did not come along.
    Handle(HandleError),
    /// The bytes are no value of the wanted type. The text names the codec and, where known, the offset.
    Malformed(String),
    /// The wanted type must be told by the input what comes next (untagged and flattened types, ignored
    /// fields), and the codec does not write that down.
    NotSelfDescribing {
        /// [`Codec::NAME`](crate::Codec::NAME).
        codec: &'static str,
    },
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the input ends in the middle of the value"),
            Self::Trailing { extra } => write!(f, "{extra} bytes are left over after the value"),
            Self::Length { codec, claimed, remaining } => {
                write!(f, "{codec}: a length prefix claims {claimed}, and at most {remaining} bytes are left")
            }
            Self::TooDeep { limit } => write!(f, "the input is nested deeper than {limit} levels"),
            Self::Handle(error) => write!(f, "decoding a handle: {error}"),
            Self::Malformed(text) => write!(f, "malformed input: {text}"),
            Self::NotSelfDescribing { codec } => {
                write!(f, "{codec} does not describe its values, and the wanted type needs that")
            }
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Handle(error) => Some(error),
            _ => None,
        }
    }
}
