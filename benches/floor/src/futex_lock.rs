//! The bare futex mutex: three states, sleeps at once.
//!
//! After "Mutex, Take 2" of Ulrich Drepper's *Futexes Are Tricky*. It knows no owner: one who dies holds it for ever.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::futex;

/// A mutex in one word. All zero is free.
///
/// | word | meaning |
/// |---|---|
/// | 0 | free |
/// | 1 | held, nobody sleeps |
/// | 2 | held, somebody may sleep |
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct FutexLock {
    word: AtomicU32,
}

impl FutexLock {
    /// Takes it; blocks until it is free.
    #[inline]
    pub fn lock(&self) {
        if self.word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.contended();
        }
    }

    /// Gives it back. The caller holds it.
    #[inline]
    pub fn unlock(&self) {
        if self.word.swap(0, Ordering::Release) == 2 {
            futex::wake(&self.word, 1);
        }
    }

    #[cold]
    fn contended(&self) {
        while self.word.swap(2, Ordering::Acquire) != 0 {
            futex::wait(&self.word, 2);
        }
    }
}
