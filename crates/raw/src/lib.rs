//! Word protocols as pure algorithms: what a lock, a semaphore or a ring *does*, without the place it lives in.
//!
//! Nothing here knows an operating system, allocates, or holds `unsafe`. An algorithm takes its way of waiting
//! ([`Park`]) as an argument, so that the same code runs over futexes in shared memory, under a model checker,
//! and in a test that scripts a death.
//!
//! Today this crate holds the [`Park`] contract that the kernel crate implements. The protocols themselves
//! (lock, reader-writer lock, semaphore, event count, barrier, ring) and the `Owners` contract, which proves the
//! death of a participant, arrive together with the shared-memory primitives.
#![no_std]
#![forbid(unsafe_code)]

mod park;

pub use park::{Park, Waited};
