//! All items of an array, while a thread holds its lock.
//!
//! Invariant: a guard is made by who holds the lock and saw no live lease, and gives the lock back when it is dropped.
//!
//! # Safety
//! As in `array.rs`: nobody else writes while a guard to read is there, and nobody else reads or writes while one to
//! write is.
#![allow(unsafe_code, reason = "leads from a held lock to the items it protects")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::{slice, thread};

use procession_raw::Id;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::futex::SharedPark;

use super::Array;
use crate::Plain;
use crate::domain::Participant;

/// All items of an [`Array`], to read: a slice. Dropping it lets writers in. Stays in its thread.
#[must_use = "the items are given back at once if the guard is not kept"]
pub struct ArrayRead<'a, T: Plain> {
    items: NonNull<T>,
    len: usize,
    array: &'a Array<T>,
    me: Id,
    /// A forked child has a copy of this, and holds nothing.
    epoch: Epoch,
    not_send: PhantomData<*const T>,
}

/// All items of an [`Array`], to write: a slice. Dropping it lets others in; if the thread began to panic meanwhile, the
/// array is no longer [consistent](Array::is_consistent). Stays in its thread.
#[must_use = "the items are given back at once if the guard is not kept"]
pub struct ArrayWrite<'a, T: Plain> {
    items: NonNull<T>,
    len: usize,
    array: &'a Array<T>,
    me: Id,
    epoch: Epoch,
    was_panicking: bool,
    not_send: PhantomData<*mut T>,
}

// SAFETY: through a shared reference to the guard there are only shared references to the items.
unsafe impl<T: Plain> Sync for ArrayRead<'_, T> {}
// SAFETY: as for the guard to read.
unsafe impl<T: Plain> Sync for ArrayWrite<'_, T> {}

impl<'a, T: Plain> ArrayRead<'a, T> {
    /// For who holds the lock to read.
    pub(super) fn new(array: &'a Array<T>, me: Id) -> Self {
        let (items, len) = (array.items, array.len);
        Self { items, len, array, me, epoch: epoch(), not_send: PhantomData }
    }
}

impl<'a, T: Plain> ArrayWrite<'a, T> {
    /// For who holds the lock to write.
    pub(super) fn new(array: &'a Array<T>, me: Id) -> Self {
        let (items, len, was_panicking) = (array.items, array.len, thread::panicking());
        Self { items, len, array, me, epoch: epoch(), was_panicking, not_send: PhantomData }
    }

    /// Says that the items are as they should be: later guards are told nothing of who died or panicked before.
    pub fn mark_consistent(&self) {
        let head = self.array.head();
        // It fails only if somebody has stored over the word.
        let _ = head.lock.mark_consistent(self.me);
        head.forget();
    }

    /// The bytes of all items, to write.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        let items: &mut [T] = self;
        let len = size_of_val(items);
        // SAFETY: the items are plain: they have no padding, and any bytes are values of them.
        unsafe { slice::from_raw_parts_mut(items.as_mut_ptr().cast(), len) }
    }
}

macro_rules! guard {
    ($guard:ident) => {
        impl<T: Plain> $guard<'_, T> {
            /// As [`Array::is_consistent`].
            #[must_use]
            pub fn is_consistent(&self) -> bool {
                self.array.is_consistent()
            }

            /// As [`Array::left_by`].
            #[must_use]
            pub fn left_by(&self) -> Option<Participant> {
                self.array.left_by()
            }

            /// The bytes of all items.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                let items: &[T] = self;
                // SAFETY: the items are plain: all their bytes are initialised, and they are not changed meanwhile.
                unsafe { slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
            }
        }

        impl<T: Plain> Deref for $guard<'_, T> {
            type Target = [T];

            #[inline]
            fn deref(&self) -> &[T] {
                // SAFETY: this thread holds the lock and there is no lease, so nobody writes; the array keeps its
                // memory mapped, with as many items, aligned.
                unsafe { slice::from_raw_parts(self.items.as_ptr(), self.len) }
            }
        }

        impl<T: Plain + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

guard!(ArrayRead);
guard!(ArrayWrite);

impl<T: Plain> DerefMut for ArrayWrite<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: this thread holds the lock to write and there is no lease, so nobody else reads or writes; else as in
        // `deref`.
        unsafe { slice::from_raw_parts_mut(self.items.as_ptr(), self.len) }
    }
}

impl<T: Plain> Drop for ArrayRead<'_, T> {
    fn drop(&mut self) {
        if self.epoch == epoch() {
            // It fails only if somebody has stored over the word.
            let _ = self.array.head().lock.unlock_read(&SharedPark, self.me);
        }
    }
}

impl<T: Plain> Drop for ArrayWrite<'_, T> {
    fn drop(&mut self) {
        if self.epoch != epoch() {
            return;
        }
        let lock = &self.array.head().lock;
        if !self.was_panicking && thread::panicking() {
            let _ = lock.poison(self.me);
        }
        let _ = lock.unlock_write(&SharedPark, self.me);
    }
}
