//! One end of a connection, without types: where its socket is, and whose turn it is to use it.
//!
//! | place | true | moves to |
//! |---|---|---|
//! | `Here` | this process uses the socket; both sides have it too | `Away` when it is encoded into a message |
//! | `Away` | a message has the socket, the sides have none | `Here` when the message was not sent; else never: what was sent is closed here |
//!
//! Invariants: every call under way has the turn of its side, or holds a reference to the socket that it took while the
//! place was `Here`; so an end can leave exactly while nobody has or wants a turn and no such reference is left, and no
//! call goes on using a socket that has left. The place is locked before a turn is taken, never while one is held. No code
//! of users runs while a turn is held: it may use the same end. Held by `tests/contract.rs`, `moving_*` and `reentrant_*`.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_codec::handles::{self, Carried, HandleError};
use procession_sys::message::{self, Incoming, Lent, Outgoing};
use procession_sys::poll::{self, Interest};
use procession_sys::socket::{Direction, Kind};
use procession_sys::{Deadline, OsError, socket};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::adopt::IntoFdFault;
use crate::error::{RecvError, SendError};
use crate::turn::Turn;

/// What carries the messages of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A local socket that keeps boundaries, and carries descriptors.
    Packets,
    /// A stream, local or of TCP: messages are framed, and have no descriptors.
    Stream,
}

#[derive(Debug)]
pub(crate) struct Link {
    transport: Transport,
    place: Mutex<Place>,
    pub(crate) outgoing: Turn<Side<Outgoing>>,
    incoming: Turn<Side<Incoming>>,
}

#[derive(Debug)]
enum Place {
    Here(Arc<OwnedFd>),
    Away,
}

/// One direction of an end, and the socket while that is here.
#[derive(Debug)]
pub(crate) struct Side<T> {
    pub(crate) socket: Option<Arc<OwnedFd>>,
    pub(crate) state: T,
}

/// References to the socket of an end that nobody uses: its place has one, and each side.
const AT_REST: usize = 3;

impl Link {
    /// An end on `socket`, refusing incoming messages above `limit` bytes.
    pub(crate) fn new(socket: OwnedFd, transport: Transport, limit: u64) -> Arc<Self> {
        let outgoing = match transport {
            Transport::Packets => Outgoing::new(),
            Transport::Stream => Outgoing::over_stream(),
        };
        Self::with(socket, transport, limit, outgoing)
    }

    fn with(socket: OwnedFd, transport: Transport, limit: u64, outgoing: Outgoing) -> Arc<Self> {
        let socket = Arc::new(socket);
        let incoming = match transport {
            Transport::Packets => Incoming::new(limit),
            Transport::Stream => Incoming::over_stream(limit),
        };
        let incoming = Side { socket: Some(Arc::clone(&socket)), state: incoming };
        Arc::new(Self {
            transport,
            outgoing: Turn::new(Side { socket: Some(Arc::clone(&socket)), state: outgoing }),
            incoming: Turn::new(incoming),
            place: Mutex::new(Place::Here(socket)),
        })
    }

    /// An end that arrived in a message; anything but a socket of our kind is refused.
    pub(crate) fn arrive(passage: Passage, limit: u64) -> Result<Arc<Self>, ArriveError> {
        let Passage { index, owes_notice } = passage;
        let socket = handles::take(index).map_err(ArriveError::Handle)?;
        let transport = match socket::kind(&socket).map_err(ArriveError::Os)? {
            Kind::Packets => Transport::Packets,
            // One that owes something does not leave.
            Kind::Stream if !owes_notice => Transport::Stream,
            _ => return Err(ArriveError::NoEnd),
        };
        match owes_notice {
            true => Ok(Self::with(socket, transport, limit, Outgoing::resumed())),
            false => Ok(Self::new(socket, transport, limit)),
        }
    }

    /// Whether descriptors travel beside the bytes of a message.
    #[inline]
    pub(crate) fn carries_handles(&self) -> bool {
        self.transport == Transport::Packets
    }

    /// The socket, unless it has left. Whoever holds it keeps this end from leaving.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        match &*self.place() {
            Place::Here(socket) => Some(Arc::clone(socket)),
            Place::Away => None,
        }
    }

    /// Sends one message when it is our turn: what follows the first [`HEADROOM`](message::HEADROOM) bytes of `framed`.
    pub(crate) fn send(
        &self,
        framed: &mut [u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.send_by(deadline, |outgoing, socket| outgoing.send_framed(socket, framed, descriptors, deadline))
    }

    /// [`send`](Self::send) without room for a header, for bytes that are there already and many.
    pub(crate) fn send_unframed(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.send_by(deadline, |outgoing, socket| outgoing.send(socket, bytes, &[], deadline))
    }

    #[inline]
    fn send_by(
        &self,
        deadline: Deadline,
        send: impl FnOnce(&mut Outgoing, BorrowedFd<'_>) -> Result<(), message::SendError>,
    ) -> Result<(), SendError> {
        let mut side = self.outgoing.take(deadline).ok_or(SendError::TimedOut)?;
        let Side { socket: Some(socket), state: outgoing } = &mut *side else { return Err(SendError::Moved) };
        send(outgoing, socket.as_fd()).map_err(|e| {
            outgoing.give_up(&*socket);
            e.into()
        })
    }

    /// Receives one message when it is our turn; few bytes into the memory of `spare`.
    pub(crate) fn recv(
        &self,
        deadline: Deadline,
        spare: &mut Vec<u8>,
    ) -> Result<(Lent, Vec<OwnedFd>), RecvError> {
        self.recv_by(deadline, |incoming, socket| incoming.recv_lent(socket, deadline, spare))
    }

    /// Receives one message when it is our turn, in memory of its own.
    pub(crate) fn recv_owned(&self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.recv_by(deadline, |incoming, socket| Ok(incoming.recv(socket, deadline)?.bytes))
    }

    /// Receives one message when it is our turn and shows it to `look`, which runs no code of users.
    pub(crate) fn recv_with<T>(
        &self,
        deadline: Deadline,
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, RecvError> {
        self.recv_by(deadline, |incoming, socket| {
            incoming.recv_with(socket, deadline, |bytes, _descriptors| look(bytes))
        })
    }

    #[inline]
    fn recv_by<T>(
        &self,
        deadline: Deadline,
        recv: impl FnOnce(&mut Incoming, BorrowedFd<'_>) -> Result<T, message::RecvError>,
    ) -> Result<T, RecvError> {
        let mut side = self.incoming.take(deadline).ok_or(RecvError::TimedOut)?;
        let Side { socket: Some(socket), state: incoming } = &mut *side else { return Err(RecvError::Moved) };
        recv(incoming, socket.as_fd()).map_err(RecvError::from)
    }

    /// Waits until there is something to receive; `false` at the deadline.
    pub(crate) fn wait_readable(&self, deadline: Deadline) -> Result<bool, RecvError> {
        let socket = self.socket().ok_or(RecvError::Moved)?;
        poll::one(&socket, Interest::Readable, deadline).map_err(RecvError::Os)
    }

    /// Ends one direction; the other end hears of it. Of an end that has left nothing is ended.
    pub(crate) fn end(&self, direction: Direction) {
        if let Some(socket) = self.socket() {
            // Fails only where the other end is gone, and then there is nobody to tell.
            let _ = socket::shut_down(&socket, direction);
        }
    }

    /// Keeps the memory of a received message for a later one.
    pub(crate) fn take_back(&self, bytes: Lent) {
        if let Some(mut side) = self.incoming.take(Deadline::now()) {
            side.state.take_back(bytes);
        }
    }

    /// Refuses incoming messages above `limit` bytes from now on.
    pub(crate) fn set_limit(&self, limit: u64) {
        if let Some(mut side) = self.incoming.take(Deadline::NEVER) {
            side.state.set_limit(limit);
        }
    }

    /// Puts this end into the message that is being encoded.
    pub(crate) fn depart(self: &Arc<Self>) -> Result<Passage, HandleError> {
        // Given back after the place: that may wake tasks, whose code is not ours.
        let mut sides;
        let mut place = self.place();
        let Place::Here(socket) = &*place else { return Err(handles::note(HandleError::Moved)) };
        // A thread that waits here would take messages from the new owner; one that has half arrived would be lost.
        sides = (self.incoming.take_unwanted(), self.outgoing.take_unwanted());
        let (Some(incoming), Some(outgoing)) = &mut sides else {
            return Err(handles::note(HandleError::Busy));
        };
        if Arc::strong_count(socket) > AT_REST || incoming.state.is_inside() {
            return Err(handles::note(HandleError::Busy));
        }
        let owes_notice = outgoing.state.owes_notice();
        if owes_notice && !self.carries_handles() {
            // The rest of a frame, which only this process knows.
            return Err(handles::note(HandleError::Busy));
        }
        let departure = Departure { link: Arc::clone(self), socket: Arc::clone(socket) };
        let index = handles::put(Arc::new(departure))?;
        (incoming.socket, outgoing.socket) = (None, None);
        *place = Place::Away;
        Ok(Passage { index, owes_notice })
    }

    /// Takes the socket out of this end for good.
    pub(crate) fn leave(&self) -> Result<OwnedFd, IntoFdFault> {
        // As in `depart`.
        let mut sides;
        let mut place = self.place();
        let Place::Here(socket) = &*place else { return Err(IntoFdFault::Moved) };
        sides = (self.incoming.take_unwanted(), self.outgoing.take_unwanted());
        let (Some(incoming), Some(outgoing)) = &mut sides else { return Err(IntoFdFault::Busy) };
        let in_between = incoming.state.is_inside() || outgoing.state.owes_notice();
        if Arc::strong_count(socket) > AT_REST || in_between {
            return Err(IntoFdFault::Busy);
        }
        (incoming.socket, outgoing.socket) = (None, None);
        let Place::Here(socket) = mem::replace(&mut *place, Place::Away) else {
            unreachable!("the place is locked");
        };
        Arc::try_unwrap(socket).map_err(|socket| {
            // A descriptor was handed out at this moment.
            (incoming.socket, outgoing.socket) = (Some(Arc::clone(&socket)), Some(Arc::clone(&socket)));
            *place = Place::Here(socket);
            IntoFdFault::Busy
        })
    }

    /// Writes an end into the message that is being encoded.
    pub(crate) fn serialize<Z: Serializer>(
        self: &Arc<Self>,
        limit: u64,
        serializer: Z,
    ) -> Result<Z::Ok, Z::Error> {
        let passage = self.depart().map_err(Z::Error::custom)?;
        (passage, limit).serialize(serializer)
    }

    /// Takes an end out of the message that is being decoded, and its limit.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Arc<Self>, u64), D::Error> {
        let (passage, limit) = Deserialize::deserialize(deserializer)?;
        let link = Self::arrive(passage, limit).map_err(D::Error::custom)?;
        Ok((link, limit))
    }

    /// The end is here again.
    fn come_back(&self, socket: &Arc<OwnedFd>) {
        // As in `depart`.
        let (mut incoming, mut outgoing);
        let mut place = self.place();
        // While the end is away nobody keeps a turn for longer than to see that.
        incoming = self.incoming.take(Deadline::NEVER);
        outgoing = self.outgoing.take(Deadline::NEVER);
        if let Some(side) = &mut incoming {
            side.socket = Some(Arc::clone(socket));
        }
        if let Some(side) = &mut outgoing {
            side.socket = Some(Arc::clone(socket));
        }
        *place = Place::Here(Arc::clone(socket));
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        // Each change is one assignment.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written into a message that holds an end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Passage {
    index: u32,
    /// The new owner has to tell the other end of a message that was given up in the middle.
    owes_notice: bool,
}

/// An end on its way out, with the only reference to its socket.
struct Departure {
    link: Arc<Link>,
    socket: Arc<OwnedFd>,
}

impl Carried for Departure {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn rollback(&self) {
        self.link.come_back(&self.socket);
    }
}

/// Why an end could not be taken out of a message.
#[derive(Debug)]
pub(crate) enum ArriveError {
    Handle(HandleError),
    /// A descriptor that no end is on.
    NoEnd,
    Os(OsError),
}

impl std::fmt::Display for ArriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Handle(e) => e.fmt(f),
            Self::NoEnd => f.write_str("checking a received socket: it carries no messages"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_last_owner_owes_the_next_one_pays() {
        for owed in [Outgoing::resumed(), Outgoing::new()] {
            let owes = owed.owes_notice();
            let (socket, _other) = socket::pair().unwrap();
            let link = Link::with(socket, Transport::Packets, 1000, owed);
            let (passage, carried) = handles::collect(|| link.depart()).unwrap();
            let arrived = carried.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
            carried.commit();
            let link = handles::supply(arrived, || Link::arrive(passage, 1000)).unwrap();
            assert_eq!(link.outgoing.take(Deadline::now()).unwrap().state.owes_notice(), owes);
        }
    }
}
