//! Random numbers of the kernel, for names that nobody else may have or guess.
//!
//! Invariant: every answer comes from the kernel's generator; there is no weaker source to fall back to.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{OsError, Result};

/// A random number of 128 bits. Blocks only in the first seconds of a machine that has just started.
///
/// # Errors
/// A sandbox that forbids the call.
///
/// # Examples
/// ```
/// use procession_sys::random::number;
/// assert_ne!(number()?, number()?);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn number() -> Result<u128> {
    let mut bytes = [0; 16];
    loop {
        // So few bytes come whole or not at all.
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(_) => return Ok(u128::from_ne_bytes(bytes)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(OsError::new("getting a random number", errno)),
        }
    }
}
