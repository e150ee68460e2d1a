//! The two calls that sleeping is made of, on words that processes share.

use std::sync::atomic::AtomicU32;

use rustix::thread::futex::{self, Flags};

/// Sleeps while `word` holds `expected`. May return for no reason.
#[inline]
pub fn wait(word: &AtomicU32, expected: u32) {
    // Interrupted or changed: the callers look at the word again anyway.
    let _ = futex::wait(word, Flags::empty(), expected, None);
}

/// Wakes up to `n` sleepers.
#[inline]
pub fn wake(word: &AtomicU32, n: u32) {
    let _ = futex::wake(word, Flags::empty(), n);
}
