//! The trait that all carriers are generic over, and the word for what they carry.
//!
//! Invariant of every implementation: a value that encodes without error decodes without error to an equal
//! value, in a process that runs the same types. `tests/contract.rs` holds each implementation to it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{DecodeError, EncodeError, Tail};

/// A value that can be sent to another process: anything serde can write and read back as an owned value.
///
/// Implemented for every such type; there is nothing to implement by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "not serializable",
    note = "derive `serde::Serialize` and `serde::Deserialize` for it; it must own its data"
)]
pub trait Message: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Message for T {}

/// How values become bytes and bytes become values again.
///
/// No function blocks, and none keeps state between calls, with one exception: handles inside the value
/// (see [`handles`](crate::handles)) go to and come from the handle table of the current thread.
///
/// # Implementing
///
/// The three implementations here are meant to be enough. One of your own wraps each encoding in
/// [`handles::attempt`](crate::handles::attempt) and keeps the bounds [`MAX_DEPTH`](crate::MAX_DEPTH) and
/// "no allocation that the input does not pay for" itself.
///
/// # Panics
///
/// No function panics by itself. A panic in a `Serialize` or `Deserialize` implementation passes through and
/// leaves output and handle table as on an error.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, Json, Postcard};
///
/// fn size<C: Codec>(value: &[u32]) -> usize {
///     let mut out = Vec::new();
///     C::encode_into(value, &mut out).unwrap();
///     assert_eq!(C::decode::<Vec<u32>>(&out).unwrap(), value);
///     out.len()
/// }
/// assert_eq!(size::<Postcard>(&[1, 2, 300]), 5);
/// assert_eq!(size::<Json>(&[1, 2, 300]), 9);
/// ```
pub trait Codec: Copy + Default + Send + Sync + 'static {
    /// The name in error messages and handshakes, such as `"postcard"`.
    const NAME: &'static str;

    /// Appends the encoded `value` to `out`.
    ///
    /// # Errors
    ///
    /// Any [`EncodeError`] but `TooSmall`. `out` is then truncated to its former length, and handles that
    /// this call put into the table are taken out and rolled back.
    fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Writes the encoded `value` to the start of `out` and returns how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooSmall`] with the exact size that is needed, if `out` is shorter than that; or any
    /// other. The contents of `out` are then unspecified, and the handle table is as it was.
    fn encode_to_slice<T: Serialize + ?Sized>(value: &T, out: &mut [u8]) -> Result<usize, EncodeError>;

    /// The exact number of bytes that `value` takes, without writing any.
    ///
    /// This runs the whole serialization, and so costs about as much as encoding: prefer
    /// [`encode_to_slice`](Self::encode_to_slice) into a slice that probably suffices. The handle table is
    /// left as it was.
    ///
    /// # Errors
    ///
    /// As [`encode_into`](Self::encode_into); also for handles outside of any scope.
    fn encoded_size<T: Serialize + ?Sized>(value: &T) -> Result<usize, EncodeError>;

    /// Reads one value, which must be all of `input`. Strings and blocks may borrow from it.
    ///
    /// Safe on bytes from anyone: memory stays in proportion to the input and to the in-memory size of the
    /// wanted type's elements, stack is bounded, time is linear.
    ///
    /// # Errors
    ///
    /// Any [`DecodeError`]. What was decoded until then is dropped, and handles it had taken are closed.
    fn decode<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, DecodeError>;

    /// Reads one value of which only the beginning is at hand, if all the `tail` is the end of its last block, such as of
    /// [`Bytes`](crate::Bytes): that is copied to where it stays, and nowhere else before.
    ///
    /// `None` if it is not so, if the value is in error, or if the codec cannot do it, which is the default. Whoever asks
    /// then [decodes](Self::decode) the whole. As that may be a second attempt, this is for values without handles.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_codec::{Bytes, Codec, Postcard, Tail};
    ///
    /// let mut all = Vec::new();
    /// Postcard::encode_into(&("logo.png", Bytes::from(vec![7; 4096])), &mut all)?;
    /// let (head, rest) = all.split_at(64);
    /// let append = |bytes: &mut Vec<u8>| {
    ///     bytes.extend_from_slice(rest);
    ///     true
    /// };
    /// let value = Postcard::decode_with_tail::<(String, Bytes)>(head, Tail::new(rest.len(), &append));
    /// assert_eq!(value, Some(("logo.png".to_owned(), Bytes::from(vec![7; 4096]))));
    /// # Ok::<(), procession_codec::EncodeError>(())
    /// ```
    #[inline]
    fn decode_with_tail<'de, T: Deserialize<'de>>(_head: &'de [u8], _tail: Tail<'de>) -> Option<T> {
        None
    }
}
