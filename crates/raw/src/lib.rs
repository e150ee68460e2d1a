//! Word protocols as pure algorithms: what a lock, a semaphore or a ring *does*, without the place it lives in.
//!
//! Nothing here knows an operating system, allocates, or holds `unsafe`. An algorithm takes its way of waiting
//! ([`Park`]) as an argument, so that the same code runs over futexes in shared memory, under a model checker,
//! and in a test that scripts a death.
//!
//! Today this crate holds two contracts: [`Park`], which the kernel crate implements, and [`Owners`], which proves the
//! death of a participant. The protocols themselves (lock, reader-writer lock, semaphore, event count, barrier, ring)
//! are not here yet.
#![cfg_attr(not(loom), no_std)]
#![forbid(unsafe_code)]

mod atomic;
mod owners;
mod park;

pub use owners::{Id, NoSlot, Owners};
pub use park::{Park, Waited};
