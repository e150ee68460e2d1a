//! Counts what the current thread allocates.
//!
//! # Safety
//!
//! The allocator hands everything to the system's and adds numbers in thread-locals, which are constant at
//! the start and have no destructor, so that touching them neither allocates nor fails.
#![allow(unsafe_code, reason = "a global allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn add(size: usize) {
    let live = LIVE.get().wrapping_add(size);
    LIVE.set(live);
    // Something freed here may come from another thread; a count below zero is no peak.
    if live < usize::MAX / 2 {
        PEAK.set(PEAK.get().max(live));
    }
}

fn remove(size: usize) {
    LIVE.set(LIVE.get().wrapping_sub(size));
}

// SAFETY: each method does what `System`'s does, which is a correct allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise about `layout`, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: `pointer` came from `System` with this layout, because all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // As if both existed for a while, which is the worst that may happen.
        add(size);
        remove(layout.size());
        // SAFETY: as in `dealloc`; the caller's promise about `size`, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `act`, which may allocate at most `allowed` bytes at any one time.
pub(crate) fn at_most<T>(allowed: usize, act: impl FnOnce() -> T) -> T {
    LIVE.set(0);
    PEAK.set(0);
    let value = act();
    let peak = PEAK.get();
    assert!(peak <= allowed, "{peak} bytes allocated, {allowed} allowed");
    value
}

/// Small change: an error and its text, and what a sequence or two may reserve before their first element.
const SMALL: usize = 20_000;

/// Runs `act` on `input`, of which each byte may become `share` bytes. A growing vector has, for a moment,
/// its old buffer and one twice as large, hence thrice that.
pub(crate) fn bounded<T>(input: &[u8], share: usize, act: impl FnOnce() -> T) -> T {
    at_most(3 * share * input.len() + SMALL, act)
}
