//! The protocols under a model checker, which tries every order of their accesses that the memory model allows, up to a
//! number of preemptions.
//!
//! Runs with `RUSTFLAGS="--cfg loom"` only: `cargo xtask ci loom`. Invariants: at most three threads; no model takes
//! more than 20 s; beside each model is a broken twin, and the test fails if the checker does not see it fail. No tick
//! ever comes here, so a wake that only the tick would replace shows as a deadlock.
#![cfg(loom)]

#[path = "loom/barrier.rs"]
mod barrier;
#[path = "loom/condvar.rs"]
mod condvar;
#[path = "loom/event.rs"]
mod event;
#[path = "loom/lock.rs"]
mod lock;
#[path = "loom/semaphore.rs"]
mod semaphore;
#[path = "loom/support.rs"]
mod support;
