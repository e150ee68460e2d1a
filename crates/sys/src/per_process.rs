//! What each process has one of, and a forked child one of its own.
//!
//! What a fork copies of its parent's may be locked for ever, and belongs to threads that the child has not: it stays
//! behind, with what it holds. Invariant: a process always gets the same one. Held by `tests/wait.rs`.
//!
//! # Safety
//! The pointer is null, or to something that came out of a box and is never freed or moved.
#![allow(unsafe_code, reason = "a static behind a pointer")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::fork::{Epoch, epoch};

/// A place for it; static.
///
/// ```
/// use procession_sys::per_process::PerProcess;
/// use std::sync::Mutex;
///
/// static SEEN: PerProcess<Mutex<Vec<u32>>> = PerProcess::new();
/// SEEN.get(Mutex::default).lock().unwrap().push(1);
/// assert_eq!(SEEN.get(Mutex::default).lock().unwrap().len(), 1);
/// ```
#[derive(Debug)]
pub struct PerProcess<T>(AtomicPtr<Of<T>>);

#[derive(Debug)]
struct Of<T> {
    epoch: Epoch,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    /// With nothing in it.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// That of this process, made if there is none yet; two may be made at once, of which one stays.
    pub fn get(&'static self, make: impl Fn() -> T) -> &'static T {
        let epoch = epoch();
        let mut known = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: it is null or never freed, as the page says.
            if let Some(of) = unsafe { known.as_ref() }.filter(|of| of.epoch == epoch) {
                return &of.value;
            }
            let new = Box::into_raw(Box::new(Of { epoch, value: make() }));
            match self.0.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => known = new,
                Err(other) => {
                    // SAFETY: it came out of a box a few lines above, and nobody else has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    known = other;
                }
            }
        }
    }
}

impl<T: Send + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}
