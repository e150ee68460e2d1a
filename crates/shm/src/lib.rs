//! Shared memory: bytes with a type, in mappings that several processes see at once.
//!
//! # What belongs here
//! Segments of anonymous memory that travel as one descriptor, the mark of types that may live in them,
//! values, arrays and atomics over them, and the table of participants by which the death of a peer is
//! proved. Between `procession-sys`, which maps memory and knows no types, and `procession-sync`, which
//! builds locks from words.
//!
//! # What works today
//! [`Plain`], the mark, with its derive; [`Fingerprint`], what a type looks like in memory; [`Flag`], a bool of which
//! every byte is a value; [`plain`], between such values and bytes.
//!
//! # Not there yet
//! Segments, atomics, values, arrays, locks and the table of participants. Meanwhile, send values through a pipe;
//! `procession_sys::memory` maps shared memory as plain bytes, for those who bring their own protocol.
//!
//! # What it does not do
//! It does not count references in shared memory: the kernel frees a segment with its last user. It stores no
//! pointers, and no type with invalid bit patterns.
#![deny(unsafe_code)]

mod fingerprint;
mod flag;
pub mod plain;

#[doc(hidden)]
pub use plain::__private;

pub use fingerprint::Fingerprint;
pub use flag::Flag;
pub use plain::Plain;
pub use procession_macros::Plain;
