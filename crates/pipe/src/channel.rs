//! One-way pipes: which end sends is a matter of types.
//!
//! Invariant: nothing ever goes from a receiver to its sender but the news that it is gone.

use std::fmt;

use procession_codec::{Codec, Message, Postcard};
use procession_sys::Deadline;
use serde::{Deserialize, Serialize};

use crate::error::{PipeError, RecvError, SendError};
use crate::forms::{iterating, receiving, sending};
#[cfg(feature = "async")]
use crate::future::Sending;
use crate::link::Link;
use crate::{Duplex, pipe, typed};

/// Makes a one-way pipe: what the [`Sender`] sends the [`Receiver`] receives.
///
/// Errors: descriptors or memory have run out.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (to, from) = procession_pipe::channel::<String>()?;
/// to.send(&"one".into())?;
/// to.send(&"two".into())?;
/// drop(to);
/// assert_eq!(from.iter().collect::<Vec<_>>(), ["one", "two"]);
/// # Ok(()) }
/// ```
///
/// The wrong direction does not compile:
/// ```compile_fail,E0599
/// let (to, from) = procession_pipe::channel::<u8>().unwrap();
/// to.recv();
/// ```
/// ```compile_fail,E0599
/// let (to, from) = procession_pipe::channel::<u8>().unwrap();
/// from.send(&1);
/// ```
#[doc(alias = "Pipe")]
pub fn channel<T: Message>() -> Result<(Sender<T>, Receiver<T>), PipeError> {
    let (sender, receiver) = pipe::<T, T>()?;
    Ok((Sender { end: sender }, Receiver { end: receiver }))
}

/// The end of a one-way pipe that sends.
///
/// Send and Sync; any number of threads may use it. Not Clone: it belongs to one process, and *moves* when it is sent to
/// another, as a [`Duplex`] does. Dropping it tells the receiver that nothing more comes. **If the receiver's process
/// dies**, every call answers `Closed`.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Sender<T, C = Postcard> {
    end: Duplex<T, T, C>,
}

/// The end of a one-way pipe that receives.
///
/// Send and Sync; any number of threads may use it. Not Clone: it belongs to one process, and *moves* when it is sent to
/// another, as a [`Duplex`] does. **If the sender's process dies**, what it completely sent can still be received; then
/// every call answers `Closed`.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Receiver<T, C = Postcard> {
    end: Duplex<T, T, C>,
}

macro_rules! settings {
    ($end:ident) => {
        impl<T, C> $end<T, C> {
            /// The same end with another codec, which the other end must use too.
            #[must_use]
            pub fn with_codec<D: Codec>(self) -> $end<T, D> {
                $end { end: self.end.with_codec() }
            }

            /// The same end with another limit, in bytes, on the length of a message.
            #[must_use]
            pub fn with_limit(self, limit: u64) -> Self {
                Self { end: self.end.with_limit(limit) }
            }

            pub(crate) fn link(&self) -> &Link {
                self.end.link()
            }

            /// The longest message this end accepts, in bytes.
            pub fn limit(&self) -> u64 {
                self.end.limit()
            }
        }

        impl<T, C> fmt::Debug for $end<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(&self.end).finish()
            }
        }
    };
}
settings!(Sender);
settings!(Receiver);

impl<T: Message, C: Codec> Sender<T, C> {
    sending!(T);

    fn send_by(&self, value: &T, deadline: Deadline) -> Result<(), SendError> {
        typed::send::<T, C>(self.end.link(), self.end.limit(), value, deadline)
    }

    #[cfg(feature = "async")]
    fn sending(&self, value: &T) -> Sending<'_> {
        Sending::new(self.end.link(), typed::encode::<T, C>(self.end.link(), self.end.limit(), value))
    }
}

impl<R: Message, C: Codec> Receiver<R, C> {
    receiving!(R);
    iterating!();

    fn wait_by(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.end.link().wait_readable(deadline)
    }

    fn recv_by(&self, deadline: Deadline) -> Result<R, RecvError> {
        typed::recv::<R, C>(self.end.link(), deadline)
    }
}
