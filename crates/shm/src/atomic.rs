//! One number in shared memory that several processes change at once.
//!
//! Invariant: the number is touched with atomic instructions of its own width only, from its first byte on, in every
//! process that has it.
//!
//! # Safety
//! What makes this type `Shared` is said at its shape.
#![allow(unsafe_code, reason = "is laid out in shared memory")]

mod value;

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ShmError;
use crate::shape::Shape;
use crate::space::{self, Shared, Space};

pub use value::{AtomicBits, AtomicNumber, AtomicValue};

/// A number or a bool in shared memory, changed by atomic instructions: no locks, no waiting, nothing to recover.
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same value. `Send` and `Sync`.
/// Each has a page of memory, a descriptor and a mapping of its own; many share those as an array, or as fields of a
/// struct that is [`Shared`].
///
/// For integers up to 64 bits, f32, f64 and bool ([`AtomicValue`]). A load acquires, a store releases, everything else
/// does both; nothing is sequentially consistent, so two atomics that are changed by different processes may be seen to
/// change in different orders.
///
/// # If a peer dies
/// Each change is there or is not; the value stays as the last one left it.
///
/// # Examples
/// ```
/// use procession_shm::Atomic;
/// let hits = Atomic::new(0_u64)?;
/// let other = hits.clone(); // or received from a pipe
/// other.fetch_add(2);
/// assert_eq!(hits.fetch_add(1), 2);
/// assert_eq!(hits.load(), 3);
///
/// let stop = Atomic::new(false)?;
/// assert!(!stop.swap(true) && stop.load());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct Atomic<T: AtomicValue> {
    space: Space,
    value: PhantomData<fn(T) -> T>,
}

impl<T: AtomicValue> Atomic<T> {
    /// Makes an atomic with this value.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`]; [`ShmError::Os`] without descriptors.
    pub fn new(value: T) -> Result<Self, ShmError> {
        Self::create(value)
    }

    /// The value.
    #[must_use]
    pub fn load(&self) -> T {
        T::load(self.cell())
    }

    /// Sets the value.
    pub fn store(&self, value: T) {
        T::store(self.cell(), value);
    }

    /// Sets the value and returns the one before.
    pub fn swap(&self, value: T) -> T {
        T::swap(self.cell(), value)
    }

    /// Sets the value to `new` if it is `current`, and returns the one before: as `Ok` if it was set.
    ///
    /// Floats are compared by their bits: a NaN is equal to itself, and 0.0 is not -0.0.
    ///
    /// # Errors
    /// The value, if it was another.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::compare_exchange(self.cell(), current, new)
    }

    /// Sets the value to what `change` makes of it, and returns the one before. `change` runs again whenever another
    /// process was faster; `None` leaves the value.
    ///
    /// # Errors
    /// The value, if `change` said `None` to it.
    ///
    /// # Examples
    /// ```
    /// let tickets = procession_shm::Atomic::new(1_u32)?;
    /// assert_eq!(tickets.fetch_update(|n| n.checked_sub(1)), Ok(1));
    /// assert_eq!(tickets.fetch_update(|n| n.checked_sub(1)), Err(0));
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn fetch_update(&self, change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        value::fetch_update(self.cell(), change)
    }

    fn cell(&self) -> &T::Cell {
        T::cell(&self.space)
    }
}

// SAFETY: the shape is that of a `Cell` of this type, and nothing but its cell is touched.
unsafe impl<T: AtomicValue> Shared for Atomic<T> {
    type Init = T;
    const SHAPE: Shape = Shape::of("procession-atomic", T::SIZE, T::SIZE, T::FINGERPRINT);

    unsafe fn make(space: Space, value: T) -> Result<Self, ShmError> {
        let atomic = Self { space, value: PhantomData };
        atomic.store(value);
        Ok(atomic)
    }

    unsafe fn find(space: Space) -> Result<Self, ShmError> {
        Ok(Self { space, value: PhantomData })
    }

    fn space(&self) -> &Space {
        &self.space
    }
}

impl<T: AtomicNumber> Atomic<T> {
    /// Adds, and returns the value before. Integers wrap around. Floats are added by comparing and exchanging, so that
    /// the order of several additions, and with it the rounding, is not fixed.
    pub fn fetch_add(&self, value: T) -> T {
        T::fetch_add(self.cell(), value)
    }

    /// Subtracts, and returns the value before, as [`fetch_add`](Self::fetch_add) does.
    pub fn fetch_sub(&self, value: T) -> T {
        T::fetch_sub(self.cell(), value)
    }

    /// Sets the value to the larger of it and `value`, and returns the one before. A NaN is never the larger one.
    pub fn fetch_max(&self, value: T) -> T {
        T::fetch_max(self.cell(), value)
    }

    /// Sets the value to the smaller of it and `value`, and returns the one before. A NaN is never the smaller one.
    pub fn fetch_min(&self, value: T) -> T {
        T::fetch_min(self.cell(), value)
    }
}

impl<T: AtomicBits> Atomic<T> {
    /// Keeps the bits that `value` has too, and returns the value before.
    pub fn fetch_and(&self, value: T) -> T {
        T::fetch_and(self.cell(), value)
    }

    /// Sets the bits that `value` has, and returns the value before.
    pub fn fetch_or(&self, value: T) -> T {
        T::fetch_or(self.cell(), value)
    }

    /// Turns over the bits that `value` has, and returns the value before.
    pub fn fetch_xor(&self, value: T) -> T {
        T::fetch_xor(self.cell(), value)
    }
}

/// Another handle of the same value.
impl<T: AtomicValue> Clone for Atomic<T> {
    fn clone(&self) -> Self {
        Self { space: self.space.clone(), value: PhantomData }
    }
}

/// Shows the value as it is now.
impl<T: AtomicValue + fmt::Debug> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Atomic").field(&self.load()).finish()
    }
}

/// An atomic whose descriptor came by other ways than a message.
///
/// # Errors
/// [`ShmError::Refused`] for anything but an atomic of this type. The descriptor is then closed.
impl<T: AtomicValue> TryFrom<OwnedFd> for Atomic<T> {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        space::from_descriptor(fd, None)
    }
}

impl<T: AtomicValue> AsFd for Atomic<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.space.object().as_fd()
    }
}

impl<T: AtomicValue> Serialize for Atomic<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        space::serialize(self, serializer)
    }
}

impl<'de, T: AtomicValue> Deserialize<'de> for Atomic<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        space::deserialize(deserializer)
    }
}
