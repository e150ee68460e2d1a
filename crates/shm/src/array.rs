//! Items in shared memory that are read and written as a slice, all at once or in parts.
//!
//! Invariants: a slice of all items is there only while its thread holds the lock and no lease is live; a slice of a part
//! only while its process has the part's lease; leases are given by who holds the lock to write, and are disjoint. Held
//! by `tests/array*.rs`.
//!
//! # Safety
//! - What comes is checked once: that the object is as long as some number of items needs. The address and the number
//!   are kept here, and nothing in shared memory changes them.
//! - The lock names the thread that holds it, and a lease the process that has it; both change only when these let go or
//!   are proved dead. So nobody else writes what a slice here shows, unless a process breaks the protocol on purpose. Guards
//!   stay in their thread, parts in their process. A forked child has copies of both, which give nothing back; who uses
//!   a copy in the child breaks this, as does who leaks a guard and lets its slice outlive the thread.
#![doc = ""]
#![doc = include_str!("array/README.md")]
#![allow(unsafe_code, reason = "keeps the address of items in mapped memory")]

mod access;
mod error;
mod guard;
mod head;
mod lease;
mod news;
mod part;

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use procession_codec::handles;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::domain::{Domain, Participant};
use crate::error::{Refusal, ShmError};
use crate::object::{Access, Object};
use crate::space::Space;
use crate::{Fingerprint, Plain};

pub use error::ArrayError;
pub use guard::{ArrayRead, ArrayWrite};
pub use part::{Part, Parts};

use head::Head;

/// A fixed number of [`Plain`] items in shared memory, read and written as a slice: by many who read, by one who writes,
/// or by many who each write a [`Part`].
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same items. `Send` and `Sync`. It
/// has memory, a descriptor and a mapping of its own: the items, and 88 KiB for the lock and the leases. The kernel frees
/// the memory with its last user.
///
/// Every way to the items has four forms: `read` waits as long as it takes, `try_read` not at all, `read_timeout` and
/// `read_until` for some time. The first gives the items and panics where its caller made a mistake; the others give an
/// [`ArrayError`].
///
/// # If a peer dies
/// Who waits goes on: the lock of a dead thread and the parts of a dead process are taken from them. What they were
/// writing may be half written, items of up to 8 bytes never within themselves. The array remembers it: from
/// then on [`is_consistent`](Self::is_consistent) is `false` and [`left_by`](Self::left_by) says who died, also on
/// guards, until somebody calls [`ArrayWrite::mark_consistent`].
///
/// # Examples
/// ```
/// use procession_shm::{Array, Plain};
///
/// #[derive(Clone, Copy, Plain)]
/// struct Particle {
///     x: f64,
///     v: f64,
/// }
///
/// let cloud = Array::from_slice(&[Particle { x: 0., v: 1. }; 1000])?;
/// std::thread::scope(|s| {
///     for mut part in cloud.split(4) {
///         // Or sent to four processes.
///         s.spawn(move || part.iter_mut().for_each(|p| p.x += p.v));
///     }
/// });
/// assert_eq!(cloud.read()[999].x, 1.0);
/// cloud.write()[0].v = 2.0;
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct Array<T: Plain> {
    space: Space,
    items: NonNull<T>,
    len: usize,
    kind: PhantomData<T>,
}

/// The items are reached through guards and parts only, which keep others out.
// SAFETY: the address means the same in all threads, and the memory stays mapped while the handle lives.
unsafe impl<T: Plain> Send for Array<T> {}
/// As for `Send`: the handle itself does not change.
// SAFETY: see the sentence above; a `Plain` type may be read by many threads at once.
unsafe impl<T: Plain> Sync for Array<T> {}

impl<T: Plain> Array<T> {
    const FINGERPRINT: Fingerprint = {
        assert!(size_of::<T>() > 0, "items without bytes need no array");
        assert!(
            align_of::<T>() <= crate::header::LEN,
            "nothing in shared memory is aligned to more than 64 bytes"
        );
        Fingerprint::new("procession-array", size_of::<Head>(), align_of::<Head>()).field(
            "item",
            size_of::<Head>(),
            T::FINGERPRINT,
        )
    };

    /// Makes an array of `len` items whose bytes are all zero.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`], at once and not when the items are touched; [`ShmError::Os`] without descriptors;
    /// [`ShmError::Domain`].
    pub fn zeroed(len: usize) -> Result<Self, ShmError> {
        // A length beyond any memory is refused like one just below it.
        let bytes =
            len.saturating_mul(size_of::<T>()).saturating_add(size_of::<Head>()).min(isize::MAX as usize);
        let object =
            Object::create_in(Some(Domain::current()?), "procession-array", Self::FINGERPRINT, bytes)?;
        Ok(Self::new(object)?)
    }

    /// Makes an array with a copy of these items.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn from_slice(items: &[T]) -> Result<Self, ShmError> {
        let array = Self::zeroed(items.len())?;
        // SAFETY: there is room for as many items, just made, which nobody else has yet.
        unsafe { array.items.copy_from_nonoverlapping(NonNull::from(items).cast(), items.len()) };
        Ok(array)
    }

    /// Makes an array of `len` items, each from its index.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    ///
    /// # Examples
    /// ```
    /// let squares = procession_shm::Array::from_fn(10, |i| i * i)?;
    /// assert_eq!(squares.read()[3], 9);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn from_fn(len: usize, item: impl FnMut(usize) -> T) -> Result<Self, ShmError> {
        let array = Self::zeroed(len)?;
        let mut items = (0..len).map(item);
        array.write().fill_with(|| items.next().expect("as many as there are"));
        Ok(array)
    }

    /// An array whose descriptor came by other ways than a message; its domain must be known here or come with it.
    ///
    /// # Errors
    /// [`ShmError::Refused`] for anything but an array of such items. The descriptor is then closed.
    pub fn from_descriptor(fd: OwnedFd, domain: Option<Domain>) -> Result<Self, ShmError> {
        let object = Object::adopt_in(domain, fd, Some(Self::FINGERPRINT), Access::Write)?;
        Ok(Self::new(object)?)
    }

    /// What is in an object that has our fingerprint.
    fn new(object: Arc<Object>) -> Result<Self, Refusal> {
        if object.domain().is_none() {
            return Err(Refusal::Domain);
        }
        // The sender may lie: the items are those that lie in the object as a whole, and there is nothing else.
        let (found, head) = (object.len(), size_of::<Head>());
        let len = found.saturating_sub(head) / size_of::<T>();
        let expected = head + len * size_of::<T>();
        if found != expected {
            return Err(Refusal::Length { found: found as u64, expected: expected as u64 });
        }
        let items = NonNull::new(object.data().wrapping_add(head).cast()).ok_or(Refusal::Damaged)?;
        Ok(Self { space: Space::whole(object, "Array"), items, len, kind: PhantomData })
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether everybody who wrote came to an end with it, as far as was heard: nobody died or panicked with a guard to
    /// write or with a part since the array was made, or since the last [`ArrayWrite::mark_consistent`].
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.head().is_consistent()
    }

    /// Who died first while it could write, if that is known: a thread with a guard, or a process with a part, which is
    /// named by its first thread.
    #[must_use]
    pub fn left_by(&self) -> Option<Participant> {
        self.head().victim()
    }

    /// The domain of those who use it.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        self.space.domain().expect("was checked when it came")
    }

    #[inline]
    fn head(&self) -> &Head {
        Head::of(self.space.object())
    }
}

/// Another handle of the same items.
impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { space: self.space.clone(), ..*self }
    }
}

/// Shows how many items there are, and not the items.
impl<T: Plain> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array of {} items of {} bytes", self.len, size_of::<T>())
    }
}

impl<T: Plain> AsFd for Array<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.space.as_fd()
    }
}

/// How an array looks in a message.
#[derive(Serialize, Deserialize)]
struct Sent {
    object: u32,
    domain: Domain,
}

impl<T: Plain> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.space.object().must_be_open().map_err(ser::Error::custom)?;
        let object = handles::put(Arc::clone(self.space.object()) as _).map_err(ser::Error::custom)?;
        Sent { object, domain: self.domain().clone() }.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Sent { object, domain } = Sent::deserialize(deserializer)?;
        let fd = handles::take(object).map_err(ShmError::Handle);
        fd.and_then(|fd| Self::from_descriptor(fd, Some(domain))).map_err(de::Error::custom)
    }
}
