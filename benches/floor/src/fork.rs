//! A closure in a forked child, which ends with its handle or with its parent, whichever is first.
//!
//! Invariants: a child never returns into its parent's code; it is killed and reaped when its handle is dropped; the
//! kernel kills it when the thread that made it ends, however it ends. Held by `a_child_dies_with_its_parent`.
//!
//! # Safety
//! Benches fork while they have one thread; tests fork in a process whose other threads hold nothing but what glibc
//! makes usable in a child. The child runs one closure and ends without unwinding out of it.
#![allow(unsafe_code, reason = "forks")]

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// A forked child. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
#[must_use = "dropping it kills the child"]
pub struct Forked {
    pid: Pid,
    reaped: bool,
}

/// Runs `child` in a forked child; its exit code is 0, or 101 after a panic.
///
/// # Panics
/// If there is no process to be had.
pub fn fork(child: impl FnOnce()) -> Forked {
    let parent = rustix::process::getpid();
    // SAFETY: see the page.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no process to be had");
    let Some(pid) = Pid::from_raw(pid) else { run(parent, child) };
    Forked { pid, reaped: false }
}

fn run(parent: Pid, child: impl FnOnce()) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have died before the kernel was asked.
    if rustix::process::getppid() != Some(parent) {
        end(1);
    }
    end(if catch_unwind(AssertUnwindSafe(child)).is_ok() { 0 } else { 101 })
}

/// Ends this process without anything that its parent would do at its end.
fn end(code: i32) -> ! {
    // SAFETY: `_exit` touches no memory of this process.
    unsafe { libc::_exit(code) }
}

impl Forked {
    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Kills it. It may still be there when this returns.
    pub fn kill(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }

    /// Waits for its end.
    pub fn join(mut self) -> WaitStatus {
        self.reap()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it panicked or was killed.
    pub fn finish(self) {
        let status = self.join();
        assert!(status.exit_status() == Some(0), "a forked child failed: {status:?}");
    }

    /// Waits until it sleeps in the kernel. It must be about to.
    pub fn until_asleep(&self) {
        while self.state() != 'S' {
            rustix::thread::sched_yield();
        }
    }

    /// The letter of its state in `/proc`.
    fn state(&self) -> char {
        let mut stat = String::new();
        let file = std::fs::File::open(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        file.and_then(|mut file| file.read_to_string(&mut stat)).expect("a child that is not reaped");
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        let state = state.expect("a state");
        assert!(state != 'Z', "a forked child ended instead of going to sleep");
        state
    }

    fn reap(&mut self) -> WaitStatus {
        loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                answer => {
                    self.reaped = true;
                    return answer.expect("a child of ours").expect("no option lets it return early").1;
                }
            }
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.reap();
        }
    }
}

/// Lets the kernel end this process, and with it its children, unless it is asked again within `seconds`: a floor has
/// no deadlines of its own, and a child that failed leaves its peer waiting.
pub fn watchdog(seconds: u32) {
    // SAFETY: sets a timer of the kernel; the signal has its default action.
    unsafe { libc::alarm(seconds) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Placed;
    use procession_testkit::counted;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn pause() -> ! {
        loop {
            // SAFETY: sleeps until a signal.
            unsafe { libc::pause() };
        }
    }

    #[test]
    fn a_child_runs_and_says_how_it_ended() {
        counted(|| {
            assert_eq!(fork(|| ()).join().exit_status(), Some(0));
            assert_eq!(fork(|| std::panic::resume_unwind(Box::new(()))).join().exit_status(), Some(101));
            let child = fork(|| pause());
            child.until_asleep();
            child.kill();
            assert_eq!(child.join().terminating_signal(), Some(libc::SIGKILL));
        });
    }

    #[test]
    fn a_child_is_gone_when_its_handle_is() {
        counted(|| {
            let child = fork(|| pause());
            let pid = child.pid();
            drop(child);
            assert!(rustix::process::test_kill_process(pid).is_err());
        });
    }

    #[test]
    fn a_child_dies_with_its_parent() {
        counted(|| {
            let grandchild = Placed::new(AtomicU32::new(0));
            let parent = fork(|| {
                let child = fork(|| pause());
                grandchild.store(child.pid().as_raw_nonzero().get() as u32, Ordering::Release);
                pause();
            });
            let pid = loop {
                if let Some(pid) = Pid::from_raw(grandchild.load(Ordering::Acquire) as i32) {
                    break pid;
                }
            };
            parent.kill();
            parent.join();
            // Whoever inherits it reaps it; until then it is a zombie.
            let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            while stat().is_ok_and(|stat| !stat.contains(") Z")) {
                rustix::thread::sched_yield();
            }
        });
    }
}
