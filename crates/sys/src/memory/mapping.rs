//! Mapped memory, with an interface that stays sound whatever other processes do to the bytes.
//!
//! Invariants: the mapped range is exactly that of a [`Memfd`], whose seal keeps it from shrinking, so touching it
//! raises no signal; it stays mapped until drop; ordinary references into it are formed only where the seals say
//! that nobody can write.
//!
//! # Safety
//! - `base` comes from `mmap` of `len` bytes and is unmapped once, in `drop`; everything handed out borrows `self`.
//! - Every offset is checked against `len` before use (`range`).
//! - A dead or lying peer can change bytes, tear them and punch holes (which read as zeros). It cannot unmap or
//!   shrink them. So bytes are only touched with atomics or volatile loads (`copy.rs`).
#![allow(unsafe_code, reason = "mapping memory and touching it")]

use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags};

use super::{Memfd, copy};
use crate::{OsError, Result};

/// A range of memory that other processes may share.
///
/// Reading while another thread or process writes gives old or new bytes in any mixture; order and meaning are the
/// business of a protocol, built on [`atomic_u32`](Self::atomic_u32). Offsets and lengths are bytes.
///
/// Shared by reference between threads; sends no reference into the memory beyond its own life. Dropping it unmaps;
/// the memory itself lives as long as any descriptor or mapping of it, in any process.
///
/// # Examples
/// ```
/// use procession_sys::memory::{Mapping, Memfd};
/// use std::sync::atomic::Ordering::Relaxed;
/// let memory = Memfd::sealed("example", 4096)?;
/// let (ours, theirs) = (Mapping::shared(&memory)?, Mapping::shared(&memory)?);
/// ours.atomic_u32(0).store(7, Relaxed);
/// ours.write(100, b"hello");
/// assert_eq!(theirs.atomic_u32(0).load(Relaxed), 7);
/// assert_eq!(theirs.read_vec(100, 5), b"hello");
/// # Ok::<(), procession_sys::OsError>(())
/// ```
#[derive(Debug)]
pub struct Mapping {
    /// Dangling where `len` is 0, which the kernel does not map.
    base: NonNull<u8>,
    len: usize,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Everybody reads and writes.
    Shared,
    /// We read; others may write.
    ReadOnly,
    /// Sealed against writing by anybody, for ever.
    Frozen,
}

/// The memory is not bound to a thread, and moving the value moves no bytes.
// SAFETY: `mmap` and `munmap` may be called on different threads, and nothing here is thread-local.
unsafe impl Send for Mapping {}
/// All access through a shared reference is by atomics, by volatile loads of memory this mapping cannot write, or
/// by slices of memory that nobody can write.
// SAFETY: see the sentence above; `copy.rs` keeps the first two, `as_slice` the third.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of `memory` for reading and writing.
    ///
    /// # Errors
    /// No address space or no map left, or `memory` is sealed against writing.
    pub fn shared(memory: &Memfd) -> Result<Self> {
        Self::map(memory, ProtFlags::READ | ProtFlags::WRITE, Access::Shared)
    }

    /// Maps all of `memory` for reading.
    ///
    /// # Errors
    /// No address space or no map left.
    pub fn read_only(memory: &Memfd) -> Result<Self> {
        let access = if memory.is_frozen() { Access::Frozen } else { Access::ReadOnly };
        Self::map(memory, ProtFlags::READ, access)
    }

    /// How many bytes are mapped.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word at `offset`, which all processes that map this memory share.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 4, if the word does not lie in the mapping, or if that is read-only.
    #[inline]
    pub fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        let place = self.word(offset, align_of::<AtomicU32>(), size_of::<AtomicU32>());
        // SAFETY: `word` checked that the place is mapped writable and aligned; the borrow keeps it mapped; this
        // process touches writable mappings with atomics only.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }

    /// The double word at `offset`, which all processes that map this memory share.
    ///
    /// # Panics
    /// If `offset` is not a multiple of 8, if the word does not lie in the mapping, or if that is read-only.
    pub fn atomic_u64(&self, offset: usize) -> &AtomicU64 {
        let place = self.word(offset, align_of::<AtomicU64>(), size_of::<AtomicU64>());
        // SAFETY: as in `atomic_u32`.
        unsafe { AtomicU64::from_ptr(place.cast()) }
    }

    /// Copies `bytes` to `offset`. Not atomic: a reader, and whoever survives if we are killed meanwhile, may see
    /// a part of them.
    ///
    /// # Panics
    /// If they do not all lie in the mapping, or if that is read-only.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.must_be_writable();
        let range = self.range(offset, bytes.len());
        // SAFETY: `range` lies in the mapping, which is writable.
        unsafe { copy::store(self.at(range.start), bytes) };
    }

    /// Copies the bytes from `offset` on into all of `bytes`.
    ///
    /// # Panics
    /// If they do not all lie in the mapping.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.at(self.range(offset, bytes.len()).start);
        if self.access == Access::Shared {
            // SAFETY: the range lies in the mapping, which is writable.
            unsafe { copy::load(from, bytes) };
        } else {
            // SAFETY: the range lies in the mapping, which cannot be written through.
            unsafe { copy::load_read_only(from, bytes) };
        }
    }

    /// Copies `len` bytes from `offset` on.
    ///
    /// # Panics
    /// If they do not all lie in the mapping.
    pub fn read_vec(&self, offset: usize, len: usize) -> Vec<u8> {
        self.range(offset, len); // before the allocation
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes);
        bytes
    }

    /// All of the bytes, where nobody can change them: a read-only mapping of memory that is sealed against writing.
    /// `None` otherwise.
    pub fn as_slice(&self) -> Option<&[u8]> {
        if self.access != Access::Frozen {
            return None;
        }
        // SAFETY: `len` bytes from `base` on are mapped while `self` is borrowed (or none, and `base` is aligned
        // for bytes); the seals, read from the kernel, forbid every write, hole and shrinking, and no writable
        // mapping could exist when the seal was set.
        Some(unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) })
    }

    /// The address of the first byte, for code that lays out types in shared memory and keeps the rules of this
    /// file itself. Dangling where the mapping is empty.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn map(memory: &Memfd, protection: ProtFlags, access: Access) -> Result<Self> {
        let doing = || format!("mapping {} bytes of shared memory", memory.len());
        let len = usize::try_from(memory.len()).map_err(|_| OsError::from_errno(doing(), libc::EOVERFLOW))?;
        if len == 0 {
            return Ok(Self { base: NonNull::dangling(), len, access });
        }
        // SAFETY: a new range at an address that the kernel chooses touches no memory of ours.
        let base = unsafe { rustix::mm::mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, memory, 0) };
        let base = base.map_err(|errno| OsError::new(doing(), errno))?;
        let base = NonNull::new(base.cast()).expect("the kernel maps nothing at address 0 unless told to");
        Ok(Self { base, len, access })
    }

    #[inline]
    fn must_be_writable(&self) {
        assert!(self.access == Access::Shared, "writing to a read-only mapping of {} bytes", self.len);
    }

    #[inline]
    fn word(&self, offset: usize, align: usize, size: usize) -> *mut u8 {
        self.must_be_writable();
        assert!(offset.is_multiple_of(align), "a word of {size} bytes at the odd offset {offset}");
        self.at(self.range(offset, size).start)
    }

    #[inline]
    fn range(&self, offset: usize, len: usize) -> Range<usize> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => offset..end,
            _ => panic!("{len} bytes at offset {offset} do not lie in a mapping of {} bytes", self.len),
        }
    }

    #[inline]
    fn at(&self, offset: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range came from `mmap` with this length, is unmapped nowhere else, and nothing that
            // borrowed from `self` is left.
            let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        }
    }
}
