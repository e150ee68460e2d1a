//! Copying to and from memory that another process may be writing at this moment.
//!
//! Two ways, chosen by the mapping:
//! - **writable** memory is read and written with relaxed atomics only, so that threads of this process which race
//!   on it do nothing undefined: a reader sees old or new bytes, in any mixture;
//! - **read-only** memory is read with volatile loads: nobody in this process can write it through this address,
//!   and what other processes do is, to the compiler, memory that changes by itself.
//!
//! Eight bytes at a time where the shared side is aligned; the private side may lie anywhere.
//!
//! # Safety
//! The callers (in `mapping.rs`) promise that the whole shared range lies in a live mapping of the right kind. No
//! reference to shared bytes is formed except to atomics.
#![allow(unsafe_code, reason = "atomic and volatile access to mapped memory")]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

const WORD: usize = size_of::<u64>();

/// Copies out of writable shared memory.
///
/// # Safety
/// `shared` up to `private.len()` bytes further is mapped, readable and writable, and accessed by this process
/// only with atomics and through this file.
pub(super) unsafe fn load(shared: *mut u8, private: &mut [u8]) {
    let byte = |at: usize| {
        // SAFETY: `at` is below `private.len()`, so the byte is in the range the caller promised; atomics only.
        unsafe { AtomicU8::from_ptr(shared.wrapping_add(at)) }.load(Relaxed)
    };
    let word = |at: usize| {
        // SAFETY: `gather` asks for whole words inside of the promised range, aligned; atomics only.
        unsafe { AtomicU64::from_ptr(shared.wrapping_add(at).cast()) }.load(Relaxed)
    };
    gather(shared.align_offset(WORD), private, byte, word);
}

/// Copies out of read-only shared memory.
///
/// # Safety
/// `shared` up to `private.len()` bytes further is mapped and readable, and cannot be written through this mapping.
pub(super) unsafe fn load_read_only(shared: *const u8, private: &mut [u8]) {
    let byte = |at: usize| {
        // SAFETY: `at` is below `private.len()`, so the byte is in the range the caller promised.
        unsafe { shared.wrapping_add(at).read_volatile() }
    };
    let word = |at: usize| {
        // SAFETY: `gather` asks for whole words inside of the promised range, aligned.
        unsafe { shared.wrapping_add(at).cast::<u64>().read_volatile() }
    };
    gather(shared.align_offset(WORD), private, byte, word);
}

/// Copies into writable shared memory.
///
/// # Safety
/// As for [`load`].
pub(super) unsafe fn store(shared: *mut u8, private: &[u8]) {
    let head = shared.align_offset(WORD).min(private.len());
    let (first, rest) = private.split_at(head);
    let (words, last) = rest.as_chunks::<WORD>();
    let put = |at: usize, byte: u8| {
        // SAFETY: `at` is below `private.len()`, so the byte is in the range the caller promised; atomics only.
        unsafe { AtomicU8::from_ptr(shared.wrapping_add(at)) }.store(byte, Relaxed);
    };
    for (at, byte) in first.iter().enumerate() {
        put(at, *byte);
    }
    for (i, word) in words.iter().enumerate() {
        let place = shared.wrapping_add(head + i * WORD).cast();
        // SAFETY: `head` reaches an aligned address and each word ends before `private.len()`; atomics only.
        unsafe { AtomicU64::from_ptr(place) }.store(u64::from_ne_bytes(*word), Relaxed);
    }
    for (i, byte) in last.iter().enumerate() {
        put(head + words.len() * WORD + i, *byte);
    }
}

/// Fills `private` by offsets: bytes up to the first aligned one, words, and the bytes left over.
#[inline(always)]
fn gather(to_aligned: usize, private: &mut [u8], byte: impl Fn(usize) -> u8, word: impl Fn(usize) -> u64) {
    let head = to_aligned.min(private.len());
    let (first, rest) = private.split_at_mut(head);
    let (words, last) = rest.as_chunks_mut::<WORD>();
    let tail = head + words.len() * WORD;
    for (at, place) in first.iter_mut().enumerate() {
        *place = byte(at);
    }
    for (i, place) in words.iter_mut().enumerate() {
        *place = word(head + i * WORD).to_ne_bytes();
    }
    for (i, place) in last.iter_mut().enumerate() {
        *place = byte(tail + i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_and_length_around_a_word() {
        let source: Vec<u8> = (0..64).collect();
        for offset in 0..9 {
            for len in 0..40 {
                let mut words = [0_u64; 8];
                let base = words.as_mut_ptr().cast::<u8>();
                // SAFETY: 9 + 40 bytes lie in the local array, which nothing else touches meanwhile.
                unsafe { store(base.wrapping_add(offset), &source[..len]) };
                let mut back = vec![0; len];
                // SAFETY: as above.
                unsafe { load(base.wrapping_add(offset), &mut back) };
                assert_eq!(back, source[..len]);
                let mut whole = vec![0; 64];
                // SAFETY: exactly the local array.
                unsafe { load_read_only(base, &mut whole) };
                assert_eq!(whole[offset..offset + len], source[..len]);
                assert!(whole[..offset].iter().chain(&whole[offset + len..]).all(|byte| *byte == 0));
            }
        }
    }
}
