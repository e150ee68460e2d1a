//! Why an encoded value could not be made, read or replaced.

use std::error::Error;
use std::fmt::{self, Display, Formatter};

use procession_codec::{DecodeError, EncodeError};

use crate::error::ShmError;
use crate::value::ValueError;

/// Why something with an [`Encoded`](crate::Encoded) value failed. The value is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodedError {
    /// The encoding has more bytes than there is room for.
    TooLarge {
        /// How many bytes it has.
        len: usize,
        /// How many it may have.
        capacity: usize,
    },
    /// The value could not be encoded: most often because it holds a handle.
    Encode(EncodeError),
    /// The lock was not taken.
    Lock(ValueError),
    /// What is in the memory is no value of this type: somebody wrote over it.
    Decode(DecodeError),
    /// The length in the memory is more than there is room for: somebody wrote over it.
    Damaged {
        /// The length.
        len: u64,
        /// How many bytes there are.
        capacity: usize,
    },
    /// The memory could not be had.
    Memory(ShmError),
}

impl Display for EncodedError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, capacity } => {
                write!(f, "the encoded value takes {len} bytes, and there is room for {capacity}")
            }
            Self::Encode(error) => write!(f, "encoding a shared value: {error}"),
            Self::Lock(error) => error.fmt(f),
            Self::Decode(error) => write!(f, "decoding a shared value: {error}"),
            Self::Damaged { len, capacity } => {
                write!(f, "the shared value claims {len} bytes of {capacity}: somebody wrote over it")
            }
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl Error for EncodedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Lock(error) => Some(error),
            Self::Decode(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::TooLarge { .. } | Self::Damaged { .. } => None,
        }
    }
}

impl From<EncodeError> for EncodedError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for EncodedError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<ValueError> for EncodedError {
    fn from(error: ValueError) -> Self {
        Self::Lock(error)
    }
}

impl From<ShmError> for EncodedError {
    fn from(error: ShmError) -> Self {
        Self::Memory(error)
    }
}
