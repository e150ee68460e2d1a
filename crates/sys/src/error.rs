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

    /// The number of the operating system's error, where it has one; also where that comes wrapped in the error of another
    /// layer.
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error().or_else(|| errno_below(self.source.get_ref()?))
    }
}

/// The first number of an error of the operating system in this one and those below.
fn errno_below(error: &(dyn error::Error + 'static)) -> Option<i32> {
    let of_ours = || error.downcast_ref().and_then(OsError::errno);
    let of_std = || error.downcast_ref().and_then(io::Error::raw_os_error);
    of_ours().or_else(of_std).or_else(|| errno_below(error.source()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_below() {
        let inner = || OsError::from_errno("opening", libc::EMFILE);
        assert_eq!(inner().errno(), Some(libc::EMFILE));
        let outer = OsError::new("making a pipe", io::Error::other(inner()));
        assert_eq!(outer.errno(), Some(libc::EMFILE));
        assert_eq!(OsError::new("asking around", io::Error::other(outer)).errno(), Some(libc::EMFILE));
        assert_eq!(OsError::new("reading", io::Error::other("nonsense")).errno(), None);
    }
}
