//! Anonymous shared memory: sealed files in memory ([`Memfd`]) and their mappings ([`Mapping`]).
//!
//! Memory is reserved when it is made, so that a lack of it is an error there and not a signal at some later
//! touch; it is sealed, so that no peer can shrink it under a reader; and it is anonymous, so that the kernel
//! frees it with its last user. What comes from elsewhere is asked whether it is so. Held by `tests/memory.rs`.
//!
//! This module does not say what the bytes mean: types, headers and layouts are made of it one level up.

mod available;
mod copy;
mod mapping;
mod memfd;
mod readers;
mod resident;
mod room;

pub use available::available;
pub use mapping::Mapping;
pub use memfd::{Memfd, Unsealed};
pub use resident::{Resident, oom_kills, resident};
pub use room::grow;
