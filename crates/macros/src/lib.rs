//! The procedural macros of procession.
//!
//! # What belongs here
//! The derive that proves of a type that it may live in shared memory, and the attribute that makes a proxy
//! from a trait. What they expand to belongs to `procession-shm` and `procession-manager`.
//!
//! # What works today
//! Nothing: this crate exports no macro yet, and no other crate depends on it.
//!
//! # Meanwhile
//! Nothing in procession needs a macro of this crate: what crosses a process derives serde's traits.
//!
//! # What it does not do
//! It registers nothing: no function needs an attribute to run in another process.
#![forbid(unsafe_code)]
