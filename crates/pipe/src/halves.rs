//! The two directions of an end, for two threads of one process.
//!
//! Invariant: a half that is dropped ends its direction for the other end, unless both were put together again. Held by
//! `tests/contract.rs`, `halves_*`.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use procession_codec::{Codec, Message, Postcard};
use procession_sys::Deadline;
use procession_sys::socket::Direction;

use crate::Duplex;
use crate::error::{RecvError, SendError};
use crate::forms::{iterating, receiving, sending};
#[cfg(feature = "async")]
use crate::future::Sending;
use crate::link::Link;
use crate::typed;

/// The half of a [`Duplex`] that sends, made by [`split`](Duplex::split).
///
/// Send and Sync. Not Clone, and not sent to other processes: put the halves [together](Self::unsplit) first. Dropping it
/// tells the other end that nothing more comes. **If the other end's process dies**, every call answers `Closed`.
#[derive(Debug)]
pub struct SendHalf<S, C = Postcard> {
    link: Direct,
    limit: u64,
    types: PhantomData<fn(S) -> C>,
}

/// The half of a [`Duplex`] that receives, made by [`split`](Duplex::split).
///
/// Send and Sync. Not Clone, and not sent to other processes. Dropping it lets the other end's `send` answer `Closed`, but
/// over TCP, which does not say so.
/// **If the other end's process dies**, what it completely sent can still be received; then every call answers `Closed`.
#[derive(Debug)]
pub struct RecvHalf<R, C = Postcard> {
    link: Direct,
    limit: u64,
    types: PhantomData<fn() -> (R, C)>,
}

/// Halves that did not come from one end; both ride back.
#[derive(Debug)]
pub struct UnsplitError<S, R, C = Postcard>(pub SendHalf<S, C>, pub RecvHalf<R, C>);

pub(crate) fn split<S, R, C>(link: Arc<Link>, limit: u64) -> (SendHalf<S, C>, RecvHalf<R, C>) {
    let half = |direction| Direct { link: Some(Arc::clone(&link)), direction };
    (
        SendHalf { link: half(Direction::Outgoing), limit, types: PhantomData },
        RecvHalf { link: half(Direction::Incoming), limit, types: PhantomData },
    )
}

impl<S: Message, C: Codec> SendHalf<S, C> {
    sending!(S);

    fn send_by(&self, value: &S, deadline: Deadline) -> Result<(), SendError> {
        typed::send::<S, C>(&self.link, self.limit, value, deadline)
    }

    #[cfg(feature = "async")]
    fn sending(&self, value: &S) -> Sending<'_> {
        Sending::new(&self.link, typed::encode::<S, C>(&self.link, self.limit, value))
    }
}

impl<R, C> RecvHalf<R, C> {
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

impl<S, C> SendHalf<S, C> {
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The whole end again.
    ///
    /// # Errors
    /// The halves are not of one end; both are in the error.
    ///
    /// ```
    /// let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
    /// let (to, from) = ours.split();
    /// let ours = to.unsplit(from).unwrap();
    /// theirs.send(&1).unwrap();
    /// assert_eq!(ours.recv().unwrap(), 1);
    /// ```
    pub fn unsplit<R>(mut self, mut other: RecvHalf<R, C>) -> Result<Duplex<S, R, C>, UnsplitError<S, R, C>> {
        match (&mut self.link.link, &mut other.link.link) {
            (ours @ Some(_), theirs @ Some(_))
                if ours.as_ref().map(Arc::as_ptr) == theirs.as_ref().map(Arc::as_ptr) =>
            {
                *theirs = None;
                match ours.take() {
                    Some(link) => Ok(Duplex::over(link, self.limit)),
                    None => unreachable!("it was there a line before"),
                }
            }
            _ => Err(UnsplitError(self, other)),
        }
    }
}

impl<R: Message, C: Codec> RecvHalf<R, C> {
    receiving!(R);
    iterating!();

    fn wait_by(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.link.wait_readable(deadline)
    }

    fn recv_by(&self, deadline: Deadline) -> Result<R, RecvError> {
        typed::recv::<R, C>(&self.link, deadline)
    }

    /// The longest message this end sends or receives, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

/// A reference to the link that ends one direction of it when dropped.
#[derive(Debug)]
struct Direct {
    /// `Some` until the halves are put together.
    link: Option<Arc<Link>>,
    direction: Direction,
}

impl std::ops::Deref for Direct {
    type Target = Link;

    fn deref(&self) -> &Link {
        let Some(link) = &self.link else { unreachable!("taken only from a half that is gone") };
        link
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.end(self.direction);
        }
    }
}

impl<S, R, C> fmt::Display for UnsplitError<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("putting halves of pipes together: they are not of one end")
    }
}

impl<S: fmt::Debug, R: fmt::Debug, C: fmt::Debug> Error for UnsplitError<S, R, C> {}
