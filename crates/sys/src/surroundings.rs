//! What a child has of the thread that starts it, of the moment of the start, where the kernel does not copy it: of a
//! thread that is not its parent.
//!
//! Environment, directory and standard descriptors are not here: a caller may want them otherwise. Invariant: what cannot
//! be changed afterwards, or not without privilege, is in [`Surroundings::identity`]: a process of another identity cannot
//! stand in. Held by the contract suite of `procession-process`, `tests/suite/surroundings.rs`.

use std::io;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit};
use rustix::thread::CpuSet;

use crate::{OsError, Result};

/// All limits that a process has.
pub(crate) const LIMITS: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// Which of [`LIMITS`] is that of the processes of a user.
pub(crate) const PROCESSES: usize = 6;

/// What surrounds the calling thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Users, groups, capabilities, sandbox, session: as the kernel writes them.
    pub(crate) identity: String,
    /// The processors it may run on, as the kernel writes them.
    pub(crate) processors: String,
    pub(crate) umask: u32,
    /// Signals that wait until they are let through: bit 0 is signal 1.
    pub(crate) blocked: u64,
    /// Signals that are ignored.
    pub(crate) ignored: u64,
    pub(crate) niceness: i32,
    /// The group of processes it is in.
    pub(crate) group: u32,
    /// In the order of [`LIMITS`].
    pub(crate) limits: [Rlimit; 16],
}

impl Surroundings {
    /// Those of this thread. Reads one small file.
    ///
    /// # Errors
    /// `/proc` is not mounted, or no descriptor is left.
    pub(crate) fn now() -> Result<Self> {
        const STATUS: &str = "/proc/thread-self/status";
        let failed = |error: io::Error| OsError::new(format!("reading {STATUS}"), error);
        let status = read(STATUS).map_err(|errno| failed(errno.into()))?;
        let niceness = getpriority_process(None).map_err(|errno| failed(errno.into()))?;
        let parsed = Self::parse(&String::from_utf8_lossy(&status), niceness);
        parsed.ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))
    }

    fn parse(status: &str, niceness: i32) -> Option<Self> {
        const IDENTITY: [&str; 11] = [
            "Uid",
            "Gid",
            "Groups",
            "NSsid",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
        ];
        let mut identity = String::new();
        let (mut umask, mut blocked, mut ignored, mut processors) = (None, None, None, None);
        for (name, value) in status.lines().filter_map(|line| line.split_once(":\t")) {
            match name {
                "Umask" => umask = u32::from_str_radix(value, 8).ok(),
                "SigBlk" => blocked = u64::from_str_radix(value, 16).ok(),
                "SigIgn" => ignored = u64::from_str_radix(value, 16).ok(),
                "Cpus_allowed" => processors = Some(value.to_owned()),
                name if IDENTITY.contains(&name) => identity.extend([name, " ", value, "\n"]),
                _ => {}
            }
        }
        Some(Self {
            identity,
            processors: processors?,
            umask: umask?,
            blocked: blocked?,
            ignored: ignored?,
            niceness,
            group: rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs(),
            limits: LIMITS.map(getrlimit),
        })
    }
}

/// A set of processors from the kernel's text: words of 32 bits in hexadecimal, the last ones first.
pub(crate) fn processors(text: &str) -> Option<CpuSet> {
    let mut set = CpuSet::new();
    for (n, word) in text.rsplit(',').enumerate() {
        let word = u32::from_str_radix(word, 16).ok()?;
        for bit in (0..32).filter(|bit| word >> bit & 1 != 0) {
            let number = n * 32 + bit;
            (number < CpuSet::MAX_CPU).then_some(())?;
            set.set(number);
        }
    }
    Some(set)
}

/// A file of the kernel's, whole.
fn read(path: &str) -> std::result::Result<Vec<u8>, Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut bytes, mut len) = (vec![0; 4096], 0);
    loop {
        match rustix::io::read(&file, &mut bytes[len..]) {
            Ok(0) => {
                bytes.truncate(len);
                return Ok(bytes);
            }
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        if len == bytes.len() {
            bytes.resize(2 * len, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_text_is_understood() {
        let now = Surroundings::now().unwrap();
        assert!(now.identity.contains("Uid ") && now.identity.contains("NSsid "), "{}", now.identity);
        let (ours, read) =
            (rustix::thread::sched_getaffinity(None).unwrap(), processors(&now.processors).unwrap());
        assert!((0..CpuSet::MAX_CPU).all(|cpu| ours.is_set(cpu) == read.is_set(cpu)));
        assert_eq!(processors("1,00000002").map(|set| (set.is_set(1), set.is_set(32))), Some((true, true)));
        assert!(processors("x").is_none());
        assert_eq!(Surroundings::parse("Uid:\t0\n", 0), None);
    }
}
