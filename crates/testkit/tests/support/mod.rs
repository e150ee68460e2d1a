//! A page of shared memory and a signal to oneself, for the tests that need them.
//!
//! # Safety
//! A page stays mapped as long as the value lives, is as large as its memfd was made, and is only touched
//! through atomics.

#![allow(unsafe_code, reason = "maps a page, signals a thread")]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The size of a page and of its file.
pub(crate) const SIZE: usize = 4096;

/// A memfd as large as a page.
pub(crate) fn page_file(name: &str) -> OwnedFd {
    let file = memfd_create(name, MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&file, SIZE as u64).expect("its size");
    file
}

/// Sends a signal to the calling thread and to no other of the process.
#[allow(dead_code, reason = "one of the binaries that share this file does not signal")]
pub(crate) fn signal_this_thread(signal: i32) {
    // SAFETY: raise has no preconditions; no handler is installed for what the tests send.
    unsafe { libc::raise(signal) };
}

/// A page of shared memory.
pub(crate) struct Page(*mut AtomicU8);

impl Page {
    /// Maps a file made by [`page_file`].
    pub(crate) fn map(file: impl AsFd) -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free address for a new mapping.
        let page = unsafe { mmap(ptr::null_mut(), SIZE, access, MapFlags::SHARED, file, 0) };
        Self(page.expect("a mapping").cast())
    }

    /// Copies as the C library does, which stores vectors.
    #[allow(dead_code, reason = "not all of the binaries that share this file copy")]
    pub(crate) fn copy(&self, index: usize, bytes: &[u8]) {
        assert!(index + bytes.len() <= SIZE);
        // SAFETY: the index is inside the page.
        let place = unsafe { self.0.add(index) };
        // SAFETY: so is the end of the bytes; the victim that copies is alone with its page.
        unsafe { libc::memcpy(place.cast(), bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Copies with an instruction that repeats itself.
    #[allow(dead_code, reason = "not all of the binaries that share this file copy")]
    pub(crate) fn copy_repeatedly(&self, index: usize, bytes: &[u8]) {
        assert!(index + bytes.len() <= SIZE);
        // SAFETY: the index is inside the page.
        let place = unsafe { self.0.add(index) };
        // SAFETY: so is the end of the bytes; the flag of the direction is clear, as the ABI has it.
        unsafe {
            std::arch::asm!("rep movsb", inout("rcx") bytes.len() => _, inout("rdi") place => _,
                inout("rsi") bytes.as_ptr() => _, options(nostack, preserves_flags));
        };
    }

    /// Eight bytes of it.
    #[allow(dead_code, reason = "not all of the binaries that share this file need words")]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index.is_multiple_of(8) && index + 8 <= SIZE);
        // SAFETY: the index is inside the page.
        let word = unsafe { self.0.add(index) };
        // SAFETY: so is the end of the word, which is aligned; the page is mapped for as long as `self` lives.
        unsafe { &*word.cast() }
    }

    /// One byte of it.
    #[allow(dead_code, reason = "one of the binaries that share this file only maps a page")]
    pub(crate) fn byte(&self, index: usize) -> &AtomicU8 {
        assert!(index < SIZE);
        // SAFETY: the index is inside the page.
        let byte = unsafe { self.0.add(index) };
        // SAFETY: the page is mapped for as long as `self` lives and is used through atomics only.
        unsafe { &*byte }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the page was mapped with this size, and no borrow of it outlives `self`.
        let _ = unsafe { munmap(self.0.cast(), SIZE) };
    }
}
