//! Named shared memory of other programs: bytes in a file of `/dev/shm`, as POSIX `shm_open` makes it.
//!
//! Invariant: the file is never mapped. Its owner may shrink it at any moment, and whoever touches a mapping beyond the
//! end dies of SIGBUS; no check before the touch helps. Reading and writing by system calls answers with fewer bytes
//! instead. Held by `tests/foreign.rs`.

use std::io::ErrorKind;

use procession_sys::memory;
use procession_sys::named::NamedFile;

use crate::error::{NameError, Refusal, ShmError};

/// A block of shared memory that other programs map by its name: Python's `multiprocessing.shared_memory`, the crate
/// `shared_memory`, anything that calls `shm_open`.
///
/// No header, no type, no seal: bytes. Each read and write is a system call and a copy, of the order of a microsecond
/// for small ones, and not atomic: order between the programs has to come from elsewhere. Between processes that both
/// use procession, [`Segment`](crate::Segment) is faster and safer.
///
/// *Unique*: not `Clone`, and it does not travel: send the name. `Send` and `Sync`.
///
/// The one that made it removes the name when it is dropped, unless told to [`keep`](Self::keep) it; the one that
/// opened it does not. Python's `SharedMemory` up to 3.12 removes at its exit what it only opened, unless the script
/// unregisters it; from 3.13 on, `track=False` prevents that.
///
/// # If a peer dies
/// The bytes stay, with what it wrote. If this process is killed, a name that it made stays until somebody removes it:
/// nothing in such a file shows whether it is in use.
///
/// # Examples
/// ```
/// use procession_shm::ForeignSegment;
/// let name = format!("example.{}", std::process::id());
/// let ours = ForeignSegment::create(&name, 16)?;
/// let theirs = ForeignSegment::open(&name)?; // or SharedMemory(name=..) in Python
/// ours.write(4, b"hello")?;
/// assert_eq!(theirs.read_vec(4, 5)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ForeignSegment {
    file: NamedFile,
    /// Without a slash.
    name: String,
    /// The process that removes the name.
    owner: Option<u32>,
}

impl ForeignSegment {
    /// Makes a block of `len` zero bytes, all of them reserved, for this user alone. Others see it at once and whole.
    ///
    /// Names have 1 to 255 bytes, without NUL and slashes, but for one at the beginning, which counts for nothing. The
    /// memory counts against the size of `/dev/shm`.
    ///
    /// # Errors
    /// [`NameError::AlreadyExists`]; [`NameError::Invalid`]; [`NameError::Memory`] when there is not so much.
    pub fn create(name: &str, len: u64) -> Result<Self, NameError> {
        let name = plain(name)?;
        let file = NamedFile::draft(len)?;
        match file.publish(name) {
            Ok(()) => Ok(Self { file, name: name.to_owned(), owner: Some(std::process::id()) }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(NameError::AlreadyExists { name: name.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the block with this name.
    ///
    /// # Errors
    /// [`NameError::NotFound`]; [`NameError::Invalid`]; [`NameError::Refused`] when it is no ordinary file;
    /// [`NameError::Memory`], for example when it is another user's.
    pub fn open(name: &str) -> Result<Self, NameError> {
        let name = plain(name)?;
        match NamedFile::open(name) {
            Ok(file) => Ok(Self { file, name: name.to_owned(), owner: None }),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound => NameError::NotFound { name: name.to_owned() },
                ErrorKind::InvalidInput => NameError::Refused(Refusal::NotMemory),
                _ => error.into(),
            }),
        }
    }

    /// Its name, without a slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes it holds now; others may change that.
    ///
    /// # Errors
    /// None that is known.
    pub fn len(&self) -> Result<u64, ShmError> {
        Ok(self.file.len()?)
    }

    /// Whether it holds none now.
    ///
    /// # Errors
    /// None that is known.
    pub fn is_empty(&self) -> Result<bool, ShmError> {
        self.len().map(|len| len == 0)
    }

    /// Copies the bytes from `offset` on into all of `bytes`.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`] with the length of now; some of `bytes` may then have been filled.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), ShmError> {
        self.check(offset, bytes.len())?;
        if self.file.read_at(offset as u64, bytes)? < bytes.len() {
            // Shrunk since.
            return Err(self.out_of_bounds(offset, bytes.len())?);
        }
        Ok(())
    }

    /// Copies `len` bytes from `offset` on.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`] with the length of now; [`ShmError::OutOfMemory`] when there is no room for a copy.
    pub fn read_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>, ShmError> {
        self.check(offset, len)?;
        let mut bytes = Vec::new();
        // A file can be longer than what is in it, and than all memory.
        memory::grow(&mut bytes, len)?;
        bytes.resize(len, 0);
        self.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies `bytes` to `offset`.
    ///
    /// If another process shrinks the block at the same moment, it may grow again by what is written here.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`] with the length of now; [`ShmError::OutOfMemory`] when whoever made it did not reserve
    /// it, and there is no more.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), ShmError> {
        self.check(offset, bytes.len())?;
        Ok(self.file.write_at(offset as u64, bytes)?)
    }

    /// Leaves the name when this is dropped: whoever else uses it is to remove it.
    pub fn keep(&mut self) {
        self.owner = None;
    }

    /// Removes the name now, if it is still of this memory; those who have it open keep it. Says whether it was.
    ///
    /// # Errors
    /// [`ShmError::Os`] when this user may not.
    pub fn remove(&self) -> Result<bool, ShmError> {
        Ok(self.file.remove_name(&self.name)?)
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), ShmError> {
        let end = offset.checked_add(len).map(|end| end as u64);
        match end {
            Some(end) if end <= self.file.len()? => Ok(()),
            _ => Err(self.out_of_bounds(offset, len)?),
        }
    }

    fn out_of_bounds(&self, offset: usize, len: usize) -> Result<ShmError, ShmError> {
        let size = self.file.len()?.try_into().unwrap_or(usize::MAX);
        Ok(ShmError::OutOfBounds { offset, len, size })
    }
}

impl Drop for ForeignSegment {
    fn drop(&mut self) {
        if self.owner == Some(std::process::id()) {
            let _ = self.file.remove_name(&self.name);
        }
    }
}

/// The name as the file system has it.
fn plain(name: &str) -> Result<&str, NameError> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    let is_good = (1..=255).contains(&plain.len()) && !plain.contains(['/', '\0']);
    if is_good && ![".", ".."].contains(&plain) {
        Ok(plain)
    } else {
        Err(NameError::Invalid { name: name.to_owned() })
    }
}
