//! Waiting for many things at once: ends of pipes and queues, events, processes, descriptors of others.
//!
//! Invariant: what is named is ready, and what is ready is named. Held by the contract `wait` of the umbrella, and by
//! `tests/wait.rs`.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use procession_sys::poll::Interest;
use procession_sys::wait::{self as several, Source, Watch};
use procession_sys::{Deadline, OsError};

pub use procession_sys::Waitable;
pub use procession_sys::wait::{At, Readable, Writable};

use crate::link::Link;
use crate::{Connection, Duplex, Receiver, RecvHalf, SendHalf, Sender};

/// Why a wait for many things failed: memory has run out, or there are more descriptors than the limit of open ones.
#[derive(Debug)]
pub struct WaitError(OsError);

/// Waits until at least one of `things` is ready, or the limit has passed; the indices of all that are ready, in order.
/// Empty exactly if the limit passed, or if there is nothing to wait for.
///
/// The limit is `None`, a [`Duration`], an [`Instant`] or a [`Deadline`].
///
/// | thing | ready when |
/// |---|---|
/// | [`Duplex`], [`Receiver`], [`RecvHalf`], [`Connection`] | a message or a part of one is there, or the other end is gone |
/// | [`Sender`], [`SendHalf`] | some of the kernel's buffer is free, or the other end is gone |
/// | receiving end of a queue, `Queue` | a message is there, it is closed, or no sender is left |
/// | sending end of a queue | a message can be queued, if its bytes have room too; it is closed, or no receiver is left |
/// | `Event` | it is set, or was set during the wait |
/// | `Process` | it has ended |
/// | [`At`] | an instant is over |
/// | [`Readable`], [`Writable`] of anything with a descriptor; sockets and pipes of the standard library | as `poll` says |
///
/// Whoever else uses a thing may be quicker: then the call that follows finds nothing. An end that was sent to another
/// process is ready, as the next call says at once.
///
/// Blocks. Descriptors cost one system call, and so do up to some 40 queues and events. Where there are both, or more,
/// a thread of ours, started by the first such wait and kept for a few seconds, sleeps on the queues and events.
///
/// # Errors
/// [`WaitError`].
///
/// # If a peer dies
/// Its ends and its process are ready: at once where a descriptor tells, else when its death was told, or at a tick.
///
/// # Examples
/// ```
/// use procession_pipe::{channel, wait};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (to, one) = channel::<u8>()?;
/// let (_to, other) = channel::<u8>()?;
/// assert!(wait(&[&other, &one], Duration::from_millis(1))?.is_empty());
/// to.send(&1)?;
/// assert_eq!(wait(&[&other, &one], None)?, [1]);
/// # Ok(()) }
/// ```
#[doc(alias = "select")]
pub fn wait(things: &[&dyn Waitable], limit: impl Into<Deadline>) -> Result<Vec<usize>, WaitError> {
    several::any(things, limit.into()).map_err(WaitError)
}

/// The indices of all that are ready now. Does not block.
///
/// # Errors
/// [`WaitError`].
pub fn try_wait(things: &[&dyn Waitable]) -> Result<Vec<usize>, WaitError> {
    wait(things, Deadline::now())
}

/// [`wait`] for at most `timeout`.
///
/// # Errors
/// [`WaitError`].
pub fn wait_timeout(things: &[&dyn Waitable], timeout: Duration) -> Result<Vec<usize>, WaitError> {
    wait(things, timeout)
}

/// [`wait`] until `instant`.
///
/// # Errors
/// [`WaitError`].
pub fn wait_until(things: &[&dyn Waitable], instant: Instant) -> Result<Vec<usize>, WaitError> {
    wait(things, instant)
}

impl Link {
    /// Watches the socket, and keeps it here meanwhile; an end that has left is ready.
    pub(crate) fn look(&self, watch: &mut Watch<'_>, interest: Interest) -> bool {
        match self.socket() {
            Some(socket) => watch.descriptor(Source::Kept(socket), interest),
            None => return true,
        }
        false
    }
}

impl Waitable for Connection {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Readable)
    }
}

impl<S, R, C> Waitable for Duplex<S, R, C> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Readable)
    }
}

impl<T, C> Waitable for Receiver<T, C> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Readable)
    }
}

impl<T, C> Waitable for Sender<T, C> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Writable)
    }
}

impl<R, C> Waitable for RecvHalf<R, C> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Readable)
    }
}

impl<S, C> Waitable for SendHalf<S, C> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch, Interest::Writable)
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for WaitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.os_error())
    }
}
