//! Anonymous files in memory: made at their full size, reserved, and sealed before anybody else can have them.
//!
//! Invariants of every [`Memfd`]: it is close-on-exec, it is sealed against shrinking, `len` is at most its real
//! length for ever, and all of it was reserved when it was made or taken over.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use super::room::{grow, is_absurd};
use crate::{OsError, Result};

/// Shared memory without a name: a descriptor of a file that lives in memory and cannot shrink.
///
/// Freed by the kernel with the last descriptor and mapping of it, in whatever process, however that ends.
#[derive(Debug)]
pub struct Memfd {
    fd: OwnedFd,
    len: u64,
    /// When it was made or taken over.
    pub(super) seals: SealFlags,
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
    /// It is longer than what is in it: the rest would be allocated at the first touch, for which there may be no
    /// memory.
    NotReserved {
        /// Bytes that are allocated.
        reserved: u64,
        /// Bytes that should be: its length, in whole pages.
        len: u64,
    },
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

    /// Takes over a descriptor that came from elsewhere, after asking the kernel what it really is, how long, and how
    /// much of that is allocated.
    ///
    /// What others can still do: whoever may write can also punch holes, which only the seals against writing forbid
    /// ([`is_frozen`](Self::is_frozen), [`close_to_writers`](Self::close_to_writers)). A hole reads as zeros, and costs
    /// its page again at the next touch.
    ///
    /// # Errors
    /// `InvalidData` holding an [`Unsealed`] when it is not memory that is sealed against shrinking, and reserved: such
    /// memory could vanish under a reader, or be lacking, who would die of it. The descriptor is then closed.
    pub fn adopt(fd: OwnedFd) -> Result<Self> {
        Self::adopt_if(fd, check_reserved)
    }

    /// [`adopt`](Self::adopt) for memory that [`sparse`](Self::sparse) made, of which not all is reserved.
    ///
    /// # Errors
    /// As [`adopt`](Self::adopt).
    pub fn adopt_sparse(fd: OwnedFd) -> Result<Self> {
        Self::adopt_if(fd, |_, _| Ok(()))
    }

    fn adopt_if(
        fd: OwnedFd,
        check: impl FnOnce(u64, u64) -> std::result::Result<(), Unsealed>,
    ) -> Result<Self> {
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
        // After the seals were seen: from here on the length only grows, if at all, and what is closed to writers has no
        // new holes.
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        let len = u64::try_from(stat.st_size).map_err(|_| failed(Errno::OVERFLOW))?;
        check(len, stat.st_blocks.cast_unsigned()).map_err(refuse)?;
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
    /// As [`grow`](super::grow), when there is no room for a copy.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let doing = || format!("reading {} bytes of shared memory", self.len);
        let len = usize::try_from(self.len).map_err(|_| OsError::from_errno(doing(), libc::ENOMEM))?;
        let mut bytes = Vec::new();
        grow(&mut bytes, len)?;
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
            Self::NotReserved { reserved, len } => {
                return write!(
                    f,
                    "only {reserved} of {len} bytes are reserved: its maker must fallocate all of it"
                );
            }
        })
    }
}

impl std::error::Error for Unsealed {}

const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Reserved in one call. On many kernels a call that a signal interrupts undoes all it did, so it must be short
/// enough to finish between two ticks of a profiler.
const PORTION: u64 = 16 << 20;
const LEAST_PORTION: u64 = 64 << 10;
/// What `st_blocks` counts, whatever the file system.
const BLOCK: u64 = 512;

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

/// Pages that were swapped out count as allocated, pages beyond the end too. The kernel's memory files never say
/// fewer than there are; one of zero length has none.
fn check_reserved(len: u64, blocks: u64) -> std::result::Result<(), Unsealed> {
    let len = len.next_multiple_of(rustix::param::page_size() as u64);
    let reserved = blocks.saturating_mul(BLOCK);
    if reserved < len { Err(Unsealed::NotReserved { reserved, len }) } else { Ok(()) }
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
