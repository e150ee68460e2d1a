//! The input of the postcard format: numbers, blocks and lengths, and what is wrong with them.
//!
//! Invariant: a length prefix that the rest of the input cannot hold is refused before anything is built.

use std::fmt::{self, Display, Formatter};

use serde::de::{self, Deserialize};

use crate::limits::Reserve;
use crate::{DecodeError, MAX_EMPTY_ELEMENTS, Tail};

/// What is left of the input, and of the bounds.
pub(super) struct Reader<'de> {
    pub(super) rest: &'de [u8],
    pub(super) reserve: Reserve,
    /// Elements without bytes that may still come.
    pub(super) empty_left: usize,
    /// What follows the rest, until a block has it.
    pub(super) tail: Option<Tail<'de>>,
}

/// A block, where it is.
pub(super) enum Block<'de> {
    Here(&'de [u8]),
    /// Copied together with the tail.
    Whole(Vec<u8>),
}

impl<'de> Reader<'de> {
    pub(super) fn new(input: &'de [u8]) -> Self {
        Self {
            rest: input,
            reserve: Reserve::for_input(input.len()),
            empty_left: MAX_EMPTY_ELEMENTS,
            tail: None,
        }
    }

    /// Reads one number by the engine.
    #[inline]
    pub(super) fn number<T: Deserialize<'de>>(&mut self) -> Result<T, Fault> {
        let (value, rest) = ::postcard::take_from_bytes(self.rest)?;
        self.rest = rest;
        Ok(value)
    }

    #[inline]
    pub(super) fn block(&mut self) -> Result<&'de [u8], Fault> {
        let claimed: u64 = self.number()?;
        let split = usize::try_from(claimed).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((block, rest)) = split else { return Err(self.too_long(claimed)) };
        self.rest = rest;
        Ok(block)
    }

    /// A block that may be the one which has the tail.
    #[inline]
    pub(super) fn block_or_last(&mut self) -> Result<Block<'de>, Fault> {
        let start = self.rest;
        match self.block() {
            Ok(block) => Ok(Block::Here(block)),
            Err(fault) => self.last_block(start).map(Block::Whole).ok_or(fault),
        }
    }

    /// The block from `start` on, if it ends where the tail does.
    #[cold]
    fn last_block(&mut self, start: &'de [u8]) -> Option<Vec<u8>> {
        let (claimed, here) = ::postcard::take_from_bytes::<u64>(start).ok()?;
        let tail = self.tail.take()?;
        if usize::try_from(claimed).ok()?.checked_sub(here.len()) != Some(tail.len()) {
            return None;
        }
        self.rest = &[];
        tail.behind(here)
    }

    #[inline]
    pub(super) fn text(&mut self) -> Result<&'de str, Fault> {
        let start = self.rest;
        str::from_utf8(self.block()?).map_err(|error| {
            self.rest = start;
            de::Error::custom(error)
        })
    }

    /// A length prefix, refused if the rest of the input cannot hold so many elements.
    #[inline]
    pub(super) fn len(&mut self) -> Result<usize, Fault> {
        let claimed: u64 = self.number()?;
        match usize::try_from(claimed) {
            Ok(len) if len <= self.rest.len().saturating_add(self.empty_left) => Ok(len),
            _ => Err(self.too_long(claimed)),
        }
    }

    #[cold]
    pub(super) fn too_long(&self, claimed: u64) -> Fault {
        Fault::new(DecodeError::Length { codec: super::NAME, claimed, remaining: self.rest.len() })
    }
}

/// The error on its way up. One word, so that the results of the many small calls stay small.
#[derive(Debug)]
pub(super) struct Fault(Box<DecodeError>);

impl Fault {
    #[cold]
    pub(super) fn new(error: DecodeError) -> Self {
        Self(Box::new(error))
    }

    /// The error, with where it is: the reader stops at the first one, so that is where it stopped.
    #[cold]
    pub(super) fn located(self, offset: usize) -> DecodeError {
        match *self.0 {
            DecodeError::Malformed(text) => {
                DecodeError::Malformed(format!("{}, byte {offset}: {text}", super::NAME))
            }
            error => error,
        }
    }
}

impl From<::postcard::Error> for Fault {
    #[cold]
    fn from(error: ::postcard::Error) -> Self {
        Self::new(match error {
            ::postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
            other => DecodeError::Malformed(other.to_string()),
        })
    }
}

impl de::Error for Fault {
    #[cold]
    fn custom<T: Display>(text: T) -> Self {
        Self::new(DecodeError::Malformed(text.to_string()))
    }
}

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
