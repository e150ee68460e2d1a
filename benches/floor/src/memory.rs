//! Memory that forked children share with their parent, at the same address.
//!
//! # Safety
//! - A range comes from `mmap`, is unmapped once, in `drop`, and everything handed out borrows the `Shared`.
//! - Offsets are checked against the length before use.
//! - The memory has no name and every process in it is forked from this one, so nobody shrinks it.
//! - A value that is placed here is shared with forked children as it would be with threads, so it is `Sync`; what is
//!   behind a pointer would not be shared, so it has none ([`Pointerless`]).
#![allow(unsafe_code, reason = "mapping memory and placing words in it")]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

use crate::cache_line::CacheLine;
use crate::futex_lock::FutexLock;
use crate::futex_ping_pong::{Flag, PingPong};
use crate::locked_value::LockedValue;
use crate::ring::Line;

/// A range of shared memory without a name; zeroed when it is made.
#[derive(Debug)]
pub struct Shared {
    base: NonNull<u8>,
    /// What is mapped.
    len: usize,
}

/// The memory is not bound to a thread.
// SAFETY: `munmap` may be called on any thread.
unsafe impl Send for Shared {}
/// Gives out raw pointers, and references under the rules of [`Shared::at`].
// SAFETY: nothing here reads or writes the memory.
unsafe impl Sync for Shared {}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

impl Shared {
    /// `len` bytes, all touched once, so that no first touch is measured later.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn new(len: usize) -> Self {
        // SAFETY: a new range at an address that the kernel chooses.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                len,
                READ_WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
            )
        };
        Self { base: NonNull::new(base.expect("shared memory").cast()).expect("an address"), len }
    }

    /// `head` bytes, and behind them `body` bytes that are mapped twice in a row: what runs over the end of the body
    /// is at its beginning. Both are whole pages.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn doubled(head: usize, body: usize) -> Self {
        let file = rustix::fs::memfd_create("floor", MemfdFlags::CLOEXEC).expect("a file in memory");
        rustix::fs::ftruncate(&file, (head + body) as u64).expect("its length");
        let len = head + 2 * body;
        // SAFETY: a new range at an address that the kernel chooses.
        let base = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE)
        };
        let base = NonNull::new(base.expect("addresses").cast::<u8>()).expect("an address");
        let shared = Self { base, len };
        let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
        for (to, len, from) in [(0, head + body, 0), (head + body, body, head)] {
            let to = base.as_ptr().wrapping_add(to).cast();
            // SAFETY: the range lies in the one just reserved, which nobody uses yet.
            let mapped = unsafe { rustix::mm::mmap(to, len, READ_WRITE, flags, &file, from as u64) };
            assert_eq!(mapped.expect("shared memory"), to);
        }
        shared
    }

    /// The value at `offset`.
    ///
    /// # Panics
    /// If it does not lie in the memory, or `offset` is not aligned for it.
    ///
    /// # Safety
    /// A `T` is there, or all zero is one; it is `Sync`, and [`Pointerless`] in fact; nobody places another type there
    /// or touches its bytes otherwise.
    #[inline]
    pub unsafe fn at<T>(&self, offset: usize) -> &T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.len);
        // SAFETY: in range and aligned; the rest is promised by the caller.
        unsafe { &*self.base.as_ptr().wrapping_add(offset).cast() }
    }

    /// The address of the byte at `offset`.
    ///
    /// # Panics
    /// If `len` bytes from there on do not lie in the memory.
    #[inline]
    pub fn bytes(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset + len <= self.len);
        self.base.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: made by `mmap` with this length and unmapped nowhere else; no borrow is left.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A value in shared memory of its own: forked children have the same one.
#[derive(Debug)]
pub struct Placed<T> {
    memory: Shared,
    value: PhantomData<T>,
}

/// What means the same in every process that shares it.
///
/// # Safety
/// Nothing in it is, or leads to, the address of private memory, also after any use of it.
pub unsafe trait Pointerless {}

// SAFETY: a number.
unsafe impl Pointerless for AtomicU32 {}
// SAFETY: a number.
unsafe impl Pointerless for AtomicU64 {}
// SAFETY: an atomic number.
unsafe impl Pointerless for FutexLock {}
// SAFETY: an atomic number.
unsafe impl Pointerless for Flag {}
// SAFETY: two flags.
unsafe impl Pointerless for PingPong {}
// SAFETY: an atomic number.
unsafe impl Pointerless for CacheLine {}
// SAFETY: a lock and a number.
unsafe impl Pointerless for LockedValue {}
// SAFETY: nothing but a `T` and padding.
unsafe impl<T: Pointerless> Pointerless for Line<T> {}
// SAFETY: nothing but values of `T`.
unsafe impl<T: Pointerless, const N: usize> Pointerless for [T; N] {}

impl<T: Sync + Pointerless> Placed<T> {
    /// Moves the value into shared memory; it is never dropped.
    ///
    /// # Panics
    /// If there is no memory.
    pub fn new(value: T) -> Self {
        // SAFETY: `T` says so.
        unsafe { Self::promised(value) }
    }
}

impl<T: Sync> Placed<T> {
    /// [`new`](Self::new), for types that do not say that they are [`Pointerless`].
    ///
    /// # Panics
    /// If there is no memory.
    ///
    /// # Safety
    /// The caller promises what [`Pointerless`] asks for.
    pub unsafe fn promised(value: T) -> Self {
        let memory = Shared::new(size_of::<T>().max(1));
        // SAFETY: a page or more, aligned for whatever asks for no more than a page, and nobody else knows of it.
        unsafe { memory.bytes(0, size_of::<T>()).cast::<T>().write(value) };
        Self { memory, value: PhantomData }
    }
}

impl<T> Deref for Placed<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: written when this was made; shared by reference only, between processes that are forks of this one.
        unsafe { self.memory.at(0) }
    }
}
