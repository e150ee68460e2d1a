//! What each type of value does with its cell: integers by std's atomic of their type, bools and floats by that of an
//! integer as wide.
//!
//! Invariant: what another process may have stored is a value: a bool is whatever is not 0.
//!
//! # Safety
//! A space stays mapped for writing while it is borrowed; that of an atomic was checked, when the atomic was made or
//! found, to have enough bytes and to be aligned. Nothing in this process makes an ordinary reference to those bytes:
//! handles of this shape touch them only through the cell.
#![allow(unsafe_code, reason = "makes atomics of mapped memory")]

use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Release},
};

use crate::fingerprint::Fingerprint;
use crate::space::Space;

/// Types of which an [`Atomic`](crate::Atomic) can be: integers up to 64 bits, f32, f64, bool.
#[diagnostic::on_unimplemented(
    message = "there is no `Atomic<{Self}>`",
    note = "atomics are of integers up to 64 bits, f32, f64 and bool"
)]
pub trait AtomicValue: sealed::Word {}

/// Those that can be added and compared: all but bool.
pub trait AtomicNumber: AtomicValue + sealed::Number {}

/// Those that are bits: all but floats.
pub trait AtomicBits: AtomicValue + sealed::Bits {}

pub(crate) mod sealed {
    //! The operations, which are not for users: they say `Atomic`.

    use super::{Fingerprint, Space};

    /// How a value lies in its cell.
    pub trait Word: Copy + Send + Sync + 'static {
        /// std's atomic.
        type Cell;
        const SIZE: usize = size_of::<Self::Cell>();
        const FINGERPRINT: Fingerprint;
        /// The cell at the beginning of a space that has its shape.
        fn cell(space: &Space) -> &Self::Cell;
        fn load(cell: &Self::Cell) -> Self;
        fn store(cell: &Self::Cell, value: Self);
        fn swap(cell: &Self::Cell, value: Self) -> Self;
        fn compare_exchange(cell: &Self::Cell, current: Self, new: Self) -> Result<Self, Self>;
    }

    pub trait Number: Word {
        fn fetch_add(cell: &Self::Cell, value: Self) -> Self;
        fn fetch_sub(cell: &Self::Cell, value: Self) -> Self;
        fn fetch_max(cell: &Self::Cell, value: Self) -> Self;
        fn fetch_min(cell: &Self::Cell, value: Self) -> Self;
    }

    pub trait Bits: Word {
        fn fetch_and(cell: &Self::Cell, value: Self) -> Self;
        fn fetch_or(cell: &Self::Cell, value: Self) -> Self;
        fn fetch_xor(cell: &Self::Cell, value: Self) -> Self;
    }
}

/// Compares and exchanges until nobody else was faster.
pub(crate) fn fetch_update<T: sealed::Word>(
    cell: &T::Cell,
    mut change: impl FnMut(T) -> Option<T>,
) -> Result<T, T> {
    let mut before = T::load(cell);
    while let Some(after) = change(before) {
        match T::compare_exchange(cell, before, after) {
            Ok(before) => return Ok(before),
            Err(other) => before = other,
        }
    }
    Err(before)
}

fn always<T: sealed::Word>(cell: &T::Cell, change: impl Fn(T) -> T) -> T {
    fetch_update(cell, |value| Some(change(value))).unwrap_or_else(|value| value)
}

/// `$into` and `$from` go between the value and what lies in the cell.
macro_rules! word {
    ($type:ident, $cell:ident, $into:expr, $from:expr) => {
        impl AtomicValue for $type {}

        impl sealed::Word for $type {
            type Cell = $cell;
            const FINGERPRINT: Fingerprint = {
                let (size, align) = (size_of::<$cell>(), align_of::<$cell>());
                Fingerprint::new("Atomic", size, align).field(
                    "value",
                    0,
                    Fingerprint::new(stringify!($type), size, align),
                )
            };

            fn cell(space: &Space) -> &$cell {
                // SAFETY: the space was checked for this shape, so it is large enough and aligned; it is mapped for
                // writing while it is borrowed; this process touches it with atomics only.
                unsafe { $cell::from_ptr(space.data().cast()) }
            }

            fn load(cell: &$cell) -> Self {
                $from(cell.load(Acquire))
            }

            fn store(cell: &$cell, value: Self) {
                cell.store($into(value), Release);
            }

            fn swap(cell: &$cell, value: Self) -> Self {
                $from(cell.swap($into(value), AcqRel))
            }

            fn compare_exchange(cell: &$cell, current: Self, new: Self) -> Result<Self, Self> {
                cell.compare_exchange($into(current), $into(new), AcqRel, Acquire).map($from).map_err($from)
            }
        }
    };
}

macro_rules! integers {
    ($($type:ident $cell:ident)*) => {$(
        word!($type, $cell, |value| value, |bits| bits);

        impl AtomicNumber for $type {}

        impl sealed::Number for $type {
            fn fetch_add(cell: &$cell, value: Self) -> Self {
                cell.fetch_add(value, AcqRel)
            }

            fn fetch_sub(cell: &$cell, value: Self) -> Self {
                cell.fetch_sub(value, AcqRel)
            }

            fn fetch_max(cell: &$cell, value: Self) -> Self {
                cell.fetch_max(value, AcqRel)
            }

            fn fetch_min(cell: &$cell, value: Self) -> Self {
                cell.fetch_min(value, AcqRel)
            }
        }

        bits!($type, $cell, |value| value, |bits| bits);
    )*};
}

macro_rules! floats {
    ($($type:ident $cell:ident)*) => {$(
        word!($type, $cell, $type::to_bits, $type::from_bits);

        impl AtomicNumber for $type {}

        impl sealed::Number for $type {
            fn fetch_add(cell: &$cell, value: Self) -> Self {
                always(cell, |before: Self| before + value)
            }

            fn fetch_sub(cell: &$cell, value: Self) -> Self {
                always(cell, |before: Self| before - value)
            }

            fn fetch_max(cell: &$cell, value: Self) -> Self {
                always(cell, |before: Self| before.max(value))
            }

            fn fetch_min(cell: &$cell, value: Self) -> Self {
                always(cell, |before: Self| before.min(value))
            }
        }
    )*};
}

macro_rules! bits {
    ($type:ident, $cell:ident, $into:expr, $from:expr) => {
        impl AtomicBits for $type {}

        impl sealed::Bits for $type {
            fn fetch_and(cell: &$cell, value: Self) -> Self {
                $from(cell.fetch_and($into(value), AcqRel))
            }

            fn fetch_or(cell: &$cell, value: Self) -> Self {
                $from(cell.fetch_or($into(value), AcqRel))
            }

            fn fetch_xor(cell: &$cell, value: Self) -> Self {
                $from(cell.fetch_xor($into(value), AcqRel))
            }
        }
    };
}

integers! {
    i8 AtomicI8 u8 AtomicU8 i16 AtomicI16 u16 AtomicU16 i32 AtomicI32 u32 AtomicU32 i64 AtomicI64 u64 AtomicU64
    isize AtomicIsize usize AtomicUsize
}

floats! { f32 AtomicU32 f64 AtomicU64 }

word!(bool, AtomicU8, u8::from, |byte| byte != 0);
bits!(bool, AtomicU8, u8::from, |byte| byte != 0);
