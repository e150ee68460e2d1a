//! Channels with many producers and many consumers, in shared memory.
//!
//! # What belongs here
//! Bounded and unbounded queues, and job queues whose items are guards, so that the job of a dead worker is
//! known. A message is encoded by its sender straight into the queue: no thread does it later, and errors
//! come back where they belong.
//!
//! # What works today
//! Nothing: this crate exports no item yet, and no other crate depends on it.
//!
//! # Meanwhile
//! A pipe connects two processes in both directions; a pool hands work to many.
//!
//! # What it does not do
//! It runs no code of its users under a lock of the queue, and needs no sentinel values to end a consumer's
//! loop.
#![deny(unsafe_code)]
