//! What can go wrong with a domain as a whole, and with joining it.

use std::{error, fmt};

use procession_sys::OsError;

/// Why there is no domain to be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum DomainError {
    /// The operating system's: memory, descriptors or address space have run out.
    Os(OsError),
    /// The descriptor is shared memory, but no domain's.
    NotADomain,
    /// It was made by another version of this library, with another layout.
    OtherVersion {
        /// The version of its layout.
        found: u32,
        /// The version that this library knows.
        known: u32,
    },
    /// It was made by a process with another C library, which lays out its mutexes differently.
    OtherLibc,
    /// Its header contradicts itself or its length.
    Damaged {
        /// Which part of it.
        part: &'static str,
    },
    /// This process has a domain of its tree already, and it is another one.
    AnotherIsCurrent,
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(e) => write!(f, "getting a domain: {e}"),
            Self::NotADomain => f.write_str("attaching a domain: the memory is not a domain's"),
            Self::OtherVersion { found, known } => {
                write!(f, "attaching a domain: its layout has version {found}, this library knows {known}")
            }
            Self::OtherLibc => f.write_str("attaching a domain: it was made with another C library"),
            Self::Damaged { part } => write!(f, "attaching a domain: its header is damaged ({part})"),
            Self::AnotherIsCurrent => f.write_str("adopting a domain: this process has another one already"),
        }
    }
}

impl error::Error for DomainError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Os(e) => Some(e),
            _ => None,
        }
    }
}

impl From<OsError> for DomainError {
    fn from(error: OsError) -> Self {
        Self::Os(error)
    }
}

/// Why the calling thread cannot join a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// Every slot belongs to a thread that is alive, as far as can be known.
    Full {
        /// How many there are.
        n_slots: u32,
    },
    /// The thread is ending, and has left its domains.
    ThreadEnds,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { n_slots } => {
                write!(f, "joining a domain: all of its {n_slots} slots belong to living threads")
            }
            Self::ThreadEnds => f.write_str("joining a domain: the thread is ending"),
        }
    }
}

impl error::Error for JoinError {}
