//! Log records and spans of child processes, in the logger of their parent.
//!
//! # What belongs here
//! The way of a record from a child to the parent's logger, for users of the `log` and the `tracing`
//! ecosystems, with the name and the id of the process that wrote it, and lines of a child's standard
//! streams.
//!
//! # What works today
//! Nothing: this crate exports no item yet, and no other crate depends on it.
//!
//! # Meanwhile
//! A child inherits the standard error stream of its parent. A logger installed in the child writes there.
//!
//! # What it does not do
//! It has no macros of its own for writing records.
#![forbid(unsafe_code)]
