//! Files in the directory of shared memory, by which strangers meet: they appear whole, and show whether their owner
//! lives.
//!
//! A name is published with `linkat` from a file that had none, so nobody ever sees a half-made one, and of two
//! publishers the second is told. Whoever owns a name *holds* a shared lock on its file for life; the kernel lets go of
//! it with the last descriptor, however the process ends. So whoever can *claim* the exclusive lock knows that the name
//! is stale.
//!
//! Such a file can be shrunk by anybody who may write to it, under a mapping that is a signal. So nothing here maps it:
//! bytes go through `pread` and `pwrite`, which answer with fewer bytes. Held by `tests/named.rs`.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use crate::{OsError, Result, memory};

/// Where names of shared memory are: what `shm_open` uses.
pub const DIRECTORY: &str = "/dev/shm";

/// A file in [`DIRECTORY`], open for reading and writing; it may have a name or not.
#[derive(Debug)]
pub struct NamedFile {
    fd: OwnedFd,
}

/// Which file something is: two descriptors of one file have the same, for as long as either is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The number of the file there.
    pub inode: u64,
}

impl NamedFile {
    /// Makes a file without a name, of `len` zero bytes, all of them reserved. Only its user may read and write it.
    ///
    /// # Errors
    /// `StorageFull` when the file system, the machine or the control group has visibly less left (looked at from a length
    /// of 4 MiB on), or when it runs out; `FileTooLarge` beyond this process's limit of file sizes; too many open descriptors.
    pub fn draft(len: u64) -> Result<Self> {
        let failed = |errno| OsError::new(format!("making a file of {len} bytes in {DIRECTORY}"), errno);
        if len > limit() {
            return Err(failed(Errno::FBIG));
        }
        if len >= WORTH_ASKING && len > room().map_err(failed)? {
            return Err(failed(Errno::NOSPC));
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::open(DIRECTORY, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let (mut done, mut portion) = (0, PORTION);
        while done < len {
            let now = portion.min(len - done);
            match rustix::fs::fallocate(&fd, FallocateFlags::empty(), done, now) {
                Ok(()) => done += now,
                // What was interrupted is undone, so the next try has to be shorter.
                Err(Errno::INTR) => portion = (portion / 2).max(LEAST_PORTION),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(Self { fd })
    }

    /// Opens the file with this name.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied`; `InvalidInput` when it is no ordinary file.
    pub fn open(name: &str) -> Result<Self> {
        let failed = |error: io::Error| OsError::new(format!("opening {name:?} in {DIRECTORY}"), error);
        // Not following links, and not waiting for the other end of a pipe that lies there.
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = match rustix::fs::open(path(name), flags, Mode::empty()) {
            Ok(fd) => fd,
            // A link, a directory, a socket.
            Err(errno @ (Errno::LOOP | Errno::ISDIR | Errno::NXIO)) => {
                return Err(failed(io::Error::new(ErrorKind::InvalidInput, errno)));
            }
            Err(errno) => return Err(failed(errno.into())),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(io::Error::new(ErrorKind::InvalidInput, "not an ordinary file")));
        }
        Ok(Self { fd })
    }

    /// Gives a file without a name its name, if no other has it.
    ///
    /// # Errors
    /// `AlreadyExists`; `StorageFull`.
    pub fn publish(&self, name: &str) -> Result<()> {
        let here = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        rustix::fs::linkat(CWD, here, CWD, path(name), AtFlags::SYMLINK_FOLLOW)
            .map_err(|errno| OsError::new(format!("giving the name {name:?} in {DIRECTORY}"), errno))
    }

    /// Shows that the owner of this file lives, until the last descriptor of it is closed, that of a forked child
    /// included.
    ///
    /// # Errors
    /// `WouldBlock` when somebody has claimed it.
    pub fn hold(&self) -> Result<()> {
        rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockShared)
            .map_err(|errno| OsError::new(self.doing("holding"), errno))
    }

    /// Whether nobody holds this file; if so, nobody else can hold or claim it until it is dropped.
    pub fn try_claim(&self) -> Result<bool> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(OsError::new(self.doing("claiming"), errno)),
        }
    }

    /// Whether the name is this file's.
    pub fn has_name(&self, name: &str) -> Result<bool> {
        match rustix::fs::lstat(path(name)) {
            Ok(stat) => Ok(id_of(&stat) == self.id()?),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(OsError::new(format!("looking at {name:?} in {DIRECTORY}"), errno)),
        }
    }

    /// Removes the name if it is this file's, and says whether it was.
    ///
    /// To be called by whoever holds or has claimed the file, because then nobody else calls it.
    pub fn remove_name(&self, name: &str) -> Result<bool> {
        if !self.has_name(name)? {
            return Ok(false);
        }
        match rustix::fs::unlink(path(name)) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(OsError::new(format!("removing {name:?} from {DIRECTORY}"), errno)),
        }
    }

    /// Its length in bytes, now.
    pub fn len(&self) -> Result<u64> {
        let stat =
            rustix::fs::fstat(&self.fd).map_err(|errno| OsError::new(self.doing("measuring"), errno))?;
        Ok(stat.st_size.try_into().unwrap_or(0))
    }

    /// Whether there is nothing in it, now.
    pub fn is_empty(&self) -> Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Copies the bytes from `offset` on; answers how many there were.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pread(&self.fd, &mut bytes[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(OsError::new(self.doing("reading from"), errno)),
            }
        }
        Ok(done)
    }

    /// Copies `bytes` to `offset`. What lies beyond the end makes the file longer.
    ///
    /// # Errors
    /// `StorageFull`; `FileTooLarge` beyond this process's limit of file sizes. Some bytes may have been written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let failed = |errno| OsError::new(self.doing("writing to"), errno);
        if offset.saturating_add(bytes.len() as u64) > limit() {
            return Err(failed(Errno::FBIG));
        }
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(&self.fd, &bytes[done..], offset + done as u64) {
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    fn id(&self) -> Result<FileId> {
        id(&self.fd)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} descriptor {} of {DIRECTORY}", self.fd.as_raw_fd())
    }
}

/// Which file a descriptor is of.
pub fn id(fd: impl AsFd) -> Result<FileId> {
    let stat =
        rustix::fs::fstat(fd).map_err(|errno| OsError::new("asking which file a descriptor is of", errno))?;
    Ok(id_of(&stat))
}

/// The names in [`DIRECTORY`] that begin with `prefix`, sorted; those that are no text are left out.
///
/// # Errors
/// The directory cannot be read.
pub fn names(prefix: &str) -> Result<Vec<String>> {
    let failed = |error| OsError::new(format!("listing {DIRECTORY}"), error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(DIRECTORY).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().into_string();
        names.extend(name.ok().filter(|name| name.starts_with(prefix)));
    }
    names.sort();
    Ok(names)
}

/// Another process's file, by the number of its descriptor there; only if it is the file `expected`. The access is
/// that of a file opened anew for reading and writing.
///
/// # Errors
/// `NotFound` when there is no such process or descriptor, or it is of another file; `PermissionDenied` when this
/// process may not look into that one.
pub fn descriptor_of(pid: u32, number: u32, expected: FileId) -> Result<OwnedFd> {
    let failed =
        |error: io::Error| OsError::new(format!("opening descriptor {number} of process {pid}"), error);
    let other = || failed(io::Error::new(ErrorKind::NotFound, "it is of another file"));
    // First only which file it is: opening whatever the number may mean by now could do something, or fail for a reason
    // that has nothing to do with the file that is asked for.
    let seen =
        rustix::fs::open(format!("/proc/{pid}/fd/{number}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
    if id(&seen)? != expected {
        return Err(other());
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(format!("/proc/self/fd/{}", seen.as_raw_fd()), flags, Mode::empty())
        .map_err(|errno| failed(errno.into()))
}

impl From<NamedFile> for File {
    fn from(file: NamedFile) -> Self {
        file.fd.into()
    }
}

/// How much could still be reserved. The file system may promise more than there is memory, and taking that would end
/// in a kill, of this process or of another.
fn room() -> rustix::io::Result<u64> {
    let stat = rustix::fs::statvfs(DIRECTORY)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(free.min(memory::available().saturating_sub(RESERVE)))
}

/// From this length on, asking what is left takes little of the time that reserving it does.
const WORTH_ASKING: u64 = 4 << 20;
/// Left for the page tables and the buffers of everybody else.
const RESERVE: u64 = 8 << 20;
/// Reserved in one call.
const PORTION: u64 = 16 << 20;
const LEAST_PORTION: u64 = 64 << 10;

fn id_of(stat: &rustix::fs::Stat) -> FileId {
    FileId { device: stat.st_dev, inode: stat.st_ino }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

/// Beyond it, a write would be a signal.
fn limit() -> u64 {
    rustix::process::getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX).min(i64::MAX as u64)
}
