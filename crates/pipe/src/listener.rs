//! Listeners: addresses at which clients become connections.
//!
//! Local sockets are made here and not by the crate `interprocess`, whose local sockets are streams: ours keep boundaries
//! and carry handles. It also takes a name from a listener that lives, where it is told to replace dead ones. A stream
//! that it connected can be made a [`Connection`](crate::Connection) of.
//!
//! Invariants: nothing that a client says is decoded before it is let in; clients that are not let in yet are bounded in
//! number, in bytes and in time, and keep nobody waiting; who is let in was seen by the kernel to be of our user, or has
//! the key, or was allowed in words. A connection carries values, and never an address of a function: those are taken from
//! the channels of a process tree alone. Held by `tests/handshake.rs` and `tests/strangers.rs`.

mod accept;
mod builder;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;
use procession_sys::event::Event;
use procession_sys::fork::{self, Epoch};

use crate::handshake::Terms;
use crate::meeting::{AcceptError, ListenError, Refused};
use crate::turn::Turn;
use crate::{Address, Connection, Duplex};

use accept::Accepting;
pub use builder::ListenerBuilder;

/// An address at which clients are accepted: what Python calls a `Listener`.
///
/// Send and Sync; any number of threads may accept, one at a time. Not Clone, and not sent to other processes; accepted
/// connections are, like all. Dropping it closes it, and removes its socket file; in a forked child it removes nothing.
///
/// A message of a client may hold ends of its own, whose limit is the one their sender gave them: set yours before you
/// receive from them. In a user namespace all users without a number in it look like one.
///
/// Nobody waits for a client that is silent or talks nonsense: handshakes go on side by side while somebody accepts, each
/// with its own deadline, and those that fail are [counted](Self::n_refused). No thread runs in between.
///
/// **If its process dies**, clients that were accepted hear of it as of every end, those that were not answer
/// [`Closed`](crate::ConnectFault::Closed) or [`NobodyListens`](crate::ConnectFault::NobodyListens). A socket file stays
/// behind, and is reclaimed by the next listener at this address; a name or a port is free at once.
///
/// # Examples
/// ```
/// use procession_pipe::{Address, AuthKey, Client, Listener};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = AuthKey::random()?;
/// let listener = Listener::builder().key(key.clone()).bind(Address::unique()?)?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || {
///     let end = Client::builder().key(key).connect_as::<String, usize>(&address).unwrap();
///     end.send(&"hello".into()).unwrap();
///     end.recv().unwrap()
/// });
/// let end = listener.accept_as::<usize, String>()?;
/// end.send(&end.recv()?.len())?;
/// assert_eq!(client.join().unwrap(), 5);
/// # Ok(()) }
/// ```
pub struct Listener {
    address: Address,
    terms: Terms,
    rules: Rules,
    accepting: Turn<Accepting>,
    /// Notified when it is closed.
    woken: Event,
    is_closed: AtomicBool,
    /// In a forked child everything but the flag is shared with the parent.
    epoch: Epoch,
    refusals: Mutex<Refusals>,
}

/// What the builder said.
#[derive(Clone, Copy, Debug)]
struct Rules {
    other_users: bool,
    handshake: Duration,
    max_handshakes: usize,
    limit: u64,
}

#[derive(Debug, Default)]
struct Refusals {
    n: u64,
    last: Option<Refused>,
}

impl Listener {
    /// Listens at `address`, as a [builder](Self::builder) does without settings: for processes of our own user on this
    /// machine.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(address: impl Into<Address>) -> Result<Self, ListenError> {
        Self::builder().bind(address)
    }

    /// Settings for a new listener.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::default()
    }

    /// Where it listens; with the port it got, where it was to get one.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next client that is let in.
    ///
    /// Blocks until there is one. Clients that are refused, silent or gone are passed over.
    ///
    /// # Errors
    /// See [`AcceptError`]; none of them is a client's doing.
    pub fn accept(&self) -> Result<Connection, AcceptError> {
        self.accept_by(Deadline::NEVER)
    }

    /// [`accept`](Self::accept) without waiting: [`AcceptError::Empty`] if nobody can be let in now. Where there is a key
    /// it takes some calls, because the handshake goes forth and back.
    pub fn try_accept(&self) -> Result<Connection, AcceptError> {
        self.accept_by(Deadline::now()).map_err(AcceptError::at_once)
    }

    /// [`accept`](Self::accept) for at most `timeout`.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, AcceptError> {
        self.accept_by(Deadline::after(timeout))
    }

    /// [`accept`](Self::accept) until `instant`.
    pub fn accept_until(&self, instant: Instant) -> Result<Connection, AcceptError> {
        self.accept_by(Deadline::at(instant))
    }

    /// [`accept`](Self::accept), as an end that sends values of type `S` and receives values of type `R`. The client's end
    /// has to be of the mirrored types; nothing on the way says so, and a value of another type is a `Decode` error.
    pub fn accept_as<S: Message, R: Message>(&self) -> Result<Duplex<S, R>, AcceptError> {
        self.accept().map(Connection::into_duplex)
    }

    /// The clients as they come, until the listener is closed. Each step blocks as [`accept`](Self::accept).
    pub fn incoming(&self) -> impl Iterator<Item = Result<Connection, AcceptError>> {
        std::iter::from_fn(|| match self.accept() {
            Err(AcceptError::Closed) => None,
            accepted => Some(accepted),
        })
    }

    /// How many clients were not let in so far.
    pub fn n_refused(&self) -> u64 {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).n
    }

    /// Takes the news of the last client that was not let in, if there is any.
    pub fn take_last_refused(&self) -> Option<Refused> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).last.take()
    }

    /// Ends it for all threads: those that accept answer [`AcceptError::Closed`], clients that wait are cut off, the name
    /// is free. Connections that were accepted stay. Does nothing when it is closed. In a forked child it ends that one's
    /// only; and as long as a forked child lives that does not drop its copy, nothing of this is free.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        if self.epoch != fork::epoch() {
            return;
        }
        self.woken.notify();
        // Whoever has the turn has been woken, and everybody who gets it sees the flag.
        if let Some(mut accepting) = self.accepting.take(Deadline::NEVER) {
            accepting.close();
        }
    }

    fn refuse(&self, refused: Refused) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.n += 1;
        refusals.last = Some(refused);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("key", &self.terms.key)
            .field("n_refused", &self.n_refused())
            .finish_non_exhaustive()
    }
}
