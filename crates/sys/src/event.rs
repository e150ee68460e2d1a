//! An event that other things can wait for through a descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::{OsError, Result};

/// A flag behind a descriptor: readable from [`notify`](Self::notify) until [`clear`](Self::clear).
///
/// Shared by all who hold the descriptor, in any process. Neither call waits. If a process that would have notified
/// dies, nothing happens.
///
/// # Examples
/// ```
/// let event = procession_sys::event::Event::new()?;
/// event.notify();
/// event.notify();
/// assert!(event.clear());
/// assert!(!event.clear());
/// # Ok::<(), procession_sys::OsError>(())
/// ```
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

impl Event {
    /// A new event, not notified.
    ///
    /// # Errors
    /// Too many open descriptors.
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let fd =
            rustix::event::eventfd(0, flags).map_err(|errno| OsError::new("creating an event", errno))?;
        Ok(Self { fd })
    }

    /// Takes over the descriptor of an event from elsewhere. One that is no event makes both calls do nothing of
    /// use, and no harm.
    ///
    /// # Errors
    /// The descriptor cannot be made non-blocking and close-on-exec.
    pub fn adopt(fd: OwnedFd) -> Result<Self> {
        let failed =
            |errno: Errno| OsError::new(format!("adopting descriptor {} as an event", fd.as_raw_fd()), errno);
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(failed)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK).map_err(failed)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
        Ok(Self { fd })
    }

    /// Makes the descriptor readable. Does not wait and does not fail: an event that is full is readable already.
    pub fn notify(&self) {
        while rustix::io::write(&self.fd, &1_u64.to_ne_bytes()) == Err(Errno::INTR) {}
    }

    /// Makes the descriptor unreadable; says whether it was readable. Does not wait.
    pub fn clear(&self) -> bool {
        let mut count = [0; 8];
        loop {
            match rustix::io::read(&self.fd, &mut count) {
                Err(Errno::INTR) => {}
                answer => return answer.is_ok_and(|n| n == count.len()),
            }
        }
    }

    /// Its descriptor, to be sent elsewhere.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
