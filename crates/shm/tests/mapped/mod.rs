//! Bytes in the mapping of another crate.
//!
//! # Safety
//! The `Shmem` that lends its pointer keeps `len` bytes mapped, and its file is not shrunk by these tests.
#![allow(unsafe_code, reason = "the crate `shared_memory` gives a raw pointer")]

use shared_memory::Shmem;

pub(crate) fn load(shmem: &Shmem, at: usize) -> u8 {
    assert!(at < shmem.len());
    // SAFETY: within the mapping, which `shmem` keeps; others may write, so the read is volatile.
    unsafe { shmem.as_ptr().wrapping_add(at).read_volatile() }
}

pub(crate) fn store(shmem: &Shmem, at: usize, byte: u8) {
    assert!(at < shmem.len());
    // SAFETY: within the mapping, which `shmem` keeps and which is writable.
    unsafe { shmem.as_ptr().wrapping_add(at).write_volatile(byte) };
}
