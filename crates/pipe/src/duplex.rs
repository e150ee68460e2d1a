//! The typed end of a two-way pipe.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use procession_codec::{Codec, Message, Postcard};
use procession_sys::{Deadline, limits, socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{PipeError, RecvError, SendError};
use crate::forms::{receiving, sending};
#[cfg(feature = "async")]
use crate::future::Sending;
use crate::halves::{self, RecvHalf, SendHalf};
use crate::link::{Link, Transport};
use crate::typed;

/// The longest message an end sends or receives unless set otherwise, in bytes: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// Makes two connected ends: what the first sends (`S`) the second receives, and the other way round (`R`).
///
/// Errors: descriptors or memory have run out.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = procession_pipe::pipe::<u8, String>()?;
/// theirs.send(&"ready".to_string())?;
/// assert_eq!(ours.recv()?, "ready");
/// # Ok(()) }
/// ```
#[doc(alias = "Pipe")]
#[allow(clippy::type_complexity, reason = "two mirrored ends are clearer than an alias for them")]
pub fn pipe<S: Message, R: Message>() -> Result<(Duplex<S, R>, Duplex<R, S>), PipeError> {
    // Where the limit cannot be raised, the lower one holds.
    let _ = limits::raise_descriptor_limit();
    let (a, b) = socket::pair().map_err(PipeError)?;
    Ok((Duplex::on(a, DEFAULT_LIMIT), Duplex::on(b, DEFAULT_LIMIT)))
}

/// One end of a two-way pipe: sends values of type `S`, receives values of type `R`, both encoded with `C`.
///
/// Send and Sync; any number of threads may use an end, one at a time in each direction. Not Clone: an end belongs to
/// one process.
///
/// **Moving.** Sending it to another process (as an argument, in a message, as a result) moves it: this one then
/// answers `Moved`, and messages that wait are received by the new owner. The limit moves along; the codec does not,
/// so it is part of the type on the other side too. A message that fails to be sent has moved nothing.
/// - An end that another thread uses, or that has received half of a message, is refused
///   ([`HandleError::Busy`](procession_codec::HandleError::Busy)): receive that message first.
/// - An end cannot be sent through itself: that answers `Moved`, and it stays.
/// - An end sent through its own other end can be received by nobody. The kernel finds such ends when some socket on
///   the machine is closed, and closes them; the other end answers `Closed` from then on, and waits until then.
///
/// **Blocking.** Some 200 KiB, or 270 messages, can be under way in each direction; then a sender waits for its
/// receiver. Two ends that both send more than that before they receive wait for each other for ever: use a deadline,
/// or a thread for each direction.
///
/// Dropping it closes it. **If the other end's process dies**, what it completely sent can still be received; then
/// every call answers `Closed`.
pub struct Duplex<S, R, C = Postcard> {
    link: Arc<Link>,
    limit: u64,
    types: PhantomData<fn(S) -> (R, C)>,
}

impl<S, R, C> Duplex<S, R, C> {
    fn on(socket: OwnedFd, limit: u64) -> Self {
        Self::over(Link::new(socket, Transport::Packets, limit), limit)
    }

    pub(crate) fn over(link: Arc<Link>, limit: u64) -> Self {
        Self { link, limit, types: PhantomData }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn into_link(self) -> (Arc<Link>, u64) {
        (self.link, self.limit)
    }

    /// The same end with another codec, which the other end must use too.
    #[must_use]
    pub fn with_codec<D: Codec>(self) -> Duplex<S, R, D> {
        Duplex { link: self.link, limit: self.limit, types: PhantomData }
    }

    /// The same end with another limit, in bytes, on the messages it sends and receives.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self.link.set_limit(limit);
        self
    }

    /// The descriptor of this end, readable when there is something to receive or the other end is gone: for `poll` and
    /// event loops, never to be read from or written to. `None` if the end was sent to another process.
    pub fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        self.link.socket()
    }

    /// The longest message this end sends or receives, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl<S: Message, R: Message, C: Codec> Duplex<S, R, C> {
    sending!(S);
    receiving!(R);

    fn send_by(&self, value: &S, deadline: Deadline) -> Result<(), SendError> {
        typed::send::<S, C>(&self.link, self.limit, value, deadline)
    }

    #[cfg(feature = "async")]
    fn sending(&self, value: &S) -> Sending<'_> {
        Sending::new(&self.link, typed::encode::<S, C>(&self.link, self.limit, value))
    }

    fn wait_by(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.link.wait_readable(deadline)
    }

    fn recv_by(&self, deadline: Deadline) -> Result<R, RecvError> {
        typed::recv::<R, C>(&self.link, deadline)
    }

    /// Parts the two directions, for two threads; [`unsplit`](SendHalf::unsplit) puts them together again.
    ///
    /// Dropping one half ends its direction: after the last value the other end's `recv` answers `Closed`, or its `send`.
    /// Halves stay in this process. Where both threads do both, share the whole end instead.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (ours, theirs) = procession_pipe::pipe::<u32, u32>()?;
    /// let echo = std::thread::spawn(move || while let Ok(n) = theirs.recv() { theirs.send(&n).unwrap() });
    /// let (to, from) = ours.split();
    /// let feed = std::thread::spawn(move || (0..1000).for_each(|n| to.send(&n).unwrap()));
    /// assert_eq!(from.iter().sum::<u32>(), 499_500);
    /// # feed.join().unwrap(); echo.join().unwrap(); Ok(()) }
    /// ```
    pub fn split(self) -> (SendHalf<S, C>, RecvHalf<R, C>) {
        halves::split(self.link, self.limit)
    }
}

impl<S, R, C> Serialize for Duplex<S, R, C> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.link.serialize(self.limit, serializer)
    }
}

impl<'de, S, R, C> Deserialize<'de> for Duplex<S, R, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (link, limit) = Link::deserialize(deserializer)?;
        Ok(Self { link, limit, types: PhantomData })
    }
}

impl<S, R, C> fmt::Debug for Duplex<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex").field("socket", &self.link.socket()).field("limit", &self.limit).finish()
    }
}
