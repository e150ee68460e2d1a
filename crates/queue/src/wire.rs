//! How values become the bytes of a message.

use std::os::fd::OwnedFd;

use procession_codec::handles::{self, HandleError, Outgoing};
use procession_codec::{Bytes, Codec, DecodeError, EncodeError, Message, Tail};
use procession_shm::Plain;
use procession_shm::plain::{bytes_of, from_bytes};

use crate::slot::{INLINE, Small};

/// How values of type `T` travel in a queue: by a [`Codec`], or as they are in memory.
///
/// Every codec is one for every [`Message`]. [`AsPlain`] and [`AsBytes`] skip the codec. Sealed.
pub trait Wire<T>: sealed::Sealed {
    /// Appends the bytes of the value to `out`.
    ///
    /// # Errors
    /// As [`Codec::encode_into`].
    fn put(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// The value of these bytes, which are all of a message.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    fn get(bytes: &[u8]) -> Result<T, DecodeError>;

    /// The value of bytes that nobody else needs.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_owned(bytes: Vec<u8>) -> Result<T, DecodeError> {
        Self::get(&bytes)
    }

    /// [`put`](Self::put) with the handles in the value.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    #[inline]
    fn put_with_handles(value: &T, out: &mut Vec<u8>) -> Result<Outgoing, EncodeError> {
        Self::put(value, out).map(|()| Outgoing::default())
    }

    /// [`get`](Self::get) with the descriptors that came with the bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_with(_bytes: &[u8], _descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
        Err(DecodeError::Handle(HandleError::NotCarried))
    }

    /// Writes the bytes of the value to the start of `out`, and says how many, with the handles in the value.
    ///
    /// # Errors
    /// As [`Codec::encode_to_slice`].
    #[doc(hidden)]
    fn fill_with_handles(value: &T, out: &mut [u8]) -> Result<(usize, Outgoing), EncodeError>;

    /// How many bytes the value takes, if that is known without the codec.
    #[doc(hidden)]
    #[inline]
    fn length(_value: &T) -> Option<usize> {
        None
    }

    /// The value of a message of which `head` is the beginning, if it can be had like that: see
    /// [`Codec::decode_with_tail`].
    #[doc(hidden)]
    #[inline]
    fn get_with_tail(_head: &[u8], _tail: Tail<'_>) -> Option<T> {
        None
    }

    /// Whether [`get_owned`](Self::get_owned) keeps the bytes.
    const KEEPS: bool = false;

    /// The longest message that may lie in a slot.
    #[doc(hidden)]
    const SMALL: usize = INLINE;

    /// Whether [`pack`](Self::pack) answers something, for every value.
    #[doc(hidden)]
    const PACKS: bool = false;

    /// The value as it lies in a slot, if that is known without the codec.
    #[doc(hidden)]
    #[inline(always)]
    fn pack(_value: &T) -> Option<Small> {
        None
    }

    /// The value of what lay in a slot.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[doc(hidden)]
    #[inline]
    fn unpack(small: &Small) -> Result<T, DecodeError> {
        small.with(Self::get)
    }
}

/// [`Plain`] values as they lie in memory: the fastest way for numbers and structs of numbers.
///
/// # Examples
/// ```
/// use procession_queue::{AsPlain, bounded_as};
///
/// let (tx, rx) = bounded_as::<[f64; 3], AsPlain>(100, 4096)?;
/// tx.send([1.0, 2.0, 3.0])?;
/// assert_eq!(rx.recv()?[2], 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsPlain;

/// Bytes as they are, without a length before them; what loans are made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsBytes;

mod sealed {
    use procession_codec::Codec;

    pub trait Sealed {}
    impl<C: Codec> Sealed for C {}
    impl Sealed for super::AsPlain {}
    impl Sealed for super::AsBytes {}
}

impl<T: Message, C: Codec> Wire<T> for C {
    #[inline]
    fn put(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // A message of another carrier may be under way in this thread, whose handles are not ours.
        handles::refuse(|| C::encode_into(value, out))
    }

    #[inline]
    fn get(bytes: &[u8]) -> Result<T, DecodeError> {
        handles::refuse(|| C::decode(bytes))
    }

    #[inline]
    fn put_with_handles(value: &T, out: &mut Vec<u8>) -> Result<Outgoing, EncodeError> {
        handles::collect(|| C::encode_into(value, out)).map(|((), outgoing)| outgoing)
    }

    fn fill_with_handles(value: &T, out: &mut [u8]) -> Result<(usize, Outgoing), EncodeError> {
        handles::collect(|| C::encode_to_slice(value, out))
    }

    fn get_with_tail(head: &[u8], tail: Tail<'_>) -> Option<T> {
        handles::refuse(|| C::decode_with_tail(head, tail))
    }

    fn get_with(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, DecodeError> {
        handles::supply(descriptors, || C::decode(bytes))
    }
}

impl<T: Plain> Wire<T> for AsPlain {
    const SMALL: usize = size_of::<T>();
    const PACKS: bool = size_of::<T>() <= INLINE;

    #[inline(always)]
    fn pack(value: &T) -> Option<Small> {
        Small::new(bytes_of(value))
    }

    #[inline]
    fn put(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(bytes_of(value));
        Ok(())
    }

    fn fill_with_handles(value: &T, out: &mut [u8]) -> Result<(usize, Outgoing), EncodeError> {
        fill(bytes_of(value), out)
    }

    fn length(_value: &T) -> Option<usize> {
        Some(size_of::<T>())
    }

    #[inline]
    fn get(bytes: &[u8]) -> Result<T, DecodeError> {
        from_bytes(bytes).ok_or_else(|| wrong_length(bytes.len(), size_of::<T>()))
    }
}

#[cold]
fn wrong_length(found: usize, expected: usize) -> DecodeError {
    match found.checked_sub(expected) {
        Some(extra) => DecodeError::Trailing { extra },
        None => DecodeError::Truncated,
    }
}

fn fill(bytes: &[u8], out: &mut [u8]) -> Result<(usize, Outgoing), EncodeError> {
    let place = out.get_mut(..bytes.len()).ok_or(EncodeError::TooSmall { needed: bytes.len() })?;
    place.copy_from_slice(bytes);
    Ok((bytes.len(), Outgoing::default()))
}

impl Wire<Bytes> for AsBytes {
    #[inline]
    fn put(value: &Bytes, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn fill_with_handles(value: &Bytes, out: &mut [u8]) -> Result<(usize, Outgoing), EncodeError> {
        fill(value, out)
    }

    fn length(value: &Bytes) -> Option<usize> {
        Some(value.len())
    }

    fn get(bytes: &[u8]) -> Result<Bytes, DecodeError> {
        Ok(Bytes::from(bytes.to_vec()))
    }

    fn get_owned(bytes: Vec<u8>) -> Result<Bytes, DecodeError> {
        Ok(Bytes::from(bytes))
    }

    const KEEPS: bool = true;
}
