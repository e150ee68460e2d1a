//! The protocols under a model checker, which tries every order of their accesses that the memory model allows, up to a
//! number of preemptions.
//!
//! Runs with `RUSTFLAGS="--cfg loom"` only: `cargo xtask ci loom`. Invariants: at most three threads; no model takes
//! more than 20 s; beside each model is a broken twin, and the test fails if the checker does not see it fail. No tick
//! ever comes here, so a wake that only the tick would replace shows as a deadlock.
#![cfg(loom)]
#![allow(
    clippy::print_stderr,
    reason = "how many executions there were is for whoever reads the test's output"
)]
#![allow(
    clippy::arc_with_non_send_sync,
    reason = "the checker runs one thread at a time and judges sharing itself"
)]

#[path = "loom/barrier.rs"]
mod barrier;
#[path = "loom/condvar.rs"]
mod condvar;
#[path = "loom/event.rs"]
mod event;
#[path = "loom/job.rs"]
mod job;
#[path = "loom/lock.rs"]
mod lock;
#[path = "loom/once.rs"]
mod once;
#[path = "loom/ring.rs"]
mod ring;
#[path = "loom/rwlock.rs"]
mod rwlock;
#[path = "loom/semaphore.rs"]
mod semaphore;
#[path = "loom/support.rs"]
mod support;
