//! Clients: connections to listeners.

use std::io::ErrorKind;
use std::time::Duration;

use procession_codec::Message;
use procession_sys::socket::{self, Peer};
use procession_sys::{Deadline, OsError, limits};

use crate::handshake::{self, Terms};
use crate::link::Transport;
use crate::meeting::{ConnectError, ConnectFault};
use crate::{Address, AuthKey, Connection, DEFAULT_LIMIT, Duplex, hello};

/// Connects to a [`Listener`](crate::Listener): what Python calls a `Client`. What it makes is a [`Connection`], so there
/// are no values of this type.
#[derive(Clone, Copy, Debug)]
pub enum Client {}

impl Client {
    /// Connects to the listener at `address`, as a [builder](Self::builder) does without settings: for at most 10 s, without
    /// a key, and on this machine to a listener of our own user only.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// ```
    /// use procession_pipe::{Address, Client, ConnectFault};
    /// let error = Client::connect(&Address::unique()?).unwrap_err();
    /// assert!(matches!(error.why, ConnectFault::NobodyListens));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(address: &Address) -> Result<Connection, ConnectError> {
        Self::builder().connect(address)
    }

    /// Settings for a new connection.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            key: None,
            timeout: Duration::from_secs(10),
            other_users: false,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// Settings for a new connection to a listener. See [`Listener`](crate::Listener) for an example.
#[derive(Clone, Debug)]
#[must_use = "nothing is connected before `connect`"]
pub struct ClientBuilder {
    key: Option<AuthKey>,
    timeout: Duration,
    other_users: bool,
    limit: u64,
}

impl ClientBuilder {
    /// Demands that the listener has this key, and proves to it that we have it too.
    pub fn key(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How long connecting may take, the handshake included: 10 s unless set. The listener has to accept in that time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects to local listeners of other users too.
    pub fn allow_other_users(mut self, allow: bool) -> Self {
        self.other_users = allow;
        self
    }

    /// The longest message that the connection sends or receives, in bytes: 64 MiB unless set.
    pub fn message_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Connects to the listener at `address`.
    ///
    /// Blocks until the listener accepts, or the time is up. **If the listener's process dies** meanwhile, the answer is
    /// [`Closed`](ConnectFault::Closed) or [`NobodyListens`](ConnectFault::NobodyListens).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(&self, address: &Address) -> Result<Connection, ConnectError> {
        self.meet(address).map_err(|why| ConnectError { address: address.clone(), why })
    }

    /// [`connect`](Self::connect), as an end that sends values of type `S` and receives values of type `R`.
    pub fn connect_as<S: Message, R: Message>(
        &self,
        address: &Address,
    ) -> Result<Duplex<S, R>, ConnectError> {
        self.connect(address).map(Connection::into_duplex)
    }

    fn meet(&self, address: &Address) -> Result<Connection, ConnectFault> {
        // Where the limit cannot be raised, the lower one holds.
        let _ = limits::raise_descriptor_limit();
        let deadline = Deadline::after(self.timeout);
        let socket = socket::connect(address.endpoint(), deadline).map_err(not_connected)?;
        if address.is_local() && !self.other_users {
            match socket::connected_to(&socket).map_err(ConnectFault::Os)? {
                Peer::Local { uid, .. } if uid != socket::our_user() => {
                    return Err(ConnectFault::OtherUser { uid });
                }
                _ => {}
            }
        }
        let transport = if address.is_local() { Transport::Packets } else { Transport::Stream };
        let terms = Terms { key: self.key.clone(), kind: hello::kind(address), transport };
        handshake::introduce(&socket, &terms, deadline)?;
        Ok(Connection::on(socket, transport).with_limit(self.limit))
    }
}

fn not_connected(error: OsError) -> ConnectFault {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => ConnectFault::NobodyListens,
        ErrorKind::TimedOut => ConnectFault::TimedOut,
        // TCP had got through, and the listener ended just then.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => ConnectFault::Closed,
        // A socket of another kind is bound to the name.
        _ if error.errno() == Some(WRONG_TYPE) => ConnectFault::Foreign,
        _ => ConnectFault::Os(error),
    }
}

/// `EPROTOTYPE`, which the standard library has no word for.
const WRONG_TYPE: i32 = 91;
