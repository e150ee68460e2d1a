//! Memory that some write and all others can only read: the seal against new writers.
//!
//! The kernel keeps it: after the seal no process gets a writable mapping or may call `write`, whatever descriptor it
//! has; mappings that were writable before stay so, but nobody can punch holes through them. There is no way back.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::SealFlags;

use super::Memfd;
use crate::{OsError, Result};

impl Memfd {
    /// Lets nobody become a writer from now on: those who have mapped it for writing remain the only ones. Also seals
    /// the seals. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `PermissionDenied` for memory whose seals are sealed ([`Memfd::sealed`]).
    pub fn close_to_writers(&self) -> Result<()> {
        if !self.is_open_to_writers()? {
            return Ok(());
        }
        rustix::fs::fcntl_add_seals(self, SealFlags::FUTURE_WRITE | SealFlags::SEAL)
            .map_err(|errno| OsError::new(self.doing("closing", "to writers"), errno))
    }

    /// Whether somebody who has the descriptor could still become a writer. Asks the kernel, as another process may
    /// have changed it.
    ///
    /// # Errors
    /// None that is known for memory.
    pub fn is_open_to_writers(&self) -> Result<bool> {
        let seals = rustix::fs::fcntl_get_seals(self)
            .map_err(|errno| OsError::new(self.doing("asking for the seals of", ""), errno))?;
        Ok(!seals.intersects(SealFlags::FUTURE_WRITE | SealFlags::WRITE))
    }

    /// Whether nobody could become a writer any more when it was made or taken over. What was reserved then stays: the
    /// seal forbids holes as well.
    pub fn came_closed_to_writers(&self) -> bool {
        self.seals.intersects(SealFlags::FUTURE_WRITE | SealFlags::WRITE)
    }

    fn doing(&self, what: &str, how: &str) -> String {
        format!("{what} descriptor {} of shared memory {how}", self.as_fd().as_raw_fd()).trim_end().to_owned()
    }
}
