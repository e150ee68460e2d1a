//! Who a process or thread is, so that a recycled number is not taken for it.
//!
//! A number alone names nobody: the kernel gives it out again. A number with its start time (in clock ticks since
//! boot) and pid namespace names one process for the life of the system.

use std::io;

use crate::{OsError, Result};

/// A process, named so that a later one with the same number is somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The number, as seen in the pid namespace below.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub started: u64,
    /// Inode of the pid namespace that the number belongs to.
    pub namespace: u64,
}

/// A thread, named like [`ProcessIdentity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadIdentity {
    /// Its process.
    pub process: ProcessIdentity,
    /// The thread's number.
    pub tid: u32,
    /// Start time of the thread in clock ticks since boot.
    pub started: u64,
}

impl ProcessIdentity {
    /// This process.
    pub fn current() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has the number `pid` now. Not found: it has ended and was waited for.
    pub fn of(pid: u32) -> Result<Self> {
        let started = start_time(&format!("/proc/{pid}/stat"))?;
        Ok(Self { pid, started, namespace: namespace()? })
    }

    /// Whether this very process still exists (a zombie does). A later process with its number does not count.
    ///
    /// Proof of absence only within the namespace it was seen in: from elsewhere the answer is an error.
    pub fn exists(&self) -> Result<bool> {
        if namespace()? != self.namespace {
            let other = io::Error::new(io::ErrorKind::Unsupported, "it belongs to another pid namespace");
            return Err(OsError::new(format!("looking for process {}", self.pid), other));
        }
        match start_time(&format!("/proc/{}/stat", self.pid)) {
            Ok(started) => Ok(started == self.started),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl ThreadIdentity {
    /// The calling thread.
    pub fn current() -> Result<Self> {
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let process = ProcessIdentity::current()?;
        let started = start_time(&format!("/proc/{}/task/{tid}/stat", process.pid))?;
        Ok(Self { process, tid, started })
    }

    /// Whether this very thread still exists.
    pub fn exists(&self) -> Result<bool> {
        if !self.process.exists()? {
            return Ok(false);
        }
        match start_time(&format!("/proc/{}/task/{}/stat", self.process.pid, self.tid)) {
            Ok(started) => Ok(started == self.started),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn namespace() -> Result<u64> {
    // Of this thread: once the first thread has ended, the kernel does not say it of the process any more.
    let stat = rustix::fs::stat("/proc/thread-self/ns/pid");
    Ok(stat.map_err(|e| OsError::new("reading this process's pid namespace", e))?.st_ino)
}

fn start_time(path: &str) -> Result<u64> {
    let stat = std::fs::read_to_string(path).map_err(|e| {
        // A process that vanishes between open and read answers ESRCH, which means "not found" here.
        let gone = e.raw_os_error() == Some(libc::ESRCH);
        OsError::new(format!("reading {path}"), if gone { io::ErrorKind::NotFound.into() } else { e })
    })?;
    parse_start_time(&stat).ok_or_else(|| {
        OsError::new(format!("reading {path}"), io::Error::new(io::ErrorKind::InvalidData, "not a stat line"))
    })
}

/// Field 22. The second field, the name, may hold spaces and parentheses: count from its last parenthesis.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = "7 (a) b) R 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1000 2";
        assert_eq!(parse_start_time(stat), Some(123_456));
        assert_eq!(parse_start_time("7 (a"), None);
        assert_eq!(parse_start_time("7 (a) R 1"), None);
    }

    #[test]
    fn we_exist_and_a_reused_number_is_somebody_else() {
        let me = ProcessIdentity::current().unwrap();
        assert!(me.exists().unwrap());
        assert!(!ProcessIdentity { started: me.started + 1, ..me }.exists().unwrap());
        assert!(ProcessIdentity { namespace: 1, ..me }.exists().is_err());
        let thread = ThreadIdentity::current().unwrap();
        assert!(thread.exists().unwrap());
        let gone = std::thread::spawn(|| ThreadIdentity::current().unwrap()).join().unwrap();
        assert_eq!(gone.process, me);
        assert_ne!(gone, thread);
    }
}
