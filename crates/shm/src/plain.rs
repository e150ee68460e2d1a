//! The mark of types that are nothing but their bytes, and the ways between such a type and bytes.
//!
//! # Safety
//! Everything here rests on the contract of [`Plain`]. It is promised by the implementations in this file for types of
//! the language and of std, and by the derive for structs: its expansion checks that every field is `Plain` and that
//! the fields fill the struct, when the program is compiled, before it calls `__plain`. Another process can write any
//! bytes into shared memory; that is why every bit pattern has to be a value.
#![allow(unsafe_code, reason = "marks types as plain bytes, and reads and writes them as such")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::slice;

use crate::{Fingerprint, Flag};

/// Types that may live in shared memory: nothing but bytes, and any bytes are a value.
///
/// Implemented for integers, floats, `()`, arrays of plain types and `PhantomData`; for structs of such types by
/// `#[derive(Plain)]`, which checks all of the contract and names the field that breaks it. Not for bool, char,
/// references, pointers, tuples and enums: store [`Flag`] or a number.
///
/// # Safety
/// - Every pattern of bits is a value of the type.
/// - All of its bytes belong to values: there is no padding.
/// - It holds no address, so that it means the same in every process.
/// - [`FINGERPRINT`](Plain::FINGERPRINT) tells it from types with another layout.
///
/// # Examples
/// ```
/// use procession_shm::{Flag, Plain};
///
/// #[derive(Clone, Copy, Plain)]
/// struct Particle {
///     place: [f64; 3],
///     charge: i32,
///     fixed: Flag,
///     _padding: [u8; 3],
/// }
/// ```
/// A gap, such as the one that `_padding` fills, is an error when the program is compiled:
/// ```compile_fail
/// #[derive(Clone, Copy, procession_shm::Plain)]
/// struct Pair {
///     key: u32,
///     value: u64,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not live in shared memory: it is not `Plain`",
    label = "not plain bytes",
    note = "plain types are integers, floats, `Flag`, arrays of plain types, and structs that derive `Plain`",
    note = "a struct of yours: add `#[derive(Clone, Copy, Plain)]` to it; anything else: store a number or `[u8; N]`"
)]
pub unsafe trait Plain: Copy + Send + Sync + 'static {
    /// What the type looks like in memory.
    const FINGERPRINT: Fingerprint;
}

/// The bytes of a value, in this machine's order.
///
/// # Examples
/// ```
/// assert_eq!(procession_shm::plain::bytes_of(&[1_u8, 2]), [1, 2]);
/// ```
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` has no padding, so all bytes of the value are initialised, and no interior mutability, as it is
    // `Copy`; the borrow keeps the value where it is.
    unsafe { slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }
}

/// The value that these bytes are; `None` if there are more or fewer than the type has.
///
/// # Examples
/// ```
/// use procession_shm::plain;
/// assert_eq!(plain::from_bytes(&1.5_f64.to_ne_bytes()), Some(1.5));
/// assert_eq!(plain::from_bytes::<u32>(&[1]), None);
/// ```
#[must_use]
pub fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are as many as the type has, and any of them are a value of it; they need no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The value whose bytes are all zero.
///
/// # Examples
/// ```
/// assert_eq!(procession_shm::plain::zeroed::<[u32; 2]>(), [0, 0]);
/// ```
#[must_use]
pub fn zeroed<T: Plain>() -> T {
    // SAFETY: any bytes are a value of a `Plain` type, zeros too.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A value made by `fill`, which gets all of its bytes.
pub(crate) fn filled<T: Plain, E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<T, E> {
    let mut value = zeroed::<T>();
    // SAFETY: all bytes of the value are initialised and stay so, and whatever is written there is a value.
    fill(unsafe { slice::from_raw_parts_mut((&raw mut value).cast(), size_of::<T>()) })?;
    Ok(value)
}

macro_rules! plain {
    ($($type:ident)*) => {$(
        // SAFETY: a number without padding, of which every bit pattern is one (NaNs included).
        unsafe impl Plain for $type {
            const FINGERPRINT: Fingerprint =
                Fingerprint::new(stringify!($type), size_of::<$type>(), align_of::<$type>());
        }
    )*};
}

plain! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 }

// SAFETY: one byte, and `Flag` gives every one a meaning.
unsafe impl Plain for Flag {
    const FINGERPRINT: Fingerprint = Fingerprint::new("Flag", 1, 1);
}

// SAFETY: it has no bytes.
unsafe impl Plain for () {
    const FINGERPRINT: Fingerprint = Fingerprint::new("()", 0, 1);
}

// SAFETY: it has no bytes, and holds nothing of the type that it names.
unsafe impl<T: ?Sized + Send + Sync + 'static> Plain for PhantomData<T> {
    const FINGERPRINT: Fingerprint = Fingerprint::new("PhantomData", 0, 1);
}

// SAFETY: items that follow each other without gaps, each of them plain.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {
    const FINGERPRINT: Fingerprint =
        Fingerprint::new("array", size_of::<Self>(), align_of::<T>()).field("item", N, T::FINGERPRINT);
}

/// Writes the implementation that the derive has proved. The last check is the authority: the fields, which cannot
/// overlap, are together as large as the struct.
#[doc(hidden)]
#[macro_export]
macro_rules! __plain {
    ($type:ident, $fields:ident, $fingerprint:expr $(,)?) => {
        const _: () = $crate::__private::fills(::core::mem::size_of::<$type>(), &$fields);
        // SAFETY: the derive checked that each field is `Plain`, and the line above that there is nothing else.
        #[automatically_derived]
        unsafe impl $crate::Plain for $type {
            const FINGERPRINT: $crate::Fingerprint = $fingerprint;
        }
    };
}

/// What the expansion of the derive calls. Fields are pairs of offset and size.
#[doc(hidden)]
pub mod __private {
    pub use serde;

    /// Fails to evaluate unless another field, or the end of the struct, follows the field `at` without a gap.
    #[track_caller]
    pub const fn no_gap_after(at: usize, fields: &[(usize, usize)], size: usize, text: &str) {
        if has_gap_after(at, fields, size) {
            panic!("{}", text);
        }
    }

    /// Fails to evaluate unless the fields are together as large as the struct. Silent where `no_gap_after` of some
    /// field has failed already, and better.
    #[track_caller]
    pub const fn fills(size: usize, fields: &[(usize, usize)]) {
        let (mut sum, mut at, mut is_known) = (0, 0, false);
        while at < fields.len() {
            sum += fields[at].1;
            is_known |= has_gap_after(at, fields, size);
            at += 1;
        }
        assert!(is_known || sum == size, "the fields do not fill the struct: there is padding in it");
    }

    const fn has_gap_after(at: usize, fields: &[(usize, usize)], size: usize) -> bool {
        let end = fields[at].0 + fields[at].1;
        let mut is_followed = end == size || fields[at].1 == 0;
        let mut other = 0;
        while other < fields.len() {
            is_followed |= fields[other].0 == end && fields[other].1 > 0;
            other += 1;
        }
        !is_followed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn bytes_there_and_back() {
        let value = [0x0102_0304_u32, 5];
        assert_eq!(from_bytes::<[u32; 2]>(bytes_of(&value)), Some(value));
        assert_eq!(from_bytes::<[u32; 2]>(&[0; 9]), None);
        assert_eq!(from_bytes::<()>(&[]), Some(()));
        // From an odd address.
        assert_eq!(
            from_bytes::<u64>(&[9, 1, 0, 0, 0, 0, 0, 0, 0][1..]),
            Some(u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        );
        let answer = filled::<u32, ()>(|bytes| {
            bytes.copy_from_slice(&7_u32.to_ne_bytes());
            Ok(())
        });
        assert_eq!(answer, Ok(7));
        assert_eq!(filled::<u32, _>(|_| Err("no")), Err("no"));
    }

    #[test]
    fn fingerprints_of_arrays_count_items() {
        let prints =
            [<[u8; 2]>::FINGERPRINT, <[u8; 3]>::FINGERPRINT, <[i8; 2]>::FINGERPRINT, <[u16; 1]>::FINGERPRINT];
        for (at, one) in prints.iter().enumerate() {
            assert!(!prints[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn a_gap_is_found_where_it_is() {
        let gap = |at, fields: &[(usize, usize)], size| {
            let fields = fields.to_vec();
            catch_unwind(move || __private::no_gap_after(at, &fields, size, "gap")).is_err()
        };
        // u32 before u64: after the first.
        assert!(gap(0, &[(0, 4), (8, 8)], 16));
        assert!(!gap(1, &[(0, 4), (8, 8)], 16));
        // At the end, in any order of fields.
        assert!(gap(0, &[(8, 4), (0, 8)], 16));
        assert!(!gap(1, &[(8, 4), (0, 8)], 16));
        // Fields without size neither need a follower nor are one.
        assert!(!gap(1, &[(0, 4), (2, 0)], 4));
        assert!(gap(0, &[(0, 4), (4, 0), (8, 8)], 16));
        // A gap before all fields, and nothing but a gap.
        assert!(catch_unwind(|| __private::fills(8, &[(4, 4)])).is_err());
        assert!(catch_unwind(|| __private::fills(8, &[(0, 0)])).is_err());
        __private::fills(8, &[(4, 4), (0, 4), (0, 0)]);
        __private::fills(0, &[]);
    }
}
