//! Shared memory: bytes with a type, in mappings that several processes see at once.
//!
//! # What belongs here
//! Segments of anonymous memory that travel as one descriptor, the mark of types that may live in them,
//! values, arrays and atomics over them, and the table of participants by which the death of a peer is
//! proved. Between `procession-sys`, which maps memory and knows no types, and `procession-sync`, which
//! builds locks from words.
//!
//! # What works today
//! Nothing: this crate exports no item yet, and no other crate depends on it.
//!
//! # Meanwhile
//! Send values through a pipe; descriptors travel beside them. `procession_sys::memory` maps shared memory as
//! plain bytes, for those who bring their own protocol.
//!
//! # What it does not do
//! It does not count references in shared memory: the kernel frees a segment with its last user. It stores no
//! pointers, and no type with invalid bit patterns.
#![deny(unsafe_code)]

pub mod domain;
