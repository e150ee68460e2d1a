//! Channels with many producers and many consumers, in shared memory.
#![deny(unsafe_code)]

mod error;
mod extents;
mod fast;
mod iter;
mod layout;
mod link;
mod loan;
mod make;
mod many;
mod memory;
mod queue;
mod receiver;
mod scratch;
mod sender;
mod slot;
mod traffic;
mod wire;

pub use error::{RecvError, SendError, SendFault};
pub use iter::{IntoIter, Iter, TryIter};
pub use loan::Loan;
pub use make::{DEFAULT_BYTES, bounded, bounded_as, bounded_bytes, unbounded};
pub use many::SendManyError;
pub use queue::{Queue, SimpleQueue};
pub use receiver::Receiver;
pub use sender::Sender;
pub use wire::{AsBytes, AsPlain, Wire};
