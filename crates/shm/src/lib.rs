//! Shared memory: bytes with a type, in mappings that several processes see at once.
//!
//! # What belongs here
//! Segments of anonymous memory that travel as one descriptor, the mark of types that may live in them,
//! values, arrays and atomics over them, and the table of participants by which the death of a peer is
//! proved. Between `procession-sys`, which maps memory and knows no types, and `procession-sync`, which
//! builds locks from words.
//!
//! # What works today
//! - [`Segment`]: bytes in anonymous memory, as a handle that travels in messages; [`ReadSegment`]: the same for those
//!   who can only read.
//! - [`NamedSegment`]: a segment that processes find by a name, for those that no message connects; [`sweep`].
//! - [`ForeignSegment`]: named memory of other programs, such as Python's `multiprocessing.shared_memory`.
//! - [`Array`]: items that are read and written as a slice, all at once or in [parts](Part) that travel.
//! - [`Atomic`]: one number or bool that several processes change at once.
//! - [`Plain`], the mark of types that may live there, with its derive; [`Flag`], a bool of which every byte is a
//!   value; [`plain`], between such values and bytes; [`Fingerprint`], what a type looks like in memory.
//!
//! ```
//! use procession_shm::{Atomic, Plain, Segment};
//!
//! #[derive(Clone, Copy, Plain)]
//! struct Particle {
//!     place: [f64; 2],
//!     charge: i32,
//!     _padding: [u8; 4],
//! }
//!
//! let cloud = Segment::new(100 * size_of::<Particle>())?;
//! let n_ready = Atomic::new(0_u32)?;
//! // Both are handles: they clone, and travel in the arguments of a process or through a pipe.
//! cloud.put(0, &Particle { place: [1.0, 2.0], charge: -1, _padding: [0; 4] })?;
//! n_ready.fetch_add(1);
//! assert_eq!(cloud.get::<Particle>(0)?.charge, -1);
//! # Ok::<(), procession_shm::ShmError>(())
//! ```
//!
//! # What holds for every handle
//! (But for [`ForeignSegment`], whose memory is made by others' rules.)
//!
//! Memory is reserved when it is made: a lack of it is an error there, and no touch ever fails or raises a signal. It
//! is one sealed memory file for each object, without a name, freed by the kernel with its last user. What arrives is
//! checked: that it is sealed against shrinking, and a header with magic, layout version, fingerprint of the type and
//! length; everything else is a [`Refusal`], which a carrier reports as an error of decoding.
//!
//! - [`domain`]: the table of participants, in which the death of a thread is proved. Nothing above uses it yet.
//!
//! # Not there yet
//! Values with locks. Meanwhile, atomics and pipes give order to what happens in a segment.
//!
//! # What it does not do
//! It does not count references in shared memory: the kernel frees a segment with its last user. It stores no
//! pointers, and no type with invalid bit patterns.
#![deny(unsafe_code)]

pub mod array;
mod atomic;
pub mod cell;
pub mod domain;
mod error;
mod fingerprint;
mod flag;
mod foreign;
mod header;
mod name;
mod named;
mod object;
pub mod plain;
mod record;
mod segment;
pub mod space;
pub mod wait;

#[doc(hidden)]
pub use plain::__private;

pub use array::{Array, ArrayError, ArrayRead, ArrayWrite, Part, Parts};
pub use atomic::{Atomic, AtomicBits, AtomicNumber, AtomicValue};
pub use cell::{Cell, Locked};
pub use error::{NameError, Refusal, ShmError};
pub use fingerprint::Fingerprint;
pub use flag::Flag;
pub use foreign::ForeignSegment;
pub use named::{NamedSegment, sweep};
pub use plain::Plain;
pub use procession_macros::{Plain, Shared};
pub use segment::{ReadSegment, Segment};
pub use space::{Shape, Shared, Space};
pub use wait::{Party, Wait};
