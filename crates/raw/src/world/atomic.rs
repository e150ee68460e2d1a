//! Atomics whose every access is a step of the world.
//!
//! Invariant: the access happens after the step, so a thread that stops or dies there has not done it.

use core::sync::atomic;
use core::sync::atomic::Ordering;
use std::cell::Cell;

thread_local! {
    static EXCHANGES: Cell<u32> = const { Cell::new(0) };
}

/// How many accesses of the calling thread read and wrote in one, each of which a processor does alone.
pub(crate) fn exchanges() -> u32 {
    EXCHANGES.get()
}

fn exchange() {
    super::step();
    EXCHANGES.set(EXCHANGES.get() + 1);
}

/// As the one of the language.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct AtomicU32(atomic::AtomicU32);

/// As the one of the language.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        super::step();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        super::step();
        self.0.store(value, order);
    }
}

/// As the one of the language; no step, because nobody else can see it.
pub(crate) fn fence(order: Ordering) {
    atomic::fence(order);
}

impl AtomicU32 {
    pub(crate) fn new(value: u32) -> Self {
        Self(atomic::AtomicU32::new(value))
    }

    /// Looks without a step, as the kernel and the test do.
    pub(crate) fn peek(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Changes without a step.
    pub(crate) fn poke(&self, value: u32) {
        self.0.store(value, Ordering::SeqCst);
    }

    pub(crate) fn load(&self, order: Ordering) -> u32 {
        super::step();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u32, order: Ordering) {
        super::step();
        self.0.store(value, order);
    }

    pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.swap(value, order)
    }

    pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.fetch_sub(value, order)
    }

    pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.fetch_max(value, order)
    }

    pub(crate) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.fetch_or(value, order)
    }

    pub(crate) fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        exchange();
        self.0.fetch_and(value, order)
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        exchange();
        self.0.compare_exchange(current, new, success, failure)
    }
}
