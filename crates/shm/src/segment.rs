//! Bytes in shared memory, as handles: one that writes, one that only reads.
//!
//! Invariant: bytes are copied in and out, and a slice of them is given only where nobody can ever change them, so
//! nothing that another process does to them is undefined here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ShmError;
use crate::object::{Access, Object};
use crate::plain::{self, Plain};
use crate::{Fingerprint, header};

/// A block of shared memory without a name: zeroed, of fixed length, reserved when it is made.
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same bytes. One descriptor and
/// one mapping for each process that has it. The kernel frees the memory with its last user, however that ends.
///
/// Reading while another thread or process writes gives old and new bytes in any mixture, and so does a writer that
/// was killed halfway: this type has no locks. The receiver checks that what came is such a segment, whole, reserved, and
/// sealed against shrinking; if not, decoding fails with the words of a [`Refusal`](crate::Refusal).
///
/// # If a peer dies
/// The bytes stay, with what it wrote. A peer that means harm can write anything, and punch holes: those read as zeros,
/// and need memory again when they are touched. In a [`ReadSegment`] it cannot.
///
/// # Examples
/// ```
/// use procession_shm::Segment;
/// let segment = Segment::new(1024)?;
/// segment.write(100, b"hello")?;
/// segment.put(200, &[1.5_f64, 2.5])?;
/// let other = segment.clone(); // or received from a pipe
/// assert_eq!(other.read_vec(100, 5)?, b"hello");
/// assert_eq!(other.get::<f64>(208)?, 2.5);
/// assert!(other.write(1020, b"hello").is_err());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Segment(Arc<Object>);

impl Segment {
    /// Makes a segment of `len` zero bytes.
    ///
    /// Takes time in proportion to `len`, as all of it is reserved; 64 bytes more go to a header.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`], so that no later touch can fail; [`ShmError::Os`] without descriptors.
    pub fn new(len: usize) -> Result<Self, ShmError> {
        Object::create("procession-segment", BYTES, len).map(Self)
    }

    /// How many bytes it holds. It never changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on into all of `bytes`.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), ShmError> {
        self.0.read(offset, bytes)
    }

    /// Copies `len` bytes from `offset` on.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`]; [`ShmError::OutOfMemory`] when there is no room for a copy.
    pub fn read_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>, ShmError> {
        self.0.read_vec(offset, len)
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), ShmError> {
        self.0.write(offset, bytes)
    }

    /// Copies a value out, from any offset.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn get<T: Plain>(&self, offset: usize) -> Result<T, ShmError> {
        plain::filled(|bytes| self.read(offset, bytes))
    }

    /// Copies a value in, to any offset.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn put<T: Plain>(&self, offset: usize, value: &T) -> Result<(), ShmError> {
        self.write(offset, plain::bytes_of(value))
    }

    /// Closes the memory to new writers, for ever, and gives a handle for readers.
    ///
    /// Those who have this segment already go on writing: this handle, its clones, and processes that have received
    /// it. But it cannot be sent any more: encoding it fails, and so does receiving what was on its way. The kernel
    /// keeps that, also against receivers that mean harm.
    ///
    /// # Errors
    /// [`ShmError::Os`] without descriptors or address space.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::Segment;
    /// let segment = Segment::new(8)?;
    /// let readers = segment.read_only()?;
    /// segment.put(0, &7_u64)?;
    /// assert_eq!(readers.get::<u64>(0)?, 7);
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn read_only(&self) -> Result<ReadSegment, ShmError> {
        self.0.close_to_writers().map(ReadSegment)
    }
}

/// A block of shared memory that whoever receives it can only read.
///
/// Made by [`Segment::read_only`], whose writers go on writing, or by [`ReadSegment::from_bytes`], with bytes that
/// never change. *Shared* handle, as [`Segment`] is; the receiver checks that the memory is closed to writers.
///
/// # If a peer dies
/// The bytes stay, with what it wrote.
#[derive(Debug, Clone)]
pub struct ReadSegment(Arc<Object>);

impl ReadSegment {
    /// Makes a segment that holds a copy of `bytes`, which nobody can ever change.
    ///
    /// # Errors
    /// As [`Segment::new`].
    ///
    /// # Examples
    /// ```
    /// use procession_shm::ReadSegment;
    /// let model = ReadSegment::from_bytes(b"weights")?;
    /// assert_eq!(model.as_slice(), Some(&b"weights"[..])); // not copied, here and in each receiver
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShmError> {
        Object::frozen("procession-bytes", BYTES, bytes).map(Self)
    }

    /// All of the bytes in place, if nobody can ever change them; `None` while somebody may write.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        self.0.as_slice()
    }

    /// How many bytes it holds. It never changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on into all of `bytes`.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), ShmError> {
        self.0.read(offset, bytes)
    }

    /// Copies `len` bytes from `offset` on.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`]; [`ShmError::OutOfMemory`] when there is no room for a copy.
    pub fn read_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>, ShmError> {
        self.0.read_vec(offset, len)
    }

    /// Copies a value out, from any offset.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn get<T: Plain>(&self, offset: usize) -> Result<T, ShmError> {
        plain::filled(|bytes| self.read(offset, bytes))
    }
}

/// The type of a segment that says nothing about its bytes.
const BYTES: Fingerprint = Fingerprint::new("bytes", 0, header::LEN);

/// A segment whose descriptor came by other ways than a message.
///
/// # Errors
/// [`ShmError::Refused`] for anything but a whole segment; [`ShmError::ReadOnly`] if it was closed to new writers. The
/// descriptor is then closed.
impl TryFrom<OwnedFd> for Segment {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        Object::adopt(fd, BYTES, Access::Write).map(Self)
    }
}

/// A segment whose descriptor came by other ways than a message.
///
/// # Errors
/// [`ShmError::Refused`] for anything but a whole segment that is closed to writers. The descriptor is then closed.
impl TryFrom<OwnedFd> for ReadSegment {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        Object::adopt(fd, BYTES, Access::Read).map(Self)
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for ReadSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for ReadSegment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer, BYTES, Access::Write).map(Self)
    }
}

impl<'de> Deserialize<'de> for ReadSegment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Object::deserialize(deserializer, BYTES, Access::Read).map(Self)
    }
}
