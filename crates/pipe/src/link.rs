//! One end of a connection, without types: where its socket is, and whose turn it is to use it.
//!
//! | place | true | moves to |
//! |---|---|---|
//! | `Here` | this process uses the socket | `Leaving` when it is encoded into a message |
//! | `Leaving` | a message that holds it is being sent | `Gone` when a carrier took it, `Here` when not |
//! | `Gone` | our descriptor is closed, so the other end sees only the new owner | — |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_codec::handles::{self, Carried, HandleError};
use procession_sys::message::{Incoming, Outgoing};
use procession_sys::{Deadline, OsError, socket};

use crate::turn::Turn;

#[derive(Debug)]
pub(crate) struct Link {
    place: Mutex<Place>,
    pub(crate) outgoing: Turn<Outgoing>,
    pub(crate) incoming: Turn<Incoming>,
}

#[derive(Debug)]
enum Place {
    Here(Arc<OwnedFd>),
    Leaving,
    Gone,
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
        })
    }

    /// An end that arrived in a message; anything but a socket of our kind is refused.
    pub(crate) fn arrive(index: u32, limit: u64) -> Result<Arc<Self>, ArriveError> {
        let socket = handles::take(index).map_err(ArriveError::Handle)?;
        socket::check(socket.as_fd()).map_err(ArriveError::Os)?;
        // Its last owner may have given up in the middle of a message.
        Ok(Self::with(socket, limit, Outgoing::resumed()))
    }

    /// The socket, unless it has left.
    pub(crate) fn socket(&self) -> Option<Arc<OwnedFd>> {
        match &*self.place() {
            Place::Here(socket) => Some(Arc::clone(socket)),
            Place::Leaving | Place::Gone => None,
        }
    }

    /// Puts this end into the message that is being encoded.
    pub(crate) fn depart(self: &Arc<Self>) -> Result<u32, HandleError> {
        let mut place = self.place();
        let Place::Here(socket) = &*place else { return Err(HandleError::Moved) };
        // A message that has half arrived would be lost; a thread that waits here would wait on the new owner's end.
        let (incoming, outgoing) = (self.incoming.take(Deadline::now()), self.outgoing.take(Deadline::now()));
        let idle = outgoing.is_some() && incoming.is_some_and(|incoming| !incoming.is_inside());
        if !idle {
            return Err(HandleError::Busy);
        }
        let socket = Arc::clone(socket);
        let index = handles::put(Arc::new(Departure { link: Arc::clone(self), socket }))?;
        *place = Place::Leaving;
        Ok(index)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        // Each change is one assignment.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An end on its way out.
struct Departure {
    link: Arc<Link>,
    socket: Arc<OwnedFd>,
}

impl Carried for Departure {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn commit(&self) {
        *self.link.place() = Place::Gone;
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
