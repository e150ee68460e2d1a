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
//! - [`Nameable`]: a name, by which processes that no message connects find a segment or anything that is [`Shared`];
//!   [`sweep`].
//! - [`ForeignSegment`]: named memory of other programs, such as Python's `multiprocessing.shared_memory`.
//! - [`Array`]: items that are read and written as a slice, all at once or in [parts](Part) that travel.
//! - [`Atomic`]: one number or bool that several processes change at once.
//! - [`Value`]: a plain value with a lock, always whole, whoever is killed while writing it.
//! - [`Encoded`]: the same for any value that serde can write; [`List`]: slots of mixed type, as Python's `ShareableList`.
//! - [`Shared`], with its derive: many of these in one piece of memory, as one handle.
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
//! # Whose deaths matter
//! Things with locks belong to a [`domain`], the table of participants in which the death of a thread is proved: that of
//! the tree of processes they were made in. It travels with them. Who waits for whom in it can be read, and is reported
//! where somebody asks for that: [`domain::report_deadlocks`].
//!
//! [`Cell`] and [`Space`] are for those who build such things: `procession-sync` does.
//!
//! # What it does not do
//! It does not count references in shared memory: the kernel frees a segment with its last user. It stores no
//! pointers, and no type with invalid bit patterns. It sends no messages: for values that one process gives to another a
//! pipe is simpler.
#![deny(unsafe_code)]

mod arena;
pub mod array;
mod atomic;
pub mod cell;
pub mod domain;
mod encoded;
mod error;
mod fingerprint;
mod flag;
mod foreign;
mod header;
mod list;
mod name;
mod named;
mod object;
mod place;
pub mod plain;
mod record;
mod segment;
mod shape;
pub mod space;
mod twin;
mod value;
pub mod wait;
mod whole;

#[doc(hidden)]
pub use plain::__private;

pub use arena::Arena;
pub use array::{Array, ArrayError, ArrayRead, ArrayWrite, Part, Parts};
pub use atomic::{Atomic, AtomicBits, AtomicNumber, AtomicValue};
pub use cell::{Cell, Locked, ReadLocked};
pub use encoded::{Encoded, EncodedError};
pub use error::{NameError, Refusal, ShmError};
pub use fingerprint::Fingerprint;
pub use flag::Flag;
pub use foreign::ForeignSegment;
pub use list::{Item, List, ListError};
pub use named::{Nameable, Named, NamedSegment, sweep};
pub use plain::Plain;
pub use procession_macros::{Plain, Shared};
pub use segment::{ReadSegment, Segment};
pub use shape::Shape;
pub use space::{Shared, Space};
pub use value::{Value, ValueError, ValueGuard};
pub use wait::{Party, Wait};
