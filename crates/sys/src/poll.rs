//! Waiting until descriptors can be read or written, with an absolute deadline.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::{Deadline, OsError, Result};

/// What a descriptor is watched for. A hang-up or an error counts as ready for either: the next call on the
/// descriptor will not wait, and says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// That reading would not wait.
    Readable,
    /// That writing would not wait.
    Writable,
    /// Either.
    Both,
    /// Only that the other end of a socket is closed or shut down, or that of a pipe gone.
    HangUp,
}

/// Waits until one of `watched` is ready or `deadline` has passed; says of each whether it is ready, in the order
/// given. None is ready exactly if the deadline passed.
///
/// Blocks; a deadline that has passed looks once. Without a deadline and with nothing to watch it waits for ever.
///
/// # Errors
/// Lack of memory in the system, or more descriptors than the limit of open ones.
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
/// use procession_sys::{Deadline, event::Event, poll::{ready, Interest}};
/// let (a, b) = (Event::new()?, Event::new()?);
/// b.notify();
/// let watched = [(a.as_fd(), Interest::Readable), (b.as_fd(), Interest::Readable)];
/// assert_eq!(ready(&watched, Deadline::NEVER)?, [false, true]);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn ready(watched: &[(BorrowedFd<'_>, Interest)], deadline: Deadline) -> Result<Vec<bool>> {
    let mut list: Vec<PollFd<'_>> =
        watched.iter().map(|(fd, interest)| PollFd::from_borrowed_fd(*fd, interest.flags())).collect();
    entries(&mut list, deadline)?;
    Ok(list.iter().map(|entry| !entry.revents().is_empty()).collect())
}

/// Waits until `fd` is ready; `false` once the deadline has passed.
///
/// # Errors
/// As [`ready`].
pub fn one(fd: impl AsFd, interest: Interest, deadline: Deadline) -> Result<bool> {
    let mut entry = [PollFd::from_borrowed_fd(fd.as_fd(), interest.flags())];
    entries(&mut entry, deadline)
}

/// A descriptor that can be read while one of `watched` is ready, as long as that one is open: for who watches one
/// descriptor in the place of many.
///
/// # Errors
/// No more descriptors or watches to be had; one of `watched` is a file, which is always ready.
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
/// use procession_sys::{Deadline, event::Event, poll::{self, Interest}};
/// let (a, b) = (Event::new()?, Event::new()?);
/// let either = poll::set(&[(a.as_fd(), Interest::Readable), (b.as_fd(), Interest::Readable)])?;
/// assert!(!poll::one(&either, Interest::Readable, Deadline::now())?);
/// b.notify();
/// assert!(poll::one(&either, Interest::Readable, Deadline::now())?);
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn set(watched: &[(BorrowedFd<'_>, Interest)]) -> Result<OwnedFd> {
    let failed = |errno| OsError::new(format!("watching {} descriptors as one", watched.len()), errno);
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    for (fd, interest) in watched {
        // The flags have the values of those of `poll`.
        let flags = epoll::EventFlags::from_bits_retain(interest.flags().bits().into());
        match epoll::add(&set, fd, epoll::EventData::new_u64(0), flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(set)
}

/// Whether the other end of the socket `fd` will send no more: it was closed or shut down. Does not wait.
pub(crate) fn has_ended(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut entry = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    entries(&mut entry, Deadline::now())
}

impl Interest {
    pub(crate) fn flags(self) -> PollFlags {
        match self {
            Self::Readable => PollFlags::IN,
            Self::Writable => PollFlags::OUT,
            Self::HangUp => PollFlags::RDHUP,
            Self::Both => PollFlags::IN | PollFlags::OUT,
        }
    }
}

/// Waits for what is in `entries`; `false` at the deadline.
pub(crate) fn entries(entries: &mut [PollFd<'_>], deadline: Deadline) -> Result<bool> {
    loop {
        let left = deadline.remaining();
        match rustix::event::poll(entries, left.and_then(timeout).as_ref()) {
            Ok(0) if deadline.has_passed() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {} // early, or interrupted: the deadline is absolute
            Ok(_) => return Ok(true),
            Err(errno) => {
                return Err(OsError::new(format!("waiting for {} descriptors", entries.len()), errno));
            }
        }
    }
}

/// A time beyond the kernel's range is no limit.
fn timeout(left: Duration) -> Option<Timespec> {
    Timespec::try_from(left).ok()
}
