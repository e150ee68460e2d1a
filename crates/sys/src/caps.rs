//! What this kernel can do beyond the least we need: asked once, remembered, and able to be forced off by tests.
//!
//! Invariants: an answer never goes from "no" to "yes" within one process, so a mechanism chosen without a
//! capability stays valid; a capability that was forced off is never reported present.
//!
//! # Safety
//! One raw system call (`get_robust_list`, which neither libc nor rustix wraps) writes into two local variables.
#![allow(unsafe_code, reason = "get_robust_list has no wrapper")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::{fmt, fs, ptr};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use rustix::thread::futex::WaitvFlags;

/// The environment variable that forces capabilities off in a process and all that inherit its environment:
/// `PROCESSION_WITHOUT=waitv,pidfd,robust_list`. For tests of the fallbacks; read once, at the first question. `hook` and
/// `exit_info` are for the hook before `main`, and what the kernel remembers of the dead.
pub const SWITCH: &str = "PROCESSION_WITHOUT";

/// Something that not every kernel or sandbox offers, and that we have a fallback for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Sleeping on several words at once: `futex_waitv`, since Linux 5.16.
    Waitv,
    /// Descriptors of processes: `pidfd_open` (Linux 5.3) and `waitid` on them (Linux 5.4).
    Pidfd,
    /// The kernel's list of words that it marks when their thread dies.
    RobustList,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Waitv, Self::Pidfd, Self::RobustList];

    /// The name that [`SWITCH`] knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waitv => "waitv",
            Self::Pidfd => "pidfd",
            Self::RobustList => "robust_list",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    fn probe(self) -> bool {
        match self {
            Self::Waitv => probe_waitv(),
            Self::Pidfd => probe_pidfd(),
            Self::RobustList => probe_robust_list(),
        }
    }
}

/// Whether the kernel has `capability` and no test took it away. One relaxed load after the first call.
#[inline]
pub fn has(capability: Capability) -> bool {
    let known = KNOWN.load(Relaxed);
    let known = if known & PROBED == 0 { probe_all() } else { known };
    known & capability.bit() != 0
}

/// Makes [`has`] say no from now on, in this process only. For tests, and for code that met a refusal later than
/// the first question.
#[doc(hidden)]
pub fn force_off(capability: Capability) {
    if KNOWN.load(Relaxed) & PROBED == 0 {
        probe_all();
    }
    KNOWN.fetch_and(!capability.bit(), Relaxed);
}

/// What [`diagnostics`] found. Displays in a few lines, for reports of trouble.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnostics {
    /// The release of the kernel, such as `6.18.2`; empty where it cannot be read.
    pub kernel: String,
    /// Each capability, and whether it is in use.
    pub capabilities: [(Capability, bool); 3],
    /// What the environment variable [`SWITCH`] holds.
    pub switched_off: String,
    /// The words of `switched_off` that name no capability: a misspelt switch tests nothing.
    pub unknown_words: Vec<String>,
    /// How many processors this process may use: see [`crate::cpu::available`].
    pub cpus: usize,
    /// How many bytes of memory seem to be left: see [`crate::memory::available`].
    pub memory: u64,
    /// The limits of this process.
    pub limits: crate::limits::Limits,
}

/// Looks at everything that decides how this crate behaves here. Reads a handful of small files; does not wait.
///
/// # Examples
/// ```
/// let found = procession_sys::caps::diagnostics();
/// assert!(found.cpus >= 1);
/// assert!(found.to_string().contains("waitv"));
/// ```
pub fn diagnostics() -> Diagnostics {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Diagnostics {
        kernel: kernel.trim().to_owned(),
        capabilities: Capability::ALL.map(|capability| (capability, has(capability))),
        switched_off: switch().to_owned(),
        unknown_words: words(switch())
            .filter(|w| Capability::from_name(w).is_none() && !OTHERS.contains(w))
            .map(str::to_owned)
            .collect(),
        cpus: crate::cpu::available(),
        memory: crate::memory::available(),
        limits: crate::limits::get(),
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel: {}", self.kernel)?;
        for (capability, present) in self.capabilities {
            let off = words(&self.switched_off).any(|word| word == capability.name());
            let state = match (present, off) {
                (true, _) => "present",
                (false, true) => "switched off",
                (false, false) => "missing",
            };
            writeln!(f, "{}: {state}", capability.name())?;
        }
        for word in &self.unknown_words {
            writeln!(f, "{SWITCH}: no capability is called {word:?}")?;
        }
        writeln!(f, "processors: {}", self.cpus)?;
        writeln!(f, "memory left: {} MiB", self.memory >> 20)?;
        write!(f, "limits: {}", self.limits)
    }
}

/// Bit [`Capability::bit`] for each present capability, and [`PROBED`] once they have been asked.
static KNOWN: AtomicU32 = AtomicU32::new(0);
const PROBED: u32 = 1 << 31;

/// Threads that arrive together ask the same questions and get the same answers. Only the first answer is kept,
/// so that a `force_off` between two of them is not undone.
#[cold]
fn probe_all() -> u32 {
    let off: u32 = words(switch()).filter_map(Capability::from_name).map(Capability::bit).sum();
    let present = |c: &Capability| off & c.bit() == 0 && c.probe();
    let found = Capability::ALL.into_iter().filter(present).map(Capability::bit).sum::<u32>() | PROBED;
    match KNOWN.compare_exchange(0, found, Relaxed, Relaxed) {
        Ok(_) => found,
        Err(earlier) => earlier,
    }
}

fn switch() -> &'static str {
    static SWITCHED: OnceLock<String> = OnceLock::new();
    SWITCHED.get_or_init(|| std::env::var(SWITCH).unwrap_or_default())
}

/// What else [`SWITCH`] may name.
const OTHERS: [&str; 2] = ["hook", "exit_info"];

/// Whether [`SWITCH`] names this, which is no [`Capability`] for everybody to ask for.
pub(crate) fn is_switched_off(what: &str) -> bool {
    words(switch()).any(|word| word == what)
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// A kernel that knows the call dislikes an empty list; one that does not, or a sandbox, answers something else.
fn probe_waitv() -> bool {
    let answer =
        rustix::thread::futex::waitv(&[], WaitvFlags::empty(), None, rustix::time::ClockId::Monotonic);
    answer == Err(Errno::INVAL)
}

/// We are no child of ourselves: where waiting on such descriptors is known, the answer is "no such child".
fn probe_pidfd() -> bool {
    let ourselves: Pid = rustix::process::getpid();
    let Ok(pidfd) = rustix::process::pidfd_open(ourselves, PidfdFlags::empty()) else { return false };
    let wait = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let answer = rustix::process::waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&pidfd)), wait);
    answer.err() == Some(Errno::CHILD)
}

fn probe_robust_list() -> bool {
    let mut head: *mut libc::c_void = ptr::null_mut();
    let mut size: libc::size_t = 0;
    // SAFETY: with thread id 0 (ourselves) the call only writes one pointer and one size, both local variables of
    // those types that outlive it.
    let answer = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) };
    answer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again() {
        for capability in Capability::ALL {
            assert_eq!(Capability::from_name(capability.name()), Some(capability));
        }
        assert_eq!(Capability::from_name("waitvv"), None);
    }

    #[test]
    fn words_of_a_list() {
        assert_eq!(words(" waitv, ,pidfd,").collect::<Vec<_>>(), ["waitv", "pidfd"]);
        assert_eq!(words("").count(), 0);
    }
}
