//! Socket files: bound with the rights they are to have, reclaimed when they are dead, never taken from who lives.
//!
//! A socket file outlives the socket that made it, and binding to one that exists is refused. So whoever finds one has to
//! know whether it is dead. That can be known exactly: to connect a *datagram* socket to it answers `EPROTOTYPE` (or
//! connects) as long as any socket is bound to the file, listening or not yet, and `ECONNREFUSED` when there is none; the
//! owner notices nothing. A dead file stays dead, for no socket can be bound to a file that exists; but for the moment in
//! which `bind` makes one, which is why that is done under the lock, too.
//!
//! To remove it by name is another matter: the name may meanwhile be that of a living one. So looking and removing are
//! one section under a lock on the directory, which the kernel lets go of however the process ends. Nobody else makes a
//! name free: an owner removes its own while it lives, and binding never replaces. Held by `tests/name.rs`.
//!
//! Out of reach: programs that remove the files of others without the lock, in the instant between our look and our
//! removal; directories that several machines share, whose sockets each knows alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{error, fmt, thread};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags, SocketType};

use super::endpoint::local;
use crate::{Deadline, OsError};

/// A socket that listens at a file; the file is removed when it is dropped, if it is still that of this socket.
///
/// In a forked child dropping it removes nothing. **If the process dies** the file stays, and the next who binds to it
/// reclaims it.
#[derive(Debug)]
pub struct FileName {
    socket: OwnedFd,
    path: PathBuf,
    file: (u64, u64),
    owner: u32,
}

/// Why there is no socket file.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindFailed {
    /// A socket that is open is bound to it, listening or not.
    InUse,
    /// Something is there that is no socket.
    NotASocket,
    /// Somebody keeps the directory locked, so that what is there cannot be looked at in peace.
    Locked,
    /// The system refused.
    Os(OsError),
}

/// So long a directory is waited for. Nobody of us keeps it locked for longer than some system calls.
const PATIENCE: Duration = Duration::from_secs(5);

impl FileName {
    /// Listens at the file `path`, which must not exist, or be a socket's that is dead. Its rights are `mode`, whatever
    /// the mask for new files.
    ///
    /// Waits for up to five seconds where others are reclaiming files of this directory.
    ///
    /// # Errors
    /// See [`BindFailed`].
    pub fn listen(path: &Path, mode: u32, backlog: u32) -> Result<Self, BindFailed> {
        // Also for the first try: a file is there a moment before its socket can be found, and dead for who looks then.
        let directory = match lock(path) {
            Err(BindFailed::Locked) => return Err(BindFailed::Locked),
            directory => directory,
        };
        match Self::bind(path, mode, backlog) {
            Err(BindFailed::InUse) => {}
            bound => return bound,
        }
        // Without it nothing is removed.
        let _directory = directory?;
        loop {
            match look(path)? {
                State::Absent => {}
                State::Live => return Err(BindFailed::InUse),
                State::NotASocket => return Err(BindFailed::NotASocket),
                State::Dead => rustix::fs::unlink(path)
                    .or_else(|errno| if errno == Errno::NOENT { Ok(()) } else { Err(errno) })
                    .map_err(|errno| os(path, "removing the dead socket", errno))?,
            }
            match Self::bind(path, mode, backlog) {
                // Somebody who found the name free was quicker; or has left a dead one again.
                Err(BindFailed::InUse) => {}
                bound => return bound,
            }
        }
    }

    fn bind(path: &Path, mode: u32, backlog: u32) -> Result<Self, BindFailed> {
        let failed = |errno| os(path, "listening at", errno);
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let socket = local(SocketType::SEQPACKET, SocketFlags::NONBLOCK).map_err(BindFailed::Os)?;
        // The file gets the rights of the socket, so that it never has others; but for what the mask takes away.
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::fchmod(&socket, mode).map_err(failed)?;
        match rustix::net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => return Err(BindFailed::InUse),
            bound => bound.map_err(failed)?,
        }
        let owner = std::process::id();
        let mut name = Self { socket, path: path.to_owned(), file: (0, 0), owner };
        let stat = rustix::fs::lstat(path).map_err(failed)?;
        name.file = id(&stat);
        if Mode::from_raw_mode(stat.st_mode) != mode {
            rustix::fs::chmod(path, mode).map_err(failed)?;
        }
        rustix::net::listen(&name.socket, backlog.min(i32::MAX as u32) as i32).map_err(failed)?;
        Ok(name)
    }
}

impl AsFd for FileName {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for FileName {
    fn drop(&mut self) {
        // While the socket is open nobody takes the file for dead, so between the look and the removal it stays ours.
        let is_ours = || rustix::fs::lstat(&self.path).is_ok_and(|stat| id(&stat) == self.file);
        if self.owner == std::process::id() && is_ours() {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    NotASocket,
    Live,
    Dead,
}

/// Looks at a path; the answer `Dead` stays true for the file, and for the path while the directory is locked.
fn look(path: &Path) -> Result<State, BindFailed> {
    let failed = |errno| os(path, "looking at", errno);
    let before = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(State::Absent),
        stat => stat.map_err(failed)?,
    };
    if FileType::from_raw_mode(before.st_mode) != FileType::Socket {
        return Ok(State::NotASocket);
    }
    let probe = local(SocketType::DGRAM, SocketFlags::NONBLOCK).map_err(BindFailed::Os)?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path).map_err(failed)?) {
        Ok(()) | Err(Errno::PROTOTYPE) => return Ok(State::Live),
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(State::Absent),
        Err(errno) => return Err(failed(errno)),
    }
    // What is no socket refuses too: it must be the file that was looked at.
    match rustix::fs::lstat(path) {
        Ok(after) if id(&after) == id(&before) => Ok(State::Dead),
        Ok(_) => Ok(State::Live),
        Err(_) => Ok(State::Absent),
    }
}

/// The lock of a directory.
struct Locked(OwnedFd);

impl Drop for Locked {
    fn drop(&mut self) {
        // Not by closing it: a child that was forked meanwhile has it open, too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Locks the directory of `path`.
fn lock(path: &Path) -> Result<Locked, BindFailed> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = |errno| os(directory, "locking", errno);
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Locked(fd)),
            Err(Errno::WOULDBLOCK) if deadline.has_passed() => return Err(BindFailed::Locked),
            // The kernel has no wait with a limit for this lock.
            Err(Errno::WOULDBLOCK) => thread::sleep(Duration::from_millis(1)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn os(path: &Path, doing: &str, errno: Errno) -> BindFailed {
    BindFailed::Os(OsError::new(format!("{doing} {}", path.display()), errno))
}

impl From<BindFailed> for OsError {
    fn from(failed: BindFailed) -> Self {
        match failed {
            BindFailed::Os(error) => error,
            other => Self::new("listening at a file", std::io::Error::other(other)),
        }
    }
}

impl fmt::Display for BindFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("a socket is bound to it"),
            Self::NotASocket => f.write_str("it is no socket"),
            Self::Locked => f.write_str("somebody keeps its directory locked"),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl error::Error for BindFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        if let Self::Os(error) = self { Some(error.os_error()) } else { None }
    }
}
