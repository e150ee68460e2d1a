//! What the benches share: something that sends bytes back, over each of the ways to do it.
//!
//! Invariant: an echo that is said to be in another process is in one, started as users start theirs; it ends when the
//! near end is dropped.
#![forbid(unsafe_code)]

pub mod busy;
pub mod echo;
