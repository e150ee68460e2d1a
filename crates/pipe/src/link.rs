//! One end of a connection, without types: where its socket is, and whose turn it is to use it.
//!
//! | place | true | moves to |
//! |---|---|---|
//! | `Here` | this process uses the socket | `Away` when it is encoded into a message |
//! | `Away` | a message has the socket | `Here` when the message was not sent; else never: what was sent is closed here |
//!
//! Invariants: every call under way holds a reference to the socket, taken while the place is `Here`; so an end can
//! leave exactly while there is one reference, and no call goes on using a socket that has left. No code of users
//! runs while a turn is held: it may use the same end. Held by `tests/contract.rs`, `moving_*` and `reentrant_*`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_codec::handles::{self, Carried, HandleError};
use procession_sys::message::{Incoming, Lent, Outgoing};
use procession_sys::{Deadline, OsError, socket};

use serde::{Deserialize, Serialize};

use crate::error::{RecvError, SendError};
use crate::turn::Turn;

#[derive(Debug)]
pub(crate) struct Link {
    place: Mutex<Place>,
    outgoing: Turn<Outgoing>,
    incoming: Turn<Incoming>,
    scratch: Mutex<Vec<u8>>,
}

/// Memory beyond this is given back after the message that needed it: room for a mebibyte and what surrounds it.
const KEPT: usize = 2 << 20;

#[derive(Debug)]
enum Place {
    Here(Arc<OwnedFd>),
    Away,
}

impl Link {
    /// An end on `socket`, refusing incoming messages above `limit` bytes.
    pub(crate) fn new(socket: OwnedFd, limit: u64) -> Arc<Self> {
        Self::with(socket, limit, Outgoing::new())
    }

    fn with(socket: OwnedFd, limit: u64, outgoing: Outgoing) -> Arc<Self> {
        Arc::new(Self {
            place: Mutex::new(Place::Here(Arc::new(socket))),
            outgoing: Turn::new(outgoing),
            incoming: Turn::new(Incoming::new(limit)),
            scratch: Mutex::default(),
        })
    }

    /// An end that arrived in a message; anything but a socket of our kind is refused.
    pub(crate) fn arrive(passage: Passage, limit: u64) -> Result<Arc<Self>, ArriveError> {
        let Passage { index, owes_notice } = passage;
        let socket = handles::take(index).map_err(ArriveError::Handle)?;
        socket::check(socket.as_fd()).map_err(ArriveError::Os)?;
        Ok(Self::with(socket, limit, if owes_notice { Outgoing::resumed() } else { Outgoing::new() }))
    }

    /// The socket, unless it has left. Whoever holds it keeps this end from leaving.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        match &*self.place() {
            Place::Here(socket) => Some(Arc::clone(socket)),
            Place::Away => None,
        }
    }

    /// Sends one message when it is our turn.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let socket = self.socket().ok_or(SendError::Moved)?;
        let mut outgoing = self.outgoing.take(deadline).ok_or(SendError::TimedOut)?;
        outgoing.send(&socket, bytes, descriptors, deadline).map_err(|e| {
            outgoing.give_up(&socket);
            e.into()
        })
    }

    /// Receives one message when it is our turn.
    pub(crate) fn recv(&self, deadline: Deadline) -> Result<(Lent, Vec<OwnedFd>), RecvError> {
        // Given up after the turn: an end that nobody uses has its turns to spare.
        let socket = self.socket().ok_or(RecvError::Moved)?;
        let mut incoming = self.incoming.take(deadline).ok_or(RecvError::TimedOut)?;
        incoming.recv_lent(&socket, deadline).map_err(RecvError::from)
    }

    /// Keeps the memory of a received message for a later one.
    pub(crate) fn take_back(&self, bytes: Lent) {
        if let Some(mut incoming) = self.incoming.take(Deadline::now()) {
            incoming.take_back(bytes);
        }
    }

    /// Memory to encode a message into: empty, and where it can be had, of some capacity.
    pub(crate) fn scratch(&self) -> Vec<u8> {
        self.scratch.try_lock().map_or_else(|_| Vec::new(), |mut scratch| std::mem::take(&mut *scratch))
    }

    /// Keeps the memory of a sent message for a later one.
    pub(crate) fn keep_scratch(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        match self.scratch.try_lock() {
            Ok(mut scratch) if bytes.capacity() <= KEPT => *scratch = bytes,
            _ => {}
        }
    }

    /// Refuses incoming messages above `limit` bytes from now on.
    pub(crate) fn set_limit(&self, limit: u64) {
        if let Some(mut incoming) = self.incoming.take(Deadline::NEVER) {
            incoming.set_limit(limit);
        }
    }

    /// Puts this end into the message that is being encoded.
    pub(crate) fn depart(self: &Arc<Self>) -> Result<Passage, HandleError> {
        let mut place = self.place();
        let Place::Here(socket) = &*place else { return Err(handles::note(HandleError::Moved)) };
        // A thread that waits here would take messages from the new owner; one that has half arrived would be lost.
        let idle = |incoming: &Incoming| Arc::strong_count(socket) == 1 && !incoming.is_inside();
        let (incoming, outgoing) = (self.incoming.take(Deadline::now()), self.outgoing.take(Deadline::now()));
        let (Some(outgoing), true) = (outgoing, incoming.is_some_and(|incoming| idle(&incoming))) else {
            return Err(handles::note(HandleError::Busy));
        };
        let owes_notice = outgoing.owes_notice();
        let socket = Arc::clone(socket);
        let index = handles::put(Arc::new(Departure { link: Arc::clone(self), socket }))?;
        *place = Place::Away;
        Ok(Passage { index, owes_notice })
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
        *self.link.place() = Place::Here(Arc::clone(&self.socket));
    }
}

/// Why an end could not be taken out of a message.
#[derive(Debug)]
pub(crate) enum ArriveError {
    Handle(HandleError),
    Os(OsError),
}

impl std::fmt::Display for ArriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Handle(e) => e.fmt(f),
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
            let link = Link::with(socket, 1000, owed);
            let (passage, carried) = handles::collect(|| link.depart()).unwrap();
            let arrived = carried.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
            carried.commit();
            let link = handles::supply(arrived, || Link::arrive(passage, 1000)).unwrap();
            assert_eq!(link.outgoing.take(Deadline::now()).unwrap().owes_notice(), owes);
        }
    }
}
