//! Segments with names, for processes that no message connects.
//!
//! Invariant: as for every segment; how a name leads to one is the business of `name.rs`.

use std::ops::Deref;
use std::os::fd::AsFd;

use crate::error::NameError;
use crate::name::{self, Name};
use crate::segment::Segment;

/// A segment together with the name that this process gave it. Dropping it removes the name, not the memory.
///
/// *Unique*: not `Clone`, and it does not travel. The [`Segment`] in it does both.
///
/// # If this process dies
/// The name leads nowhere from then on, and is removed by whoever asks for it next, or by [`sweep`]. Those who have
/// opened the segment keep it. A forked child that did not execute anything still counts as the owner's life, so until
/// it ends too the name stays, and leads nowhere.
///
/// # Examples
/// ```
/// use procession_shm::Segment;
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
pub struct NamedSegment {
    /// Before the segment: the name goes first.
    name: Name,
    segment: Segment,
}

impl NamedSegment {
    /// The name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.get()
    }

    /// Takes the name back, and keeps the segment.
    #[must_use]
    pub fn into_segment(self) -> Segment {
        self.segment
    }
}

impl Deref for NamedSegment {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.segment
    }
}

impl Segment {
    /// Makes a segment of `len` zero bytes with a name. To fill it before others can see it, use
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// As [`Segment::new`] and [`publish`](Self::publish).
    pub fn create_named(name: &str, len: usize) -> Result<NamedSegment, NameError> {
        Self::new(len)?.publish(name)
    }

    /// Gives the segment a name, under which [`open_named`](Self::open_named) finds it in all processes of this user
    /// in the same pid namespace. Others see it at once, and whole.
    ///
    /// Names have 1 to 200 bytes, without `/` and NUL. In `/dev/shm` they stand behind `procession.`, in files of 64
    /// bytes: the memory is not there, and is not limited by the size of that file system. A name whose owner is dead
    /// is taken over.
    ///
    /// # Errors
    /// [`NameError::AlreadyExists`], also to one of two that publish at once; [`NameError::Invalid`];
    /// [`NameError::Memory`].
    pub fn publish(self, name: &str) -> Result<NamedSegment, NameError> {
        let name = Name::publish(name, self.as_fd())?;
        Ok(NamedSegment { name, segment: self })
    }

    /// The segment with this name. All that is checked on arrival is checked here.
    ///
    /// The owner must be a process into which this one may look, as for `/proc/PID/fd`: one of the same user that has
    /// no more rights, in the same pid namespace.
    ///
    /// # Errors
    /// [`NameError::NotFound`], also when the owner is dead; [`NameError::Unreachable`]; [`NameError::Refused`] when
    /// the name does not lead to a segment; [`NameError::Memory`], with [`ShmError::ReadOnly`](crate::ShmError) when
    /// it was closed to new writers.
    pub fn open_named(name: &str) -> Result<Self, NameError> {
        Ok(Self::try_from(name::find(name)?)?)
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
