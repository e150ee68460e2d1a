//! Channels with many producers and many consumers, in shared memory.
#![deny(unsafe_code)]

mod error;
mod extents;
mod fast;
mod layout;
mod link;
mod make;
mod memory;
mod receiver;
mod scratch;
mod sender;
mod slot;
mod traffic;
mod wire;

pub use error::{RecvError, SendError, SendFault};
pub use make::{DEFAULT_BYTES, bounded, bounded_as, bounded_bytes, unbounded};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use wire::{AsBytes, AsPlain, Wire};
