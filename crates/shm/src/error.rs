//! Why shared memory could not be had, received or used.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io::ErrorKind;

use procession_codec::HandleError;
use procession_sys::OsError;
use procession_sys::memory::Unsealed;

use crate::Fingerprint;
use crate::domain::DomainError;

/// Why something with shared memory failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShmError {
    /// There is not that much memory: the machine, the control group, a limit of this process or the file system
    /// of named objects has less left, or there is no room for a copy. Nothing was taken.
    OutOfMemory(OsError),
    /// The bytes do not all lie in the memory. Nothing was read or written.
    OutOfBounds {
        /// Where they would begin.
        offset: usize,
        /// How many they are.
        len: usize,
        /// How many bytes there are.
        size: usize,
    },
    /// The memory was closed to new writers.
    ReadOnly,
    /// What came is not memory of the kind that was expected.
    Refused(Refusal),
    /// The descriptor did not come with the message.
    Handle(HandleError),
    /// There is no domain to be had, by which users of the memory would know of each other's death.
    Domain(DomainError),
    /// The operating system's error: most often that there are no descriptors left.
    Os(OsError),
}

/// What is wrong with memory that came from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no anonymous memory: a file, a socket, a terminal.
    NotMemory,
    /// It is not sealed against shrinking, so it could vanish under a reader.
    MayShrink,
    /// It is longer than what is in it, so that there may be no memory for the rest when it is touched. Its maker must
    /// allocate all of it (`fallocate`) before sending it.
    NotReserved {
        /// Bytes that are allocated.
        reserved: u64,
        /// Bytes that should be: its length, in whole pages.
        len: u64,
    },
    /// It was to be read only, and others may still become writers.
    MayBeWritten,
    /// It does not begin as a segment of procession does.
    Foreign,
    /// It was made by a version of procession that lays segments out in another way.
    Version {
        /// The version of its layout.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// Its header contradicts itself.
    Damaged,
    /// It holds something else.
    Type {
        /// What it holds.
        found: Fingerprint,
        /// What was expected.
        expected: Fingerprint,
    },
    /// The domain of its users did not come with it, and this process does not know it.
    Domain,
    /// It is longer or shorter than it should be.
    Length {
        /// How many bytes it has, its header not counted.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
}

/// Why a name could not be given, or leads to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty, too long, or holds `/` or NUL.
    Invalid {
        /// The name.
        name: String,
    },
    /// Another has this name, and lives as far as can be seen.
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// Nobody has this name.
    NotFound {
        /// The name.
        name: String,
    },
    /// The owner of the name is a process into which this one cannot look.
    Unreachable {
        /// The name.
        name: String,
        /// The operating system's error.
        error: OsError,
    },
    /// It is a part of something, and only the whole can have a name.
    Part,
    /// The name is of something else.
    Refused(Refusal),
    /// The memory itself could not be had.
    Memory(ShmError),
}

impl From<ShmError> for NameError {
    fn from(error: ShmError) -> Self {
        match error {
            ShmError::Refused(refusal) => Self::Refused(refusal),
            other => Self::Memory(other),
        }
    }
}

impl Display for NameError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { name } => {
                write!(f, "{name:?} is no name for shared memory: empty, too long, or with a slash or NUL")
            }
            Self::AlreadyExists { name } => write!(f, "shared memory with the name {name:?} exists already"),
            Self::NotFound { name } => write!(f, "there is no shared memory with the name {name:?}"),
            Self::Unreachable { name, error } => {
                write!(f, "the owner of shared memory {name:?} is out of reach: {error}")
            }
            Self::Part => {
                f.write_str("a part of something in shared memory cannot have a name: give one to the whole")
            }
            Self::Refused(refusal) => write!(f, "the shared memory with that name is refused: {refusal}"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl Error for NameError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable { error, .. } => Some(error),
            Self::Refused(refusal) => Some(refusal),
            Self::Memory(error) => Some(error),
            Self::Invalid { .. } | Self::AlreadyExists { .. } | Self::NotFound { .. } | Self::Part => None,
        }
    }
}

impl From<OsError> for ShmError {
    fn from(error: OsError) -> Self {
        let unsealed = error.os_error().get_ref().and_then(|inner| inner.downcast_ref::<Unsealed>());
        match unsealed {
            Some(Unsealed::MayShrink) => return Self::Refused(Refusal::MayShrink),
            Some(&Unsealed::NotReserved { reserved, len }) => {
                return Self::Refused(Refusal::NotReserved { reserved, len });
            }
            Some(_) => return Self::Refused(Refusal::NotMemory),
            None => {}
        }
        match error.kind() {
            ErrorKind::OutOfMemory
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge => Self::OutOfMemory(error),
            _ => Self::Os(error),
        }
    }
}

impl From<DomainError> for ShmError {
    fn from(error: DomainError) -> Self {
        Self::Domain(error)
    }
}

impl From<Refusal> for ShmError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Display for ShmError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(error) => write!(f, "not enough memory: {error}"),
            Self::OutOfBounds { offset, len, size } => {
                write!(f, "{len} bytes at offset {offset} do not lie in {size} bytes of shared memory")
            }
            Self::ReadOnly => f.write_str("the shared memory was closed to new writers"),
            Self::Refused(refusal) => write!(f, "the shared memory is refused: {refusal}"),
            Self::Handle(error) => write!(f, "receiving shared memory: {error}"),
            Self::Domain(error) => error.fmt(f),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMemory => f.write_str("it is not anonymous memory"),
            Self::MayShrink => f.write_str("it is not sealed against shrinking"),
            Self::NotReserved { reserved, len } => {
                write!(
                    f,
                    "only {reserved} of its {len} bytes are reserved: its maker must fallocate all of it"
                )
            }
            Self::MayBeWritten => f.write_str("it is not closed to writers"),
            Self::Foreign => f.write_str("it is not a segment of procession"),
            Self::Version { found, expected } => {
                write!(f, "its layout has version {found}, this program knows version {expected}")
            }
            Self::Damaged => f.write_str("its header is damaged"),
            Self::Type { found, expected } => {
                write!(f, "it holds a type with fingerprint {found}, expected was {expected}")
            }
            Self::Domain => f.write_str("the domain of its users is not known here"),
            Self::Length { found, expected } => {
                write!(f, "it holds {found} bytes, expected were {expected}")
            }
        }
    }
}

impl Error for ShmError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::OutOfMemory(error) | Self::Os(error) => Some(error),
            Self::Refused(refusal) => Some(refusal),
            Self::Handle(error) => Some(error),
            Self::Domain(error) => Some(error),
            Self::OutOfBounds { .. } | Self::ReadOnly => None,
        }
    }
}

impl Error for Refusal {}
