//! What the tests of listeners share: every kind of address, with a key and without, and clients that keep to nothing.
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::IoSlice;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession_pipe::{
    Address, AuthKey, Client, ClientBuilder, Connection, Listener, ListenerBuilder, Refusal,
};
use procession_sys::Deadline;
use procession_sys::socket::{self, Endpoint, RecvFailed};

/// A time that nothing here takes.
pub(crate) const FAR: Duration = Duration::from_secs(50);
/// A time for what is expected not to happen.
pub(crate) const SOON: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Path,
    Abstract,
    Tcp4,
    Tcp6,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Path, Kind::Abstract, Kind::Tcp4, Kind::Tcp6];

impl Kind {
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Path | Self::Abstract)
    }

    /// Whether this machine has it: all but perhaps the last.
    pub(crate) fn is_here(self) -> bool {
        self != Self::Tcp6 || TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }
}

/// A directory of its own, removed in the end.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static N: AtomicUsize = AtomicUsize::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("procession-meet-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn name(&self) -> PathBuf {
        self.0.join("name")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A place to meet at.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) key: Option<AuthKey>,
    pub(crate) directory: Directory,
}

impl Place {
    pub(crate) fn new(kind: Kind, keyed: bool) -> Self {
        let key = keyed.then(|| AuthKey::random().unwrap());
        Self { kind, key, directory: Directory::new() }
    }

    pub(crate) fn address(&self) -> Address {
        match self.kind {
            Kind::Path => Address::path(self.directory.name()),
            Kind::Abstract => Address::unique().unwrap(),
            Kind::Tcp4 => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
            Kind::Tcp6 => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into(),
        }
    }

    /// A second one of the same kind.
    pub(crate) fn address_beside(&self) -> Address {
        match self.kind {
            Kind::Path => Address::path(self.directory.0.join("second")),
            _ => self.address(),
        }
    }

    pub(crate) fn builder(&self) -> ListenerBuilder {
        match &self.key {
            Some(key) => Listener::builder().key(key.clone()),
            None => Listener::builder().allow_strangers(true),
        }
    }

    pub(crate) fn listen(&self) -> Listener {
        self.builder().bind(self.address()).unwrap()
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        let client = Client::builder().timeout(FAR);
        match &self.key {
            Some(key) => client.key(key.clone()),
            None => client,
        }
    }

    /// Both ends of a new connection.
    pub(crate) fn meet(&self, listener: &Listener) -> (Connection, Connection) {
        std::thread::scope(|s| {
            let client = s.spawn(|| self.client().connect(listener.address()).unwrap());
            (listener.accept_timeout(FAR).unwrap(), client.join().unwrap())
        })
    }
}

/// Every kind of address, with a key and without.
pub(crate) fn everywhere(case: impl Fn(&Place)) {
    for kind in KINDS.into_iter().filter(|kind| kind.is_here()) {
        for keyed in [false, true] {
            case(&Place::new(kind, keyed));
        }
    }
}

pub(crate) fn endpoint(address: &Address) -> Endpoint<'_> {
    match address {
        Address::Path(path) => Endpoint::Path(path),
        Address::Abstract(name) => Endpoint::Abstract(name.as_bytes()),
        Address::Tcp(address) => Endpoint::Tcp(*address),
        other => panic!("{other}"),
    }
}

/// An end that says what it likes.
pub(crate) struct Raw {
    pub(crate) socket: OwnedFd,
    packets: bool,
}

impl Raw {
    pub(crate) fn connect(address: &Address) -> Self {
        let socket = socket::connect(endpoint(address), Deadline::after(FAR)).unwrap();
        Self { socket, packets: address.is_local() }
    }

    /// Says it, also to nobody.
    pub(crate) fn say(&self, bytes: &[u8]) {
        let _ = socket::send_some(&self.socket, &[IoSlice::new(bytes)], Deadline::after(FAR));
    }

    /// Hears so many bytes; fewer at the end.
    pub(crate) fn hear(&self, n: usize) -> Vec<u8> {
        let (mut bytes, mut got) = (vec![0; n], 0);
        while got < n {
            match socket::recv_some(&self.socket, &mut bytes[got..], Deadline::after(FAR)) {
                Ok(more) => got += more,
                Err(RecvFailed::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        bytes.truncate(got);
        bytes
    }
}

/// Who listens without keeping to anything.
pub(crate) struct RawListener {
    pub(crate) address: Address,
    socket: OwnedFd,
}

impl RawListener {
    pub(crate) fn new(tcp: bool) -> Self {
        let address = match tcp {
            true => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into(),
            false => Address::unique().unwrap(),
        };
        let socket = socket::listen(endpoint(&address), 10).unwrap();
        let address = match tcp {
            true => socket::local_address(&socket).unwrap().into(),
            false => address,
        };
        Self { address, socket }
    }

    pub(crate) fn accept(&self) -> Raw {
        use procession_sys::poll::{Interest, one};
        assert!(one(&self.socket, Interest::Readable, Deadline::after(FAR)).unwrap());
        let socket = socket::accept(&self.socket).unwrap().unwrap();
        Raw { socket, packets: self.address.is_local() }
    }
}

/// Accepts until somebody more was refused, which must be for that reason.
pub(crate) fn expect_refusal(listener: &Listener, is_expected: impl Fn(&Refusal) -> bool) {
    let before = listener.n_refused();
    loop {
        if let Some(refused) = listener.take_last_refused() {
            assert!(is_expected(&refused.why), "{refused}");
            return;
        }
        assert_eq!(listener.n_refused(), before);
        match listener.accept_timeout(SOON) {
            Err(procession_pipe::AcceptError::TimedOut) => {}
            other => panic!("{other:?}"),
        }
    }
}
