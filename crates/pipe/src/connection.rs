//! Connections that carry bytes: one message is one run of bytes, with nothing encoded.
//!
//! Invariants: an empty message is a message and not the end; a message that does not fit where it should go is given to
//! the caller and not lost. Held by `tests/contract.rs`, `bytes_*`.

use std::fmt;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::Postcard;
#[cfg(feature = "async")]
use procession_codec::handles::Outgoing as Handles;
use procession_sys::{Deadline, limits, socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::adopt::{self, AdoptError, IntoFdError};
use crate::error::{PipeError, RecvError, RecvIntoError, SendError};
#[cfg(feature = "async")]
use crate::future::{self, Sending};
use crate::link::{Link, Transport};
use crate::{DEFAULT_LIMIT, Duplex, Peer, scratch};

/// One end of a two-way connection whose messages are bytes: what Python calls `send_bytes` and `recv_bytes`.
///
/// Each message arrives whole, at most [`limit`](Self::limit) bytes long (64 MiB unless set otherwise; lengths have 64
/// bits); an empty one is a message too, and not the end. Handles that the other end sends along, which only a
/// [`Duplex`] can, are closed.
///
/// Send and Sync; any number of threads may use an end, one at a time in each direction. Not Clone: an end belongs to one
/// process, and *moves* as a [`Duplex`] does when it is sent to another. Dropping it closes it. How much can be under
/// way, and what two senders that nobody receives from do, is said there too.
///
/// **If the other end's process dies**, what it completely sent can still be received; a message it was in the middle of
/// is [`ClosedInside`](RecvError::ClosedInside); then every call answers `Closed`. Over TCP the first bytes that are sent
/// afterwards may be taken and lost before that is known.
///
/// # Examples
/// ```
/// use procession_pipe::{Connection, RecvError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = Connection::pair()?;
/// ours.send_bytes(b"hello")?;
/// ours.send_bytes(b"")?;
/// drop(ours);
/// assert_eq!(theirs.recv_bytes()?, b"hello");
/// assert_eq!(theirs.recv_bytes()?, b"");
/// assert!(matches!(theirs.recv_bytes(), Err(RecvError::Closed)));
/// # Ok(()) }
/// ```
pub struct Connection {
    link: Arc<Link>,
    limit: u64,
}

/// So many bytes are copied behind the room for a header sooner than the kernel is given two places to look at.
const COPIED: usize = 2 << 10;

impl Connection {
    /// Two connected ends.
    ///
    /// # Errors
    /// Descriptors or memory have run out.
    pub fn pair() -> Result<(Self, Self), PipeError> {
        // Where the limit cannot be raised, the lower one holds.
        let _ = limits::raise_descriptor_limit();
        let (a, b) = socket::pair().map_err(PipeError)?;
        Ok((Self::on(a, Transport::Packets), Self::on(b, Transport::Packets)))
    }

    pub(crate) fn on(socket: OwnedFd, transport: Transport) -> Self {
        Self { link: Link::new(socket, transport, DEFAULT_LIMIT), limit: DEFAULT_LIMIT }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The same end with another limit, in bytes, on the messages it sends and receives.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self.link.set_limit(limit);
        self
    }

    /// The longest message this end sends or receives, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The descriptor of this end, readable when there is something to receive or the other end is gone: for event loops,
    /// never to be read from or written to. `None` if the end was sent to another process.
    #[doc(alias = "fileno")]
    pub fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        self.link.socket()
    }

    /// Who is at the other end: for a local connection the process that connected, listened, or made the pair, as it was
    /// then; for TCP an address. `None` if this end was sent away, or the other end of TCP is gone.
    ///
    /// A local process may since have sent its end to another one.
    #[doc(alias = "last_accepted")]
    pub fn peer(&self) -> Option<Peer> {
        socket::connected_to(self.link.socket()?).ok()
    }

    /// The end as one of typed values, encoded with Postcard unless [set otherwise](Duplex::with_codec); the other end
    /// must be one too, or speak its codec. Back by `Connection::from`.
    #[must_use]
    pub fn into_duplex<S, R>(self) -> Duplex<S, R, Postcard> {
        Duplex::over(self.link, self.limit)
    }

    /// The bare socket, for other programs: each message on it has a header of ours, so they need a `Connection` too.
    ///
    /// # Errors
    /// The end was sent to another process, or is inside of a message, which would be lost; it rides back.
    pub fn into_fd(self) -> Result<OwnedFd, IntoFdError> {
        match self.link.leave() {
            Ok(socket) => Ok(socket),
            Err(why) => Err(IntoFdError { connection: self, why }),
        }
    }

    /// Sends one message of these bytes.
    ///
    /// Blocks while the kernel's buffer is full. An other end that goes away, or whose process dies, ends the wait.
    ///
    /// # Errors
    /// See [`SendError`]; nothing of the message is then ever received.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_by(bytes, Deadline::NEVER)
    }

    /// [`send_bytes`](Self::send_bytes) without waiting: [`SendError::Full`] if it would have to.
    ///
    /// More bytes than the free part of the kernel's buffer cannot be sent this way.
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_by(bytes, Deadline::now()).map_err(SendError::at_once)
    }

    /// [`send_bytes`](Self::send_bytes) for at most `timeout`.
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_by(bytes, Deadline::after(timeout))
    }

    /// [`send_bytes`](Self::send_bytes) until `instant`.
    pub fn send_bytes_until(&self, bytes: &[u8], instant: Instant) -> Result<(), SendError> {
        self.send_by(bytes, Deadline::at(instant))
    }

    /// [`send_bytes`](Self::send_bytes) as a future, for any runtime, of a copy of the bytes.
    ///
    /// Dropping it before it has answered leaves nothing half sent: the other end receives nothing of the message. While a
    /// message that needs several packets is on its way, others wait that want to send, and the end cannot be moved.
    #[cfg(feature = "async")]
    pub fn send_bytes_async(&self, bytes: &[u8]) -> Sending<'_> {
        let message = self.check(bytes.len()).map(|()| {
            let mut framed = scratch::take_framed();
            framed.extend_from_slice(bytes);
            (framed, Handles::default())
        });
        Sending::new(&self.link, message)
    }

    /// Sends one message of all these parts, one after the other; copies them together first.
    ///
    /// Blocks as [`send_bytes`](Self::send_bytes).
    ///
    /// # Errors
    /// As [`send_bytes`](Self::send_bytes).
    ///
    /// ```
    /// use std::io::IoSlice;
    /// let (ours, theirs) = procession_pipe::Connection::pair().unwrap();
    /// ours.send_vectored(&[IoSlice::new(b"head"), IoSlice::new(b", body")]).unwrap();
    /// assert_eq!(theirs.recv_bytes().unwrap(), b"head, body");
    /// ```
    pub fn send_vectored(&self, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.send_parts_by(parts, Deadline::NEVER)
    }

    /// [`send_vectored`](Self::send_vectored) without waiting: [`SendError::Full`] if it would have to.
    pub fn try_send_vectored(&self, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.send_parts_by(parts, Deadline::now()).map_err(SendError::at_once)
    }

    /// [`send_vectored`](Self::send_vectored) for at most `timeout`.
    pub fn send_vectored_timeout(&self, parts: &[IoSlice<'_>], timeout: Duration) -> Result<(), SendError> {
        self.send_parts_by(parts, Deadline::after(timeout))
    }

    /// [`send_vectored`](Self::send_vectored) until `instant`.
    pub fn send_vectored_until(&self, parts: &[IoSlice<'_>], instant: Instant) -> Result<(), SendError> {
        self.send_parts_by(parts, Deadline::at(instant))
    }

    /// Receives the next message. Blocks until there is one or the other end is gone.
    ///
    /// # Errors
    /// See [`RecvError`]; a message above the limit is skipped, and the next call receives the next one.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_by(Deadline::NEVER)
    }

    /// The next message if it is there completely: else [`RecvError::Empty`].
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_by(Deadline::now()).map_err(RecvError::at_once)
    }

    /// [`recv_bytes`](Self::recv_bytes) for at most `timeout`.
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_by(Deadline::after(timeout))
    }

    /// [`recv_bytes`](Self::recv_bytes) until `instant`.
    pub fn recv_bytes_until(&self, instant: Instant) -> Result<Vec<u8>, RecvError> {
        self.recv_by(Deadline::at(instant))
    }

    /// [`recv_bytes`](Self::recv_bytes) as a future, for any runtime.
    ///
    /// Dropping it loses nothing: what has arrived is for the next call. While it waits the end cannot be moved.
    #[cfg(feature = "async")]
    pub fn recv_bytes_async(&self) -> impl Future<Output = Result<Vec<u8>, RecvError>> + Send + '_ {
        future::receiving(&self.link, || self.recv_by(Deadline::now()))
    }

    /// Receives the next message to the front of `buffer`, and says how long it was. Blocks as
    /// [`recv_bytes`](Self::recv_bytes).
    ///
    /// # Errors
    /// [`RecvIntoError::BufferTooShort`] holds a message that is longer than `buffer`, which is then as before; else as
    /// [`recv_bytes`](Self::recv_bytes).
    ///
    /// ```
    /// use procession_pipe::{Connection, RecvIntoError};
    /// let (ours, theirs) = Connection::pair().unwrap();
    /// ours.send_bytes(b"long").unwrap();
    /// match theirs.recv_bytes_into(&mut [0; 3]) {
    ///     Err(RecvIntoError::BufferTooShort(message)) => assert_eq!(message, b"long"),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        self.recv_into_by(buffer, Deadline::NEVER)
    }

    /// The next message to the front of `buffer`, if it is there completely: else [`RecvError::Empty`].
    pub fn try_recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        self.recv_into_by(buffer, Deadline::now()).map_err(|e| match e {
            RecvIntoError::Recv(e) => RecvIntoError::Recv(e.at_once()),
            other => other,
        })
    }

    /// [`recv_bytes_into`](Self::recv_bytes_into) for at most `timeout`.
    pub fn recv_bytes_into_timeout(
        &self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<usize, RecvIntoError> {
        self.recv_into_by(buffer, Deadline::after(timeout))
    }

    /// [`recv_bytes_into`](Self::recv_bytes_into) until `instant`.
    pub fn recv_bytes_into_until(&self, buffer: &mut [u8], instant: Instant) -> Result<usize, RecvIntoError> {
        self.recv_into_by(buffer, Deadline::at(instant))
    }

    /// Waits for at most `timeout` until a call to receive has something to do: a message, or part of one, is there, or
    /// the other end is gone. `false` if none of that came. Receives nothing.
    pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
        self.link.wait_readable(Deadline::after(timeout))
    }

    /// [`poll`](Self::poll) until `instant`.
    pub fn poll_until(&self, instant: Instant) -> Result<bool, RecvError> {
        self.link.wait_readable(Deadline::at(instant))
    }

    fn send_by(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.check(bytes.len())?;
        if bytes.len() > COPIED {
            return self.link.send_unframed(bytes, deadline);
        }
        self.send_parts_by(&[IoSlice::new(bytes)], deadline)
    }

    fn send_parts_by(&self, parts: &[IoSlice<'_>], deadline: Deadline) -> Result<(), SendError> {
        self.check(parts.iter().fold(0_usize, |len, part| len.saturating_add(part.len())))?;
        let mut framed = scratch::take_framed();
        parts.iter().for_each(|part| framed.extend_from_slice(part));
        let sent = self.link.send(&mut framed, &[], deadline);
        scratch::keep(framed);
        sent
    }

    fn check(&self, len: usize) -> Result<(), SendError> {
        match len as u64 {
            len if len > self.limit => Err(SendError::TooLarge { len, limit: self.limit }),
            _ => Ok(()),
        }
    }

    fn recv_by(&self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.link.recv_owned(deadline)
    }

    fn recv_into_by(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvIntoError> {
        self.link.recv_with(deadline, |message| match buffer.get_mut(..message.len()) {
            Some(place) => {
                place.copy_from_slice(message);
                Ok(message.len())
            }
            None => Err(RecvIntoError::BufferTooShort(message.to_vec())),
        })?
    }
}

/// A typed end as one of bytes: messages are then what its codec writes. What is on its way stays there.
impl<S, R, C> From<Duplex<S, R, C>> for Connection {
    fn from(end: Duplex<S, R, C>) -> Self {
        let (link, limit) = end.into_link();
        Self { link, limit }
    }
}

/// Takes over a socket that came from elsewhere, such as an inherited one, or one that another crate connected: a
/// connected socket of `AF_UNIX` or TCP at whose other end is a `Connection` or a [`Duplex`] too. It becomes
/// close-on-exec.
///
/// | kind | messages are | handles in messages |
/// |---|---|---|
/// | `AF_UNIX`, `SOCK_SEQPACKET` | packets | travel |
/// | `AF_UNIX`, `SOCK_STREAM` | frames | are refused by the sender: `HandleError::NotCarried` |
/// | TCP | frames | are refused likewise |
///
/// A sender that gives up on a stream may leave a frame half sent, which it fills up with its next message; until then
/// the end does not move, and if it is dropped the other end answers `ClosedInside`.
///
/// # Errors
/// It is of another kind, or not connected; it rides back.
///
/// ```
/// use procession_pipe::{AdoptFault, Connection};
/// use std::os::{fd::OwnedFd, unix::net::{UnixDatagram, UnixStream}};
/// let (ours, theirs) = Connection::pair()?;
/// let again = Connection::try_from(theirs.into_fd()?)?;
/// ours.send_bytes(b"still there")?;
/// assert_eq!(again.recv_bytes()?, b"still there");
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let (ours, theirs) = (Connection::try_from(OwnedFd::from(ours))?, Connection::try_from(OwnedFd::from(theirs))?);
/// ours.send_bytes(b"over a stream")?;
/// assert_eq!(theirs.recv_bytes()?, b"over a stream");
///
/// let datagram = OwnedFd::from(UnixDatagram::pair()?.0);
/// assert!(matches!(Connection::try_from(datagram).unwrap_err().why, AdoptFault::Datagram));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<OwnedFd> for Connection {
    type Error = AdoptError;

    fn try_from(descriptor: OwnedFd) -> Result<Self, AdoptError> {
        adopt::check(descriptor).map(|(socket, transport)| Self::on(socket, transport))
    }
}

impl Serialize for Connection {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.link.serialize(self.limit, serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (link, limit) = Link::deserialize(deserializer)?;
        Ok(Self { link, limit })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("socket", &self.link.socket()).field("limit", &self.limit).finish()
    }
}
