//! The settings of a listener.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use procession_sys::event::Event;
use procession_sys::fork;
use procession_sys::limits;
use procession_sys::socket::{self, BindFailed, FileName};

use super::accept::{Accepting, Bound};
use super::{Listener, Refusals, Rules};
use crate::handshake::Terms;
use crate::link::Transport;
use crate::meeting::{ListenError, ListenFault};
use crate::turn::Turn;
use crate::{Address, AuthKey, DEFAULT_LIMIT, hello};

/// Settings for a new [`Listener`].
///
/// | setting | unless set |
/// |---|---|
/// | [`key`](Self::key) | none: local clients are known by their user; TCP demands one, or [`allow_strangers`](Self::allow_strangers) |
/// | [`allow_other_users`](Self::allow_other_users) | no: local clients of other users are refused, with a key too |
/// | [`handshake_timeout`](Self::handshake_timeout) | 10 s |
/// | [`max_handshakes`](Self::max_handshakes) | 64 |
/// | [`message_limit`](Self::message_limit) | 64 MiB |
/// | [`backlog`](Self::backlog) | 128 |
/// | [`mode`](Self::mode) | `0o600` |
///
/// ```
/// use procession_pipe::{AuthKey, ListenFault, Listener};
/// use std::net::{Ipv4Addr, SocketAddr};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
/// assert!(matches!(Listener::bind(anywhere).unwrap_err().why, ListenFault::KeyNeeded));
/// let listener = Listener::builder().key(AuthKey::random()?).message_limit(1 << 20).bind(anywhere)?;
/// assert!(!listener.address().is_local());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nobody listens before `bind`"]
pub struct ListenerBuilder {
    key: Option<AuthKey>,
    strangers: bool,
    backlog: u32,
    mode: u32,
    rules: Rules,
}

impl Default for ListenerBuilder {
    fn default() -> Self {
        let handshake = Duration::from_secs(10);
        let rules = Rules { other_users: false, handshake, max_handshakes: 64, limit: DEFAULT_LIMIT };
        Self { key: None, strangers: false, backlog: 128, mode: 0o600, rules }
    }
}

impl ListenerBuilder {
    /// Lets in who has this key, and proves to them that we have it too.
    pub fn key(mut self, key: AuthKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Lets in local clients of other users too. The rights of a socket file are another matter: see [`mode`](Self::mode).
    /// An abstract name has no rights, so with this and without a key everybody on the machine is let in.
    pub fn allow_other_users(mut self, allow: bool) -> Self {
        self.rules.other_users = allow;
        self
    }

    /// Lets in whoever reaches an address of TCP, without a key.
    pub fn allow_strangers(mut self, allow: bool) -> Self {
        self.strangers = allow;
        self
    }

    /// How long a client may take to introduce itself, while somebody accepts.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.rules.handshake = timeout;
        self
    }

    /// How many clients may be about to introduce themselves at a time, at least 1; the oldest makes place for a new one.
    /// Each has one descriptor open.
    pub fn max_handshakes(mut self, n: usize) -> Self {
        self.rules.max_handshakes = n.max(1);
        self
    }

    /// The longest message that a connection sends or receives, in bytes.
    pub fn message_limit(mut self, limit: u64) -> Self {
        self.rules.limit = limit;
        self
    }

    /// How many clients may wait in the kernel until somebody accepts; further ones wait in `connect`.
    pub fn backlog(mut self, n: u32) -> Self {
        self.backlog = n;
        self
    }

    /// The rights of the socket file, whatever the mask for new files: whom the kernel lets connect.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Listens at `address`.
    ///
    /// A socket file whose socket is gone is replaced. For that, and only if there is one, it waits for up to five seconds
    /// while the directory is locked. Of many who bind to one address at a time, one wins.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(self, address: impl Into<Address>) -> Result<Listener, ListenError> {
        let address = address.into();
        // Where the limit cannot be raised, the lower one holds.
        let _ = limits::raise_descriptor_limit();
        match self.listen(&address) {
            Ok((bound, address, woken)) => Ok(self.finish(bound, address, woken)),
            Err(why) => Err(ListenError { address, why }),
        }
    }

    fn listen(&self, address: &Address) -> Result<(Bound, Address, Event), ListenFault> {
        if !address.is_local() && self.key.is_none() && !self.strangers {
            return Err(ListenFault::KeyNeeded);
        }
        let woken = Event::new().map_err(ListenFault::Os)?;
        let bound = match address {
            Address::Path(path) => Bound::File(FileName::listen(path, self.mode, self.backlog)?),
            _ => match socket::listen(address.endpoint(), self.backlog) {
                Ok(socket) => Bound::Socket(socket),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    return Err(ListenFault::InUse);
                }
                Err(error) => return Err(ListenFault::Os(error)),
            },
        };
        let address = match &bound {
            Bound::Socket(socket) if !address.is_local() => {
                Address::Tcp(socket::local_address(socket).map_err(ListenFault::Os)?)
            }
            _ => address.clone(),
        };
        Ok((bound, address, woken))
    }

    fn finish(self, bound: Bound, address: Address, woken: Event) -> Listener {
        let transport = if address.is_local() { Transport::Packets } else { Transport::Stream };
        Listener {
            terms: Terms { key: self.key, kind: hello::kind(&address), transport },
            address,
            rules: self.rules,
            accepting: Turn::new(Accepting::at(bound)),
            woken,
            is_closed: AtomicBool::new(false),
            epoch: fork::epoch(),
            refusals: Mutex::new(Refusals::default()),
        }
    }
}

impl From<BindFailed> for ListenFault {
    fn from(failed: BindFailed) -> Self {
        match failed {
            BindFailed::InUse => Self::InUse,
            BindFailed::NotASocket => Self::NotASocket,
            BindFailed::Locked => Self::DirectoryLocked,
            other => Self::Os(other.into()),
        }
    }
}
