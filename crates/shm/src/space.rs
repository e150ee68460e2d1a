//! Where things live in shared memory, what they look like there, and how a handle of one finds it again elsewhere.
//!
//! Invariants: a [`Space`] lies in its object as a whole, aligned to what its shape asks for; what arrives has the
//! fingerprint that is expected of it. Held by `tests/shared.rs`.
//!
//! # Safety
//! The contract of [`Shared`] is promised by the types of this crate and by the derive, whose expansion lays out the
//! fields one behind the other with [`Shape::with`] and makes each field at that offset. Two things that differ in type
//! therefore never meet at one place, unless a process lies about what it sends.
#![allow(unsafe_code, reason = "declares the mark of what may be laid out in shared memory")]

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use procession_codec::handles;
use procession_sys::named::FileId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Fingerprint;
use crate::domain::Domain;
use crate::error::{Refusal, ShmError};
use crate::object::{Access, Object};
use crate::shape::Shape;

/// A place in shared memory, which something lives in.
///
/// *Shared* handle: `Clone`; keeps the memory mapped.
#[derive(Clone)]
pub struct Space {
    object: Arc<Object>,
    /// The object's: asked for on every way to a lock.
    domain: Option<Domain>,
    /// `offset` bytes behind the beginning of the data of the object.
    data: *mut u8,
    offset: usize,
    name: &'static str,
}

// SAFETY: the address is that of memory which `object` keeps mapped, and which is not bound to a thread; who touches it
// keeps to the rules of the files that do.
unsafe impl Send for Space {}
// SAFETY: as above; a space itself never changes.
unsafe impl Sync for Space {}

impl Space {
    pub(crate) fn whole(object: Arc<Object>, name: &'static str) -> Self {
        Self { data: object.data(), domain: object.domain().cloned(), object, offset: 0, name }
    }

    /// The part at `offset` that has this shape.
    ///
    /// # Errors
    /// [`Refusal::Length`] if it does not lie in the memory; [`Refusal::Damaged`] if it is not aligned.
    pub fn part(&self, offset: usize, shape: Shape) -> Result<Self, Refusal> {
        let offset = self.offset.checked_add(offset).ok_or(Refusal::Damaged)?;
        // What has no name is called as what it is in.
        let name = if shape.name.is_empty() { self.name } else { shape.name };
        let data = self.object.data().wrapping_add(offset);
        let space = Self { data, offset, name, ..self.clone() };
        space.check(shape).map(|()| space)
    }

    /// The domain of those who use it; `None` where it does not matter who lives.
    #[inline]
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// What lives there, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it begins in its object.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The device and the number of the file behind its object: what tells that from all others on this machine.
    ///
    /// # Errors
    /// [`ShmError::Os`].
    pub fn file(&self) -> Result<FileId, ShmError> {
        self.object.file()
    }

    /// Whether something of this shape is all that is in the object.
    pub(crate) fn is_whole(&self, shape: Shape) -> bool {
        self.offset == 0 && self.object.fingerprint() == shape.fingerprint
    }

    pub(crate) fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// The address of its first byte, mapped for writing while the object lives.
    #[inline]
    pub(crate) fn data(&self) -> *mut u8 {
        self.data
    }

    fn check(&self, shape: Shape) -> Result<(), Refusal> {
        let len = self.object.len();
        match self.offset.checked_add(shape.len) {
            Some(end) if end <= len => {}
            end => {
                let expected = end.unwrap_or(usize::MAX) as u64;
                return Err(Refusal::Length { found: len as u64, expected });
            }
        }
        if shape.needs_domain && self.domain().is_none() {
            return Err(Refusal::Domain);
        }
        if self.offset.is_multiple_of(shape.align) { Ok(()) } else { Err(Refusal::Damaged) }
    }
}

/// The memory that it is in, as a whole.
impl AsFd for Space {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.object.as_fd()
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} of {} bytes of shared memory", self.name, self.offset, self.object.len())
    }
}

/// What can be laid out in shared memory of its own or beside others: locks, values, atomics, and structs and arrays of
/// them. A value of such a type is a handle.
///
/// Derived for structs whose fields are all `Shared`: many small things then take one piece of memory, one descriptor and
/// one mapping, and travel as one handle.
///
/// # Safety
/// [`make`](Self::make) and [`find`](Self::find) touch nothing of the space beyond [`SHAPE`](Self::SHAPE), and what they
/// make there is of types that the fingerprint tells from all others. [`space`](Self::space) is the one that it was made
/// in.
///
/// # Examples
/// ```
/// use procession_shm::{Atomic, Shared};
///
/// #[derive(Clone, Shared)]
/// struct Progress {
///     done: Atomic<u64>,
///     failed: Atomic<u64>,
///     stop: Atomic<bool>,
/// }
///
/// let progress = Progress::create((0, 0, false))?;
/// progress.done.fetch_add(1);
/// let other = progress.clone(); // or received from a pipe
/// assert_eq!(other.done.load(), 1);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub unsafe trait Shared: Sized {
    /// What it is made from: for structs, a tuple with what each field is made from.
    type Init;

    /// How much room it takes.
    const SHAPE: Shape;

    /// Makes it in memory that is all zero and that nobody else has.
    ///
    /// # Errors
    /// `init` is nothing to make it from.
    ///
    /// # Safety
    /// The memory is that, and the space a [`Space::part`] of [`SHAPE`](Self::SHAPE).
    unsafe fn make(space: Space, init: Self::Init) -> Result<Self, ShmError>;

    /// Finds what another process has made.
    ///
    /// # Errors
    /// What is there cannot be used.
    ///
    /// # Safety
    /// The space is a [`Space::part`] of [`SHAPE`](Self::SHAPE), and nothing of another type lives there. Two handles
    /// with different guards for one place would show one thing to two who may both write it:
    /// ```compile_fail,E0133
    /// use procession_shm::{Atomic, Cell, Shared, Wait};
    /// let cell = Cell::<procession_raw::Lock, u64>::create(1).unwrap();
    /// let beside = Atomic::<u64>::find(cell.space().clone()).unwrap();
    /// ```
    unsafe fn find(space: Space) -> Result<Self, ShmError>;

    /// Where it is.
    fn space(&self) -> &Space;

    /// Makes it in memory of its own.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`]; [`ShmError::Os`] without descriptors; [`ShmError::Domain`]; as [`make`](Self::make).
    fn create(init: Self::Init) -> Result<Self, ShmError> {
        let Shape { name, len, fingerprint, needs_domain, .. } = Self::SHAPE;
        let domain = if needs_domain { Some(Domain::current()?) } else { None };
        let space = Space::whole(Object::create_in(domain, name, fingerprint, len)?, name);
        // SAFETY: the object was just made with this length, begins at a multiple of 64, and is nobody else's yet.
        unsafe { Self::make(space, init) }
    }
}

/// How a handle looks in a message.
#[derive(Serialize, Deserialize)]
struct Sent {
    object: u32,
    domain: Option<Domain>,
    /// Of a part of an object: where it is, and what it is.
    part: Option<(u64, u64)>,
}

/// Puts a handle into the message that is being encoded: for implementations of `Serialize`.
///
/// # Errors
/// The carrier takes no descriptors, or the memory was closed to writers.
pub fn serialize<T: Shared, S: Serializer>(this: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let Space { object, offset, .. } = this.space();
    object.must_be_open().map_err(ser::Error::custom)?;
    let is_part = !this.space().is_whole(T::SHAPE);
    let sent = Sent {
        object: handles::put(Arc::clone(object) as _).map_err(ser::Error::custom)?,
        domain: object.domain().cloned(),
        part: is_part.then_some((*offset as u64, T::SHAPE.fingerprint.get())),
    };
    sent.serialize(serializer)
}

/// Takes a handle out of the message that is being decoded: for implementations of `Deserialize`.
///
/// # Errors
/// What came is not a `T`, or there are no descriptors or address space left.
pub fn deserialize<'de, T: Shared, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let Sent { object, domain, part } = Sent::deserialize(deserializer)?;
    let fd = handles::take(object).map_err(ShmError::Handle);
    fd.and_then(|fd| receive(fd, domain, part)).map_err(de::Error::custom)
}

/// A handle whose descriptor came by other ways than a message; its domain must be known here or come with it.
///
/// # Errors
/// [`ShmError::Refused`] for anything but a whole `T`. The descriptor is then closed.
pub fn from_descriptor<T: Shared>(fd: OwnedFd, domain: Option<Domain>) -> Result<T, ShmError> {
    receive(fd, domain, None)
}

fn receive<T: Shared>(fd: OwnedFd, domain: Option<Domain>, part: Option<(u64, u64)>) -> Result<T, ShmError> {
    let expected = T::SHAPE.fingerprint;
    let whole = part.is_none().then_some(expected);
    let space = Space::whole(Object::adopt_in(domain, fd, whole, Access::Write)?, T::SHAPE.name);
    let offset = match part.map(|(offset, found)| (offset, Fingerprint::from_u64(found))) {
        Some((_, found)) if found != expected => return Err(Refusal::Type { found, expected }.into()),
        Some((offset, _)) => usize::try_from(offset).map_err(|_| Refusal::Damaged)?,
        // The fingerprint says what it should be, and the sender may lie.
        None if space.object.len() != T::SHAPE.len => {
            let (found, expected) = (space.object.len() as u64, T::SHAPE.len as u64);
            return Err(Refusal::Length { found, expected }.into());
        }
        None => 0,
    };
    let space = space.part(offset, T::SHAPE)?;
    // SAFETY: it is a part of this shape; the fingerprint, of the object or in the message, says that a `T` is there.
    unsafe { T::find(space) }
}

// SAFETY: `n` items of one type lie one behind the other, each in a room of its own; the fingerprint counts them.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {
    type Init = [T::Init; N];
    const SHAPE: Shape = T::SHAPE.times(N);

    unsafe fn make(space: Space, init: Self::Init) -> Result<Self, ShmError> {
        let mut at = 0;
        each(init.map(|init| {
            at += 1;
            let space = space.part((at - 1) * T::SHAPE.len, T::SHAPE)?;
            // SAFETY: it is a part of this shape, of memory that is as the caller says.
            unsafe { T::make(space, init) }
        }))
    }

    unsafe fn find(space: Space) -> Result<Self, ShmError> {
        each(std::array::from_fn(|at| {
            let space = space.part(at * T::SHAPE.len, T::SHAPE)?;
            // SAFETY: it is a part of this shape, and that of this item, as the caller says that the items are there.
            unsafe { T::find(space) }
        }))
    }

    fn space(&self) -> &Space {
        self.first().expect("an array that is shared has items").space()
    }
}

/// All items, or the first error.
fn each<T, E, const N: usize>(items: [Result<T, E>; N]) -> Result<[T; N], E> {
    let mut error = None;
    let all = items.map(|item| item.map_err(|e| error = error.take().or(Some(e))).ok());
    match error {
        Some(error) => Err(error),
        None => Ok(all.map(|item| item.expect("there is no error, so each is there"))),
    }
}

/// Writes the implementations that the derive asks for. The fields lie one behind the other.
#[doc(hidden)]
#[macro_export]
macro_rules! __shared {
    (
        [$($parameters:tt)*] [$($arguments:tt)*] [$($clause:tt)*] $name:ident, $text:literal,
        [$init:ty], [$split:expr], [$check:expr], [$first:tt],
        $(($member:tt, $label:literal, $field:ty, $at:tt))+
    ) => {
        // SAFETY: each field gets a room of its own, at the offset and of the type that are in the fingerprint.
        #[automatically_derived]
        unsafe impl<$($parameters)*> $crate::Shared for $name $($arguments)* $($clause)* {
            type Init = $init;

            const SHAPE: $crate::Shape =
                $crate::Shape::new($text)$(.with($label, <$field as $crate::Shared>::SHAPE))+;

            #[allow(unused_assignments)]
            unsafe fn make(
                space: $crate::Space,
                init: Self::Init,
            ) -> ::core::result::Result<Self, $crate::ShmError> {
                let split: fn(Self::Init) -> ($(<$field as $crate::Shared>::Init,)+) = $split;
                let init = split(init);
                let mut shape = $crate::Shape::new($text);
                let this = Self { $($member: {
                    let field = <$field as $crate::Shared>::SHAPE;
                    let part = space.part(shape.offset_of_next(field), field)?;
                    shape = shape.with($label, field);
                    let init = init.$at;
                    // SAFETY: it is a part of this shape, of memory that is as the caller says.
                    unsafe { <$field as $crate::Shared>::make(part, init) }?
                }),+ };
                let check: fn(&Self, bool) -> ::core::result::Result<(), $crate::ShmError> = $check;
                check(&this, true).map(|()| this)
            }

            #[allow(unused_assignments)]
            unsafe fn find(space: $crate::Space) -> ::core::result::Result<Self, $crate::ShmError> {
                let mut shape = $crate::Shape::new($text);
                let this = Self { $($member: {
                    let field = <$field as $crate::Shared>::SHAPE;
                    let part = space.part(shape.offset_of_next(field), field)?;
                    shape = shape.with($label, field);
                    // SAFETY: it is a part of this shape, and that of this field, as the caller says that it is there.
                    unsafe { <$field as $crate::Shared>::find(part) }?
                }),+ };
                let check: fn(&Self, bool) -> ::core::result::Result<(), $crate::ShmError> = $check;
                check(&this, false).map(|()| this)
            }

            fn space(&self) -> &$crate::Space {
                // The first field is where the whole begins.
                $crate::Shared::space(&self.$first)
            }
        }

        #[automatically_derived]
        impl<$($parameters)*> $crate::__private::serde::Serialize for $name $($arguments)* $($clause)* {
            fn serialize<__S: $crate::__private::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                $crate::space::serialize(self, serializer)
            }
        }

        #[automatically_derived]
        impl<'de, $($parameters)*> $crate::__private::serde::Deserialize<'de> for $name $($arguments)* $($clause)* {
            fn deserialize<__D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                $crate::space::deserialize(deserializer)
            }
        }
    };
}
