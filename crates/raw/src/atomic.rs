//! The atomics of the algorithms: those of the language; under `--cfg loom` those of the model checker; in unit tests
//! those of a scripted world, which can stop or kill a thread at every access.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(not(any(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(all(test, not(loom)))]
pub(crate) use crate::world::atomic::{AtomicU32, AtomicU64, fence};

pub(crate) use core::sync::atomic::Ordering;
