//! A number behind the bare futex mutex: the floor of a value with a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::futex_lock::FutexLock;

/// A number and its lock. All zero is a free lock and 0.
#[derive(Debug, Default)]
#[repr(C)]
pub struct LockedValue {
    lock: FutexLock,
    /// Changed under the lock only; atomic, because processes share it.
    number: AtomicU64,
}

impl LockedValue {
    /// Adds, under the lock.
    #[inline]
    pub fn add(&self, n: u64) {
        self.lock.lock();
        self.number.store(self.number.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        self.lock.unlock();
    }

    /// The number at this moment.
    pub fn get(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }
}
