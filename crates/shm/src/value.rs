//! A value in shared memory that is always whole, whoever is killed while writing it.
//!
//! Invariants: those of [`Twin`]: what readers see was committed as a whole; what a guard leads to is its own copy.
//! Held by `tests/value.rs`, `tests/value_steps.rs` and `tests/value_storm.rs`.
//!
//! # Safety
//! What makes this type `Shared` is said at its shape.
#![allow(unsafe_code, reason = "is laid out in shared memory")]

mod error;
mod guard;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Fingerprint;
use crate::error::ShmError;
use crate::place::Place;
use crate::plain::{self, Plain};
use crate::shape::Shape;
use crate::space::{self, Shared, Space};
use crate::twin::{self, Twin};
use crate::wait::Wait;

pub use error::ValueError;
pub use guard::ValueGuard;

/// A value in shared memory with a lock of its own. Reading takes no lock; writing replaces the whole.
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same value. `Send` and `Sync`.
/// For types that are [`Plain`]; for others, [`Encoded`](crate::Encoded). For one number that is only added to and
/// compared, [`Atomic`](crate::Atomic) is faster. Each has a page of memory, a descriptor and a mapping of its own; many
/// share those as an array, or as fields of a struct that is [`Shared`].
///
/// There are two copies in memory: a writer fills the one that nobody reads, and one store makes it the value. So a
/// reader never sees a mixture, and there is nothing to repair and no poison. A reader that writers overtake again and
/// again takes the lock for the time of its copy.
///
/// The lock keeps writers apart, threads as well as processes. It is fair to nobody. A call that takes it comes in four
/// forms: without a limit, `try_` (never sleeps), `_timeout` and `_until`.
///
/// Coming from Python: this is `multiprocessing.Value`. Where `with v.get_lock(): v.value += 1` was needed, because
/// `v.value += 1` lost updates, [`update`](Self::update) is one call.
///
/// # If a peer dies
/// A thread that is killed while it writes, at whatever instruction, leaves the old value or the new one. Its lock goes
/// to the next who asks. A thread that is *stopped* while it holds the lock keeps writers waiting, not readers.
///
/// # After a fork
/// A forked child has copies of its parent's guards: they hold nothing, and commit nothing.
///
/// # Examples
/// ```
/// use procession_shm::{Plain, Value};
///
/// #[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
/// struct Account {
///     cents: i64,
///     entries: u64,
/// }
///
/// let account = Value::new(Account::default())?;
/// let other = account.clone(); // or received from a pipe
/// other.update(|a| {
///     a.cents += 100;
///     a.entries += 1;
/// })?;
/// let mut guard = account.lock()?;
/// guard.cents -= 30;
/// assert_eq!(other.get().cents, 100); // not yet
/// drop(guard);
/// assert_eq!(other.get(), Account { cents: 70, entries: 1 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Synchronized")]
#[doc(alias = "RawValue")]
#[doc(alias = "get_lock")]
pub struct Value<T: Plain> {
    place: Place,
    kind: PhantomData<fn(T) -> T>,
}

impl<T: Plain> Value<T> {
    const N_WORDS: usize = Twin::n_words(twin::words_of(size_of::<T>()));

    /// Makes a value.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`]; [`ShmError::Os`] without descriptors; [`ShmError::Domain`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        Self::create(value)
    }

    /// The value, as it was committed last.
    ///
    /// Takes no lock, also while somebody holds it: while this thread has a guard, it is what was before. If others
    /// commit faster than this thread can copy, it waits for their lock, a millisecond at a time.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        self.twin().read(&self.place, twin::load_plain)
    }

    /// Replaces the value.
    ///
    /// Blocks while another thread holds the lock.
    ///
    /// # Errors
    /// [`ValueError::Deadlock`] and [`ValueError::NoSlot`]. The value is then as it was.
    ///
    /// # If a peer dies
    /// If this thread is killed in here, the value is the old or the new one. If the holder dies, this thread goes on.
    #[inline]
    pub fn set(&self, value: T) -> Result<(), ValueError> {
        self.replace(value, Deadline::NEVER)
    }

    /// [`set`](Self::set), unless another thread holds the lock.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    #[inline]
    pub fn try_set(&self, value: T) -> Result<(), ValueError> {
        self.replace(value, Deadline::now())
    }

    /// [`set`](Self::set), which waits no longer than this.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    pub fn set_timeout(&self, value: T, timeout: Duration) -> Result<(), ValueError> {
        self.replace(value, Deadline::after(timeout))
    }

    /// [`set`](Self::set), which waits no longer than until then.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    pub fn set_until(&self, value: T, deadline: Instant) -> Result<(), ValueError> {
        self.replace(value, Deadline::at(deadline))
    }

    /// Replaces the value and returns the one before.
    ///
    /// Blocks while another thread holds the lock. With a limit: [`update_timeout`](Self::update_timeout).
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// let mode = procession_shm::Value::new(*b"idle")?;
    /// assert_eq!(mode.swap(*b"busy")?, *b"idle");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn swap(&self, value: T) -> Result<T, ValueError> {
        self.update(|old| mem::replace(old, value))
    }

    /// Changes the value, and returns what `change` returns. No other change comes between.
    ///
    /// Blocks while another thread holds the lock. `change` runs under the lock, on a copy; it may call
    /// [`get`](Self::get) of this value, which is then the old one, and nothing that takes this lock.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// # Panics
    /// If `change` does. The value is then the old one.
    ///
    /// # If a peer dies
    /// As [`set`](Self::set).
    ///
    /// # Examples
    /// ```
    /// let range = procession_shm::Value::new([0_u32, 100])?;
    /// let first = range.update(|[next, end]| {
    ///     let mine = *next;
    ///     *next = (*next + 10).min(*end);
    ///     mine
    /// })?;
    /// assert_eq!((first, range.get()), (0, [10, 100]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, ValueError> {
        self.change(change, Deadline::NEVER)
    }

    /// [`update`](Self::update), unless another thread holds the lock; `change` does not run then.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    #[inline]
    pub fn try_update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, ValueError> {
        self.change(change, Deadline::now())
    }

    /// [`update`](Self::update), which waits no longer than this; `change` itself may take longer.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    pub fn update_timeout<R>(
        &self,
        timeout: Duration,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, ValueError> {
        self.change(change, Deadline::after(timeout))
    }

    /// [`update`](Self::update), which waits no longer than until then; `change` itself may take longer.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    pub fn update_until<R>(
        &self,
        deadline: Instant,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, ValueError> {
        self.change(change, Deadline::at(deadline))
    }

    /// Takes the lock, and a copy of the value, which becomes the value when the guard is dropped.
    ///
    /// Blocks while another thread holds the lock.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    ///
    /// # If a peer dies
    /// If this thread is killed while it has the guard, the value is the old one.
    #[inline]
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, ValueError> {
        self.guard(Deadline::NEVER)
    }

    /// [`lock`](Self::lock), unless another thread holds the lock.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    #[inline]
    pub fn try_lock(&self) -> Result<ValueGuard<'_, T>, ValueError> {
        self.guard(Deadline::now())
    }

    /// [`lock`](Self::lock), which waits no longer than this.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::{Value, ValueError};
    /// use std::time::Duration;
    ///
    /// let value = Value::new(1)?;
    /// let guard = value.lock()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| match value.lock_timeout(Duration::from_millis(1)) {
    ///         Err(ValueError::TimedOut { holder: Some(holder) }) => assert_eq!(holder.pid(), std::process::id()),
    ///         other => panic!("{other:?}"),
    ///     });
    /// });
    /// # drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<'_, T>, ValueError> {
        self.guard(Deadline::after(timeout))
    }

    /// [`lock`](Self::lock), which waits no longer than until then.
    ///
    /// # Errors
    /// As [`set`](Self::set), and [`ValueError::TimedOut`].
    pub fn lock_until(&self, deadline: Instant) -> Result<ValueGuard<'_, T>, ValueError> {
        self.guard(Deadline::at(deadline))
    }

    #[inline]
    fn replace(&self, value: T, deadline: Deadline) -> Result<(), ValueError> {
        let hold = self.place.hold(Wait(deadline))?;
        self.twin().finish(hold, |words| twin::store(words, plain::bytes_of(&value)));
        Ok(())
    }

    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut T) -> R, deadline: Deadline) -> Result<R, ValueError> {
        let hold = self.place.hold(Wait(deadline))?;
        let mut value = self.twin().read_held(&hold, twin::load_plain);
        let answer = change(&mut value);
        self.twin().finish(hold, |words| twin::store(words, plain::bytes_of(&value)));
        Ok(answer)
    }

    #[inline]
    fn guard(&self, deadline: Deadline) -> Result<ValueGuard<'_, T>, ValueError> {
        let hold = self.place.hold(Wait(deadline))?;
        let value = self.twin().read_held(&hold, twin::load_plain);
        Ok(ValueGuard::new(self, hold, value))
    }

    fn at(space: Space) -> Result<Self, ShmError> {
        Ok(Self { place: Place::new(space, Self::N_WORDS)?, kind: PhantomData })
    }

    #[inline]
    fn twin(&self) -> Twin<'_> {
        // A length that the compiler knows.
        Twin::new(&self.place.words()[..Self::N_WORDS])
    }
}

// SAFETY: nothing is touched but the words of the place, whose number is in the shape; the type is in the fingerprint.
unsafe impl<T: Plain> Shared for Value<T> {
    type Init = T;

    /// A cache line of its own, in which lock, version and both copies of up to 24 bytes lie.
    const SHAPE: Shape = {
        let len = Place::len(Self::N_WORDS);
        let fingerprint = Fingerprint::new("Value", len, 64).field("value", 16, T::FINGERPRINT);
        Shape::of("procession-value", len, 64, fingerprint).in_domain()
    };

    unsafe fn make(space: Space, value: T) -> Result<Self, ShmError> {
        let this = Self::at(space)?;
        // Nobody else has it yet, and it is all zero: version 0 means the first copy.
        twin::store(this.twin().first(), plain::bytes_of(&value));
        Ok(this)
    }

    unsafe fn find(space: Space) -> Result<Self, ShmError> {
        Self::at(space)
    }

    fn space(&self) -> &Space {
        self.place.space()
    }
}

/// Another handle of the same value.
impl<T: Plain> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), kind: PhantomData }
    }
}

/// Shows the value as it is now.
impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.get()).finish()
    }
}

/// A value whose descriptor came by other ways than a message. The domain of its users must be known here.
///
/// # Errors
/// [`ShmError::Refused`] for anything but a value of this type. The descriptor is then closed.
impl<T: Plain> TryFrom<OwnedFd> for Value<T> {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        space::from_descriptor(fd, None)
    }
}

impl<T: Plain> AsFd for Value<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.space().as_fd()
    }
}

impl<T: Plain> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        space::serialize(self, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        space::deserialize(deserializer)
    }
}
