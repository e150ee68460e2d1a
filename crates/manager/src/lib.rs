//! Objects that live in a process of their own, and proxies through which all others use them.
//!
//! # What belongs here
//! The server and its life, proxies for ready types such as dictionaries and lists, and the runtime below the
//! proxies that `procession-macros` derives from a trait.
//!
//! # What works today
//! Nothing: this crate exports no item yet, and no other crate depends on it.
//!
//! # Meanwhile
//! A process that answers requests over a pipe is a small manager; the other end says when it is gone.
//!
//! # What it does not do
//! It is no server for strangers: everybody who talks to it was started by, or was let in by, the same tree.
#![forbid(unsafe_code)]
