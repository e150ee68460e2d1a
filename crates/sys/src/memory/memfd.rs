//! Anonymous files in memory: made at their full size, reserved, and sealed before anybody else can have them.
//!
//! Invariants of every [`Memfd`]: it is close-on-exec, it is sealed against shrinking, and `len` is at most its
//! real length for ever.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use super::available;
use crate::{OsError, Result};

/// Shared memory without a name: a descriptor of a file that lives in memory and cannot shrink.
///
/// Freed by the kernel with the last descriptor and mapping of it, in whatever process, however that ends.
#[derive(Debug)]
pub struct Memfd {
    fd: OwnedFd,
    len: u64,
    seals: SealFlags,
}

/// The reason inside the [`OsError`] of [`Memfd::adopt`] when the descriptor is no memory that can be trusted to
/// stay: `error.os_error().get_ref()` downcasts to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsealed {
    /// It is no anonymous memory (a file, a socket, memory in huge pages).
    NotMemory,
    /// It may still shrink, and with it the ground under a reader.
    MayShrink,
}

impl Memfd {
    /// Makes `len` bytes of zeroed shared memory, reserved and sealed against changing its size. `name` (at most
    /// 249 bytes) only shows up in `/proc`.
    ///
    /// Takes time in proportion to `len`, as all pages are reserved.
    ///
    /// # Errors
    /// `FileTooLarge` for a length beyond `isize::MAX` or this process's limit of file sizes; `OutOfMemory` when
    /// the machine or the control group has visibly less left (looked at from a length of 4 MiB on), or the
    /// system refuses; `StorageFull` when the memory file system is full; too many open descriptors.
    ///
    /// # Examples
    /// ```
    /// use procession_sys::memory::Memfd;
    /// let memory = Memfd::sealed("counters", 4096)?;
    /// assert_eq!(memory.len(), 4096);
    /// let absurd = Memfd::sealed("all of it", u64::MAX).unwrap_err();
    /// assert_eq!(absurd.kind(), std::io::ErrorKind::FileTooLarge);
    /// # Ok::<(), procession_sys::OsError>(())
    /// ```
    pub fn sealed(name: &str, len: u64) -> Result<Self> {
        check_length(name, len)?;
        let fd = create(name)?;
        reserve(&fd, name, len)?;
        seal(fd, name, len, SIZE_SEALS)
    }

    /// As [`sealed`](Self::sealed), but open to more seals: [`close_to_writers`](Self::close_to_writers). Whoever has
    /// the descriptor can add them, so this is for peers that are trusted not to.
    ///
    /// # Errors
    /// As [`Memfd::sealed`].
    pub fn sealable(name: &str, len: u64) -> Result<Self> {
        check_length(name, len)?;
        let fd = create(name)?;
        reserve(&fd, name, len)?;
        seal(fd, name, len, SIZE_SEALS.difference(SealFlags::SEAL))
    }

    /// Makes `len` bytes of address space in shared memory, sealed against changing its size, of which nothing is
    /// reserved yet: see [`reserve_range`](Self::reserve_range). Takes no time and no memory, whatever the length.
    ///
    /// A touch of what was not reserved takes memory then, and where there is none the system ends some process: so who
    /// shares it must reserve before it touches.
    ///
    /// # Errors
    /// `FileTooLarge` for a length beyond `isize::MAX` or this process's limit of file sizes; too many open descriptors.
    ///
    /// # Examples
    /// ```
    /// use procession_sys::memory::Memfd;
    /// let memory = Memfd::sparse("arena", 1 << 40)?;
    /// memory.reserve_range(1 << 39, 4096)?;
    /// assert_eq!(memory.reserved()?, 4096);
    /// memory.release_range(1 << 39, 4096)?;
    /// assert_eq!(memory.reserved()?, 0);
    /// # Ok::<(), procession_sys::OsError>(())
    /// ```
    pub fn sparse(name: &str, len: u64) -> Result<Self> {
        check_file_size(name, len)?;
        let fd = create(name)?;
        rustix::fs::ftruncate(&fd, len)
            .map_err(|errno| OsError::new(doing("making room for", name, len), errno))?;
        seal(fd, name, len, SIZE_SEALS)
    }

    /// Reserves the pages of `len` bytes from `offset` on, so that no touch of them can fail. What is reserved already
    /// stays as it is.
    ///
    /// # Errors
    /// `OutOfMemory` when there is visibly not that much left (looked at from a length of 4 MiB on) or the system
    /// refuses; `StorageFull`; `PermissionDenied` beyond the end.
    pub fn reserve_range(&self, offset: u64, len: u64) -> Result<()> {
        if is_absurd(len) {
            return Err(OsError::from_errno(doing("reserving", "", len), libc::ENOMEM));
        }
        allocate(&self.fd, "", offset, len)
    }

    /// Gives the memory of `len` bytes from `offset` on back to the system; they then read as zero and are not reserved.
    /// Pages that the range covers in part are set to zero there, and kept.
    ///
    /// # Errors
    /// The memory is sealed against writing.
    pub fn release_range(&self, offset: u64, len: u64) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        loop {
            match rustix::fs::fallocate(&self.fd, flags, offset, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(OsError::new(doing("giving back", "", len), errno)),
            }
        }
    }

    /// How many bytes have memory, in pages: those that were reserved, or touched.
    ///
    /// # Errors
    /// The system refuses.
    pub fn reserved(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd)
            .map_err(|errno| OsError::new(doing("measuring", "", self.len), errno))?;
        Ok((stat.st_blocks as u64).saturating_mul(512))
    }

    /// Makes shared memory that holds `bytes` and can never change again.
    ///
    /// # Errors
    /// As [`Memfd::sealed`].
    ///
    /// # Examples
    /// ```
    /// use procession_sys::memory::{Mapping, Memfd};
    /// let blob = Memfd::from_bytes("greeting", b"hello")?;
    /// assert_eq!(Mapping::read_only(&blob)?.as_slice(), Some(&b"hello"[..]));
    /// # Ok::<(), procession_sys::OsError>(())
    /// ```
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::from_parts(name, &[bytes])
    }

    /// As [`from_bytes`](Self::from_bytes), with one part after the other.
    ///
    /// # Errors
    /// As [`Memfd::sealed`].
    pub fn from_parts(name: &str, parts: &[&[u8]]) -> Result<Self> {
        let len = parts.iter().fold(0_u64, |len, part| len.saturating_add(part.len() as u64));
        check_length(name, len)?;
        let fd = create(name)?;
        reserve(&fd, name, len)?;
        let mut at = 0;
        for part in parts {
            write_all(&fd, name, at, part)?;
            at += part.len() as u64;
        }
        seal(fd, name, len, SIZE_SEALS | SealFlags::WRITE)
    }

    /// Takes over a descriptor that came from elsewhere, after asking the kernel what it really is and how long.
    ///
    /// # Errors
    /// `InvalidData` holding an [`Unsealed`] when it is not memory that is sealed against shrinking: such memory
    /// could vanish under a reader, who would die of it. The descriptor is then closed.
    pub fn adopt(fd: OwnedFd) -> Result<Self> {
        let number = fd.as_raw_fd();
        let refuse = |why| {
            OsError::new(format!("adopting descriptor {number}"), io::Error::new(ErrorKind::InvalidData, why))
        };
        let failed = |errno| OsError::new(format!("adopting descriptor {number}"), errno);
        let seals = match rustix::fs::fcntl_get_seals(&fd) {
            Ok(seals) => seals,
            Err(Errno::INVAL) => return Err(refuse(Unsealed::NotMemory)),
            Err(errno) => return Err(failed(errno)),
        };
        // Huge pages may be lacking at the first touch, which is a signal.
        if rustix::fs::fstatfs(&fd).map_err(failed)?.f_type as i64 == libc::HUGETLBFS_MAGIC {
            return Err(refuse(Unsealed::NotMemory));
        }
        if !seals.contains(SealFlags::SHRINK) {
            return Err(refuse(Unsealed::MayShrink));
        }
        // After the seal was seen: from here on the length only grows, if at all.
        let len = rustix::fs::fstat(&fd).map_err(failed)?.st_size;
        let len = u64::try_from(len).map_err(|_| failed(Errno::OVERFLOW))?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
        Ok(Self { fd, len, seals })
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether its length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nobody can ever change its bytes again: it is sealed against writing.
    pub fn is_frozen(&self) -> bool {
        self.seals.contains(SealFlags::WRITE)
    }

    /// Copies all of its bytes. Where they are not frozen, another process may change them meanwhile.
    ///
    /// # Errors
    /// `OutOfMemory` when there is visibly not that much left: a file in memory can be longer than what is in it,
    /// so its length is no proof that so much exists.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let doing = || format!("reading {} bytes of shared memory", self.len);
        let no_memory = || OsError::from_errno(doing(), libc::ENOMEM);
        if is_absurd(self.len) {
            return Err(no_memory());
        }
        let len = usize::try_from(self.len).map_err(|_| no_memory())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| no_memory())?;
        bytes.resize(len, 0);
        let mut got = 0;
        while got < len {
            match rustix::io::pread(&self.fd, &mut bytes[got..], got as u64) {
                Ok(0) => return Err(OsError::new(doing(), ErrorKind::UnexpectedEof)),
                Ok(n) => got += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(OsError::new(doing(), errno)),
            }
        }
        Ok(bytes)
    }

    /// Another descriptor of the same memory.
    ///
    /// # Errors
    /// Too many open descriptors.
    pub fn try_clone(&self) -> Result<Self> {
        let doing = || format!("duplicating descriptor {} of shared memory", self.fd.as_raw_fd());
        let fd = self.fd.try_clone().map_err(|error| OsError::new(doing(), error))?;
        Ok(Self { fd, len: self.len, seals: self.seals })
    }

    /// Its descriptor, to be sent elsewhere; [`Memfd::adopt`] makes a `Memfd` of it again.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Memfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMemory => "not anonymous shared memory",
            Self::MayShrink => "not sealed against shrinking",
        })
    }
}

impl std::error::Error for Unsealed {}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// From this length on, asking what is left takes little of the time that reserving it does.
const WORTH_ASKING: u64 = 4 << 20;
/// Left for the page tables and the buffers of everybody else.
const RESERVE: u64 = 8 << 20;
/// Reserved in one call. On many kernels a call that a signal interrupts undoes all it did, so it must be short
/// enough to finish between two ticks of a profiler.
const PORTION: u64 = 16 << 20;
const LEAST_PORTION: u64 = 64 << 10;

fn doing(what: &str, name: &str, len: u64) -> String {
    format!("{what} {len} bytes of shared memory {name:?}")
}

/// Refuses what can be known to fail, since what fails later would be a signal: beyond the limit of file sizes
/// that is `SIGXFSZ`, in a full control group `SIGKILL`.
fn check_length(name: &str, len: u64) -> Result<()> {
    check_file_size(name, len)?;
    if is_absurd(len) {
        return Err(OsError::from_errno(doing("reserving", name, len), libc::ENOMEM));
    }
    Ok(())
}

fn check_file_size(name: &str, len: u64) -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    if len > limit.min(isize::MAX as u64) {
        return Err(OsError::from_errno(doing("reserving", name, len), libc::EFBIG));
    }
    Ok(())
}

fn is_absurd(len: u64) -> bool {
    len >= WORTH_ASKING && len > available().saturating_sub(RESERVE)
}

/// Close-on-exec and sealable; without the right to be executed where the kernel knows of that.
fn create(name: &str) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        answer => answer,
    };
    fd.map_err(|errno| OsError::new(format!("creating shared memory {name:?}"), errno))
}

fn reserve(fd: &OwnedFd, name: &str, len: u64) -> Result<()> {
    rustix::fs::ftruncate(fd, len).map_err(|errno| OsError::new(doing("reserving", name, len), errno))?;
    allocate(fd, name, 0, len)
}

fn allocate(fd: &OwnedFd, name: &str, offset: u64, len: u64) -> Result<()> {
    let failed = |errno: Errno| OsError::new(doing("reserving", name, len), errno);
    let (mut done, mut portion) = (0, PORTION);
    while done < len {
        let now = portion.min(len - done);
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), offset.saturating_add(done), now) {
            Ok(()) => done += now,
            Err(Errno::INTR) => portion = (portion / 2).max(LEAST_PORTION),
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

fn write_all(fd: &OwnedFd, name: &str, at: u64, bytes: &[u8]) -> Result<()> {
    let failed = |errno: Errno| OsError::new(doing("writing", name, bytes.len() as u64), errno);
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(fd, &bytes[done..], at + done as u64) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

fn seal(fd: OwnedFd, name: &str, len: u64, seals: SealFlags) -> Result<Memfd> {
    let failed = |errno: Errno| OsError::new(doing("sealing", name, len), errno);
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(failed)?;
    Ok(Memfd { fd, len, seals })
}
