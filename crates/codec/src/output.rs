//! Where encoded bytes go, and the three ways to run an encoding, written once for all formats.
//!
//! Invariants: outputs never fail. A slice that is full goes on counting, so that one pass yields the exact
//! size needed. Whatever fails leaves output and handle table as they were (held by `tests/contract.rs` and
//! `tests/handles.rs`).

use std::io;

use serde::Serialize;

use crate::EncodeError;
use crate::handles::Attempt;
use crate::pieces;

/// A format that can write a value to any output.
pub(crate) trait Format {
    /// Writes `value`, and gives the output back for its count.
    fn write<T: Serialize + ?Sized, O: Output>(value: &T, out: O) -> Result<O, EncodeError>;
}

/// [`Codec::encode_into`](crate::Codec::encode_into) for any format.
pub(crate) fn append<F: Format, T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let attempt = Attempt::start();
    let mut undo = Undo { len: out.len(), out };
    let result = F::write(value, Append(&mut *undo.out)).map(drop);
    if result.is_ok() {
        undo.len = undo.out.len();
    }
    drop(undo);
    finish(attempt, result)
}

/// [`Codec::encode_to_slice`](crate::Codec::encode_to_slice) for any format.
pub(crate) fn fill<F: Format, T: Serialize + ?Sized>(
    value: &T,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let attempt = Attempt::start();
    let room = out.len();
    let result = F::write(value, Fill { out, needed: 0 }).and_then(|fill| match fill.needed {
        needed if needed > room => Err(EncodeError::TooSmall { needed }),
        written => Ok(written),
    });
    finish(attempt, result)
}

/// [`Codec::encoded_size`](crate::Codec::encoded_size) for any format.
pub(crate) fn measure<F: Format, T: Serialize + ?Sized>(value: &T) -> Result<usize, EncodeError> {
    let attempt = Attempt::start();
    match F::write(value, Measure(0)) {
        // Not `finish`: what a measurement put into the handle table goes out again.
        Ok(Measure(size)) => Ok(size),
        Err(error) => finish(attempt, Err(error)),
    }
}

/// Keeps the handles of a success. A failure that a handle caused is named after it: serde hands on texts
/// only, so the table remembers the error itself.
fn finish<T>(attempt: Attempt, result: Result<T, EncodeError>) -> Result<T, EncodeError> {
    match result {
        Ok(value) => {
            attempt.keep();
            Ok(value)
        }
        Err(EncodeError::Value(text)) => match attempt.refusal() {
            Some(refusal) => Err(EncodeError::Handle(refusal)),
            None => Err(EncodeError::Value(text)),
        },
        Err(error) => Err(error),
    }
}

/// A place for bytes.
pub(crate) trait Output {
    fn push(&mut self, byte: u8);
    fn extend(&mut self, bytes: &[u8]);
    /// A count that grows by one for each byte.
    fn position(&self) -> usize;
}

struct Append<'a>(&'a mut Vec<u8>);

impl Output for Append<'_> {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.0.push(byte);
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        pieces::append(self.0, bytes);
    }

    #[inline]
    fn position(&self) -> usize {
        self.0.len()
    }
}

/// Once a piece did not fit, `needed` is past the end and nothing fits any more.
struct Fill<'a> {
    out: &'a mut [u8],
    needed: usize,
}

impl Output for Fill<'_> {
    #[inline]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.needed) {
            *place = byte;
        }
        self.needed += 1;
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        let end = self.needed + bytes.len();
        if let Some(place) = self.out.get_mut(self.needed..end) {
            pieces::copy(place, bytes);
        }
        self.needed = end;
    }

    #[inline]
    fn position(&self) -> usize {
        self.needed
    }
}

struct Measure(usize);

impl Output for Measure {
    #[inline]
    fn push(&mut self, _byte: u8) {
        self.0 += 1;
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline]
    fn position(&self) -> usize {
        self.0
    }
}

/// Truncates what an error or a panic left behind.
struct Undo<'a> {
    out: &'a mut Vec<u8>,
    len: usize,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.len);
    }
}

/// An output in the shape that the engines want.
pub(crate) struct Sink<O>(pub(crate) O);

impl<O: Output> ::postcard::ser_flavors::Flavor for Sink<O> {
    type Output = O;

    #[inline]
    fn try_push(&mut self, byte: u8) -> ::postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> ::postcard::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn finalize(self) -> ::postcard::Result<O> {
        Ok(self.0)
    }
}

impl<O: Output> io::Write for Sink<O> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
