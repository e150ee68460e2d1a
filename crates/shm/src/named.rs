//! Shared memory with names, for processes that no message connects.
//!
//! Invariant: as for all shared memory; how a name leads to it is the business of `name.rs`.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::domain::Domain;
use crate::error::{NameError, ShmError};
use crate::name::{self, Name};
use crate::segment::Segment;
use crate::space::{self, Shared};

/// What can have a name: a [`Segment`], and everything that is [`Shared`].
pub trait Nameable: Sized + sealed::Parts {
    /// Gives it a name, under which [`open_named`](Self::open_named) finds it in all processes of this user in the same
    /// pid namespace, of other trees too. Others see it at once, and whole.
    ///
    /// Names have 1 to 200 bytes, without `/` and NUL. In `/dev/shm` they stand behind `procession.`, in files of 72
    /// bytes: the memory is not there, and is not limited by the size of that file system. A name whose owner is dead
    /// is taken over.
    ///
    /// # Errors
    /// [`NameError::AlreadyExists`], also to one of two that publish at once; [`NameError::Invalid`];
    /// [`NameError::Part`]; [`NameError::Memory`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::{Atomic, Nameable};
    /// let name = format!("hits.{}", std::process::id());
    /// let hits = Atomic::new(5_u64)?.publish(&name)?;
    /// // In any other process of this user:
    /// assert_eq!(Atomic::<u64>::open_named(&name)?.load(), 5);
    /// assert!(Atomic::<i64>::open_named(&name).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn publish(self, name: &str) -> Result<Named<Self>, NameError> {
        let (memory, domain) = self.parts()?;
        let name = Name::publish(name, memory, domain)?;
        Ok(Named { name, handle: self })
    }

    /// What has this name. All that is checked on arrival is checked here.
    ///
    /// The owner must be a process into which this one may look, as for `/proc/PID/fd`: one of the same user that has
    /// no more rights, in the same pid namespace.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also when the owner is dead; [`NameError::Unreachable`]; [`NameError::Refused`] when
    /// the name leads to something else; [`NameError::Memory`], with [`ShmError::ReadOnly`] when it was closed to new
    /// writers.
    fn open_named(name: &str) -> Result<Self, NameError> {
        let (memory, domain) = name::find(name)?;
        let domain = domain.map(Domain::attach).transpose().map_err(ShmError::from)?;
        Ok(Self::from_parts(memory, domain)?)
    }
}

impl<T: sealed::Parts> Nameable for T {}

pub(crate) mod sealed {
    //! What a name leads to.

    use super::{BorrowedFd, Domain, NameError, OwnedFd, ShmError};

    /// A handle that is nothing but its memory, and the domain of its users.
    pub trait Parts: Sized {
        fn parts(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), NameError>;
        fn from_parts(memory: OwnedFd, domain: Option<Domain>) -> Result<Self, ShmError>;
    }
}

impl<T: Shared> sealed::Parts for T {
    fn parts(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), NameError> {
        let space = self.space();
        if space.is_whole(Self::SHAPE) {
            Ok((space.object().as_fd(), space.domain().map(AsFd::as_fd)))
        } else {
            Err(NameError::Part)
        }
    }

    fn from_parts(memory: OwnedFd, domain: Option<Domain>) -> Result<Self, ShmError> {
        space::from_descriptor(memory, domain)
    }
}

impl sealed::Parts for Segment {
    fn parts(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), NameError> {
        Ok((self.as_fd(), None))
    }

    fn from_parts(memory: OwnedFd, _: Option<Domain>) -> Result<Self, ShmError> {
        Self::try_from(memory)
    }
}

/// A handle together with the name that this process gave it. Dropping it removes the name, not the memory.
///
/// *Unique*: not `Clone`, and it does not travel. The handle in it does both.
///
/// # If this process dies
/// The name leads nowhere from then on, and is removed by whoever asks for it next, or by [`sweep`]. Those who have
/// opened it keep what they have. A forked child that did not execute anything still counts as the owner's life, so
/// until it ends too the name stays, and leads nowhere.
///
/// # Examples
/// ```
/// use procession_shm::{Nameable, Segment};
/// let name = format!("example.{}", std::process::id());
/// let owner = Segment::create_named(&name, 1024)?;
/// // In any other process of this user:
/// let found = Segment::open_named(&name)?;
/// owner.write(0, b"hello")?;
/// assert_eq!(found.read_vec(0, 5)?, b"hello");
/// drop(owner);
/// assert!(Segment::open_named(&name).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Named<H> {
    /// Before the handle: the name goes first.
    name: Name,
    handle: H,
}

/// A [`Segment`] with a name.
pub type NamedSegment = Named<Segment>;

impl<H> Named<H> {
    /// The name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.get()
    }

    /// Takes the name back, and keeps the handle.
    #[must_use]
    pub fn into_inner(self) -> H {
        self.handle
    }
}

impl<H> Deref for Named<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handle
    }
}

impl Segment {
    /// Makes a segment of `len` zero bytes with a name. To fill it before others can see it, use
    /// [`publish`](Nameable::publish).
    ///
    /// # Errors
    /// As [`Segment::new`] and [`publish`](Nameable::publish).
    pub fn create_named(name: &str, len: usize) -> Result<NamedSegment, NameError> {
        Self::new(len)?.publish(name)
    }
}

/// Removes the names that begin with `prefix` and whose owners are dead, and returns them. The empty prefix is all.
///
/// What is in use, not ours, or not this user's stays.
///
/// # Errors
/// [`NameError::Memory`] when the names cannot be listed.
pub fn sweep(prefix: &str) -> Result<Vec<String>, NameError> {
    name::sweep(prefix)
}
