//! The error of every call to the operating system: what was being done, to what, and what the system said.

use std::borrow::Cow;
use std::{error, fmt, io};

/// What a call to the operating system answers.
pub type Result<T> = std::result::Result<T, OsError>;

/// A failed call to the operating system: what was being done to what, and the system's own error.
///
/// Displays as `mapping 4096 bytes: Cannot allocate memory (os error 12)`. Converts into [`io::Error`] of the
/// same kind.
#[derive(Debug)]
pub struct OsError {
    doing: Cow<'static, str>,
    source: io::Error,
}

impl OsError {
    /// An error met while `doing` something ("mapping 4096 bytes": lower case, the object named, no full stop).
    pub fn new(doing: impl Into<Cow<'static, str>>, source: impl Into<io::Error>) -> Self {
        Self { doing: doing.into(), source: source.into() }
    }

    /// The error with the number `errno`.
    pub fn from_errno(doing: impl Into<Cow<'static, str>>, errno: i32) -> Self {
        Self::new(doing, io::Error::from_raw_os_error(errno))
    }

    /// What was being done, and to what.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// The operating system's own error.
    pub fn os_error(&self) -> &io::Error {
        &self.source
    }

    /// The kind of the operating system's error.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The number of the operating system's error, where it has one.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl error::Error for OsError {}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        Self::new(error.kind(), error)
    }
}
