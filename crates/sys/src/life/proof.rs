//! Proof of a thread's death by who it was, for where the kernel did not mark its life word.
//!
//! Needed where the kernel's list of robust mutexes cannot be had, and as a second look where it could: costs a few
//! system calls, so callers ask at ticks.
//!
//! Invariants: `true` is certain; whatever cannot be known is `false`. A number is compared with the start time that
//! belongs to it, so a later thread with the same number does not count; a number of another pid namespace proves
//! nothing. A thread that is stopped has not ended.
//!
//! Not seen: an `execve` by the first thread of a process, which keeps its number and its start time. The kernel's list
//! sees that one.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags};

use crate::caps::{self, Capability};
use crate::identity::{ProcessIdentity, ThreadIdentity};
use crate::poll::{self, Interest};
use crate::{Deadline, OsError};

/// Whether this very thread has certainly executed its last instruction.
///
/// Reads a file or two in `/proc`; does not wait. A process that has ended and was not waited for has ended: with
/// [`Capability::Pidfd`] its pidfd says so, else the state of the thread's own entry. (Of a process's entry the state alone
/// proves nothing: it is that of its first thread, which may end before the others. With the number of threads it does.)
///
/// # Examples
/// ```
/// use procession_sys::{identity::ThreadIdentity, life::has_ended};
/// let me = ThreadIdentity::current()?;
/// assert!(!has_ended(&me));
/// assert!(has_ended(&ThreadIdentity { started: me.started - 1, ..me }), "our number was somebody else's");
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn has_ended(who: &ThreadIdentity) -> bool {
    if own_namespace() != Some(who.process.namespace) {
        return false;
    }
    match look_at(&who.process) {
        Some(true) => return true,
        None => return false,
        Some(false) => {}
    }
    match read(&format!("/proc/{}/task/{}/stat", who.process.pid, who.tid)) {
        Look::Gone => is_unused(who.tid),
        Look::Unknown => false,
        Look::At { started, ended, .. } => ended || started != who.started,
    }
}

/// Whether all threads of this very process have certainly executed their last instruction. As certain and as dear as
/// [`has_ended`], and as soon: also before anybody has waited for it.
///
/// # Examples
/// ```
/// use procession_sys::{identity::ProcessIdentity, life::process_has_ended};
/// let me = ProcessIdentity::current()?;
/// assert!(!process_has_ended(&me));
/// assert!(process_has_ended(&ProcessIdentity { started: me.started - 1, ..me }), "our number was somebody else's");
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn process_has_ended(who: &ProcessIdentity) -> bool {
    own_namespace() == Some(who.namespace) && look_at(who) == Some(true)
}

/// Whether a process of our namespace has ended, as its own entry and its pidfd have it; `None` if nothing is known.
fn look_at(who: &ProcessIdentity) -> Option<bool> {
    // Opened before the look at the start time, so that it is the pidfd of who was looked at.
    let pidfd = pidfd_of(who.pid);
    match read(&format!("/proc/{}/stat", who.pid)) {
        Look::Gone => Some(is_unused(who.pid)),
        Look::Unknown => None,
        Look::At { started, .. } if started != who.started => Some(true),
        Look::At { ended, is_alone, .. } => match pidfd {
            Some(pidfd) => Some(is_readable(&pidfd)),
            // The first thread is the last one, and nobody has waited for it.
            None => Some(ended && is_alone),
        },
    }
}

/// Whether no thread with the number `tid` of the pid namespace `namespace` executes instructions. For a life word
/// whose owner died before it wrote down who it was. As certain as [`has_ended`], but somebody else with the number
/// hides the death.
pub fn thread_has_ended(tid: u32, namespace: u64) -> bool {
    if own_namespace() != Some(namespace) {
        return false;
    }
    // An entry for every thread can be looked up by its number, though only those of first threads are listed.
    match read(&format!("/proc/{tid}/stat")) {
        Look::Gone => is_unused(tid),
        Look::Unknown => false,
        Look::At { ended, .. } => ended,
    }
}

/// Whether no thread has the number. `/proc` may hide those of others, so an absent entry alone proves nothing.
fn is_unused(number: u32) -> bool {
    let number = i32::try_from(number).ok().and_then(Pid::from_raw);
    number.is_some_and(|number| rustix::process::test_kill_process(number) == Err(rustix::io::Errno::SRCH))
}

/// The start time in a `stat` file of `/proc`, in clock ticks since boot.
pub(super) fn start_time(path: &str) -> Option<u64> {
    match read(path) {
        Look::At { started, .. } => Some(started),
        _ => None,
    }
}

enum Look {
    At { started: u64, ended: bool, is_alone: bool },
    Gone,
    Unknown,
}

fn read(path: &str) -> Look {
    match fs::read_to_string(path) {
        Ok(stat) => parse(&stat).unwrap_or(Look::Unknown),
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Look::Gone,
        Err(_) => Look::Unknown,
    }
}

/// Fields 3 (state), 20 (how many threads the kernel has not let go of) and 22 (start time). The second, the name, may hold anything: count from its last parenthesis.
fn parse(stat: &str) -> Option<Look> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let n_threads: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    Some(Look::At { started, ended, is_alone: n_threads <= 1 })
}

/// Our pid namespace, if `/proc` speaks of it: a `/proc` of another one lacks our entry or has somebody else's, and
/// an absent `/proc` must not look like absent threads.
fn own_namespace() -> Option<u64> {
    let own = fs::read_link("/proc/self").ok()?;
    let ours = own == Path::new(&std::process::id().to_string());
    let namespace = ProcessIdentity::current().map(|me| me.namespace);
    ours.then_some(namespace.ok()?)
}

fn pidfd_of(pid: u32) -> Option<std::os::fd::OwnedFd> {
    if !caps::has(Capability::Pidfd) {
        return None;
    }
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let opened = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    opened.map_err(|e| OsError::new("opening a pidfd", e)).ok()
}

fn is_readable(pidfd: &impl AsFd) -> bool {
    poll::ready(&[(pidfd.as_fd(), Interest::Readable)], Deadline::now()).is_ok_and(|ready| ready[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_not_ended_and_others_with_their_numbers_are() {
        procession_testkit::guarded(the_living_and_others);
    }

    fn the_living_and_others() {
        let me = ThreadIdentity::current().unwrap();
        assert!(!has_ended(&me));
        assert!(has_ended(&ThreadIdentity { started: me.started - 1, ..me }));
        let process = ProcessIdentity { started: me.process.started - 1, ..me.process };
        assert!(has_ended(&ThreadIdentity { process, ..me }), "its process is another one");
        assert!(process_has_ended(&process) && !process_has_ended(&me.process));
        let process = ProcessIdentity { namespace: me.process.namespace + 1, ..me.process };
        let elsewhere = ThreadIdentity { process, started: me.started - 1, ..me };
        assert!(!has_ended(&elsewhere), "of another namespace nothing can be known");
        assert!(!process_has_ended(&elsewhere.process));
        let ended = std::thread::spawn(|| ThreadIdentity::current().unwrap()).join().unwrap();
        while !has_ended(&ended) {} // join may come a moment before the kernel is done
        assert!(thread_has_ended(ended.tid, ended.process.namespace));
        assert!(!thread_has_ended(me.tid, me.process.namespace));
        assert!(!thread_has_ended(ended.tid, 1));
    }

    #[test]
    fn states_of_a_stat_line() {
        let line = |state, n| {
            format!("7 (Z Z) Z) {state} 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {n} 0 123456 1000 2")
        };
        for (state, dead) in [("R", false), ("T", false), ("t", false), ("Z", true), ("X", true)] {
            for (n, alone) in [(0, true), (1, true), (2, false)] {
                let look = parse(&line(state, n));
                let Some(Look::At { started, ended, is_alone }) = look else { panic!("{state}") };
                assert_eq!((started, ended, is_alone), (123_456, dead, alone), "{state}");
            }
        }
        assert!(parse("7 (a) R 1").is_none());
    }
}
