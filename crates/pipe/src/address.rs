//! Where a listener and its clients meet.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use procession_sys::random;
use procession_sys::socket::Endpoint;
use serde::{Deserialize, Serialize};

use crate::PipeError;

/// Where a [`Listener`](crate::Listener) and its clients meet.
///
/// | kind | as text | who can reach it | after a crash of the listener |
/// |---|---|---|---|
/// | [`Path`](Self::Path) | `unix:/run/me/name` | whom the directory and the file let | the file stays; the next to bind reclaims it |
/// | [`Abstract`](Self::Abstract) | `abstract:name` | every process of the network namespace | the name is free at once |
/// | [`Tcp`](Self::Tcp) | `tcp:127.0.0.1:5000` | whom the network lets | the port is free at once |
///
/// Who can reach an address is not yet let in: see [`ListenerBuilder`](crate::ListenerBuilder). It is a value like any
/// other: an argument of a process, a part of a message, a line of a file.
///
/// ```
/// use procession_pipe::Address;
/// let address: Address = "tcp:[::1]:5000".parse()?;
/// assert_eq!(address, Address::Tcp("[::1]:5000".parse()?));
/// assert_eq!(Address::path("/run/me/name").to_string(), "unix:/run/me/name");
/// assert!("5000".parse::<Address>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Address {
    /// A socket file, at most 107 bytes long.
    Path(PathBuf),
    /// A name that is no file, at most 107 bytes long. It has no rights that could be set.
    Abstract(String),
    /// An address and a port; a listener at port 0 gets one that is free.
    Tcp(SocketAddr),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl Address {
    /// A socket file.
    pub fn path(path: impl AsRef<Path>) -> Self {
        Self::Path(path.as_ref().to_owned())
    }

    /// A name of this machine that nobody else has or guesses, and of which no file is left behind.
    ///
    /// # Errors
    /// The system gives no random number.
    pub fn unique() -> Result<Self, PipeError> {
        let number = random::number().map_err(PipeError)?;
        Ok(Self::Abstract(format!("procession-{}-{number:032x}", std::process::id())))
    }

    /// Whether only processes of this machine can meet here, so that the kernel knows who they are.
    pub fn is_local(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    pub(crate) fn endpoint(&self) -> Endpoint<'_> {
        match self {
            Self::Path(path) => Endpoint::Path(path),
            Self::Abstract(name) => Endpoint::Abstract(name.as_bytes()),
            Self::Tcp(address) => Endpoint::Tcp(*address),
        }
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::path(path)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        match text.split_once(':').ok_or_else(wrong)? {
            (_, "") => Err(wrong()),
            ("unix", path) => Ok(Self::path(path)),
            ("abstract", name) => Ok(Self::Abstract(name.to_owned())),
            ("tcp", address) => address.parse().map(Self::Tcp).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "abstract:{name}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "{text:?} is no address: use unix:PATH, abstract:NAME or tcp:HOST:PORT with a number for a host"
        )
    }
}

impl Error for AddressError {}
