//! Typed connections between processes.
//!
//! [`pipe`] makes two connected ends. Each sends values of one type and receives values of another; an end is a value
//! that moves to another process as an argument, as part of a message, or as a result.
//!
//! ```
//! use procession_pipe::pipe;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (ours, theirs) = pipe::<String, usize>()?;
//! ours.send(&"hello".into())?;
//! theirs.send(&theirs.recv()?.len())?;
//! assert_eq!(ours.recv()?, 5);
//! # Ok(()) }
//! ```
//!
//! | what | for |
//! |---|---|
//! | [`pipe`], [`Duplex`] | typed values, both ways; [`split`](Duplex::split) for two threads |
//! | [`channel`], [`Sender`], [`Receiver`] | typed values, one way |
//! | [`Connection`] | bytes, both ways; made of a descriptor, and back |
//! | [`Listener`], [`Client`], [`Address`], [`AuthKey`] | connections between processes that do not know each other yet |
//! | [`wait`](fn@wait), [`Waitable`] | which of many ends, queues, events, processes and descriptors are ready |
//!
//! A message is wholly there or wholly absent, whoever is killed at whatever moment: the survivor gets the messages
//! that were complete, then [`RecvError::Closed`] or [`RecvError::ClosedInside`]. Every blocking call has `try_`,
//! `_timeout` and `_until` forms; one that gives up leaves nothing half sent or half received.
//!
//! With the feature `async` there are futures for any runtime: `send_async`, `recv_async`. Event loops of others watch
//! [`descriptor`](Duplex::descriptor).
//!
//! When *not* to use it: for the last microsecond. A message costs a system call on each side and, where the receiver
//! sleeps, a wake-up.
//!
//! Strangers meet at a file, a name or a port; each kind, whom it lets in and what a kill leaves behind are told
//! below. Whoever a listener lets in can send values and handles, and never an address of a function.
//!
//! When *not* to use listeners: between a process and its children, which need no name; and bare over a network that others
//! can read, because nothing is encrypted.
//!
//! Invariants: an end belongs to one process at a time (`tests/contract.rs`, `moving_*`); no length a peer announces
//! is trusted before the bytes are there (`tests/hostile.rs`); nothing of a stranger is decoded (`tests/handshake.rs`).
#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod adopt;
mod auth;
mod channel;
mod client;
mod connection;
mod duplex;
mod error;
mod forms;
#[cfg(feature = "async")]
mod future;
mod halves;
mod handshake;
mod hello;
mod link;
mod listener;
mod meeting;
mod scratch;
mod turn;
mod typed;
mod wait;

pub use address::{Address, AddressError};
pub use adopt::{AdoptError, AdoptFault, IntoFdError, IntoFdFault};
pub use auth::{AuthKey, KeyTooShort};
pub use channel::{Receiver, Sender, channel};
pub use client::{Client, ClientBuilder};
pub use connection::Connection;
pub use duplex::{DEFAULT_LIMIT, Duplex, pipe};
pub use error::{PipeError, RecvError, RecvIntoError, SendError};
#[cfg(feature = "async")]
pub use future::Sending;
pub use halves::{RecvHalf, SendHalf, UnsplitError};
pub use listener::{Listener, ListenerBuilder};
pub use meeting::{AcceptError, ConnectError, ConnectFault, ListenError, ListenFault, Refusal, Refused};
pub use procession_sys::socket::Peer;
pub use wait::{At, Readable, WaitError, Waitable, Writable, try_wait, wait, wait_timeout, wait_until};
