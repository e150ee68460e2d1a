//! The C library's mutex for processes, of the robust kind: the kernel frees it when its holder dies.
//!
//! # Safety
//! - The mutex lies in shared memory that the value keeps, was initialised before any child was forked, is never
//!   moved, and is not destroyed: the memory goes as a whole.
//! - The C library synchronises all access to it.
#![allow(unsafe_code, reason = "calls of the C library")]

use std::mem::MaybeUninit;

use crate::memory::Shared;

/// A robust mutex in memory of its own, which forked children share.
#[derive(Debug)]
pub struct RobustMutex {
    memory: Shared,
}

/// What the holder before did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Unlocked it.
    Clean,
    /// Died. The mutex was made consistent again.
    OwnerDied,
}

impl RobustMutex {
    /// A free one.
    ///
    /// # Panics
    /// If the C library has none.
    pub fn new() -> Self {
        let mutex = Self { memory: Shared::new(4096) };
        let mut attributes = MaybeUninit::uninit();
        let attr = attributes.as_mut_ptr();
        // SAFETY: initialises the attributes.
        check(unsafe { libc::pthread_mutexattr_init(attr) });
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setpshared(attr, libc::PTHREAD_PROCESS_SHARED) });
        // SAFETY: they are initialised.
        check(unsafe { libc::pthread_mutexattr_setrobust(attr, libc::PTHREAD_MUTEX_ROBUST) });
        // SAFETY: the memory is large enough, aligned, and not used by anybody yet.
        check(unsafe { libc::pthread_mutex_init(mutex.place(), attr) });
        // SAFETY: they are initialised, and not used again.
        check(unsafe { libc::pthread_mutexattr_destroy(attr) });
        mutex
    }

    /// Takes it; blocks until it is free or its holder is dead.
    ///
    /// # Panics
    /// If the C library refuses.
    #[inline]
    pub fn lock(&self) -> Taken {
        // SAFETY: see the page.
        match unsafe { libc::pthread_mutex_lock(self.place()) } {
            0 => Taken::Clean,
            libc::EOWNERDEAD => {
                // SAFETY: the calling thread holds it.
                check(unsafe { libc::pthread_mutex_consistent(self.place()) });
                Taken::OwnerDied
            }
            error => panic!("locking a robust mutex: error {error}"),
        }
    }

    /// Gives it back.
    ///
    /// # Panics
    /// If the caller does not hold it.
    #[inline]
    pub fn unlock(&self) {
        // SAFETY: see the page; for a caller that does not hold it, it is an error.
        check(unsafe { libc::pthread_mutex_unlock(self.place()) });
    }

    #[inline]
    fn place(&self) -> *mut libc::pthread_mutex_t {
        self.memory.bytes(0, size_of::<libc::pthread_mutex_t>()).cast()
    }
}

impl Default for RobustMutex {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn check(error: i32) {
    assert!(error == 0, "a call for a robust mutex failed: error {error}");
}
