//! A child in a role, seen from its parent.
//!
//! Invariants: every wait has a limit and is for an event; the child's output is read only when there is
//! some, so a grandchild that keeps the pipe open holds nobody up; the child is ended and reaped when this
//! is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::ioctl_fionbio;

use super::{SAID, STARTED, contents};
use crate::processes::{Identity, Signal};
use crate::{poll, procfs, report};

/// How long a dropped child may take to die of SIGKILL.
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// A child that runs the test's binary in another role.
///
/// Dropping it kills and reaps the child; if the test is failing, it also shows what the child wrote to
/// standard error.
#[derive(Debug)]
pub struct RoleProcess {
    name: String,
    child: Child,
    identity: Identity,
    handle: OwnedFd,
    output: Output,
    errors: File,
    status: Option<ExitStatus>,
}

impl RoleProcess {
    pub(super) fn new(name: String, mut child: Child, errors: File) -> Self {
        let identity = Identity::of(child.id()).expect("the child is there until it is reaped");
        let handle = identity.open().expect("a pidfd of a child that is not reaped");
        let output = Output::new(child.stdout.take().expect("its standard output is a pipe"));
        Self { name, child, identity, handle, output, errors, status: None }
    }

    /// The child's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.identity.pid()
    }

    /// Which process it is, for as long as anybody may ask.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Says a line to the child, which hears it with [`hear`](super::hear).
    ///
    /// # Blocking
    /// When the pipe is full, until the child hears.
    ///
    /// # Panics
    /// When the text is more than one line; when the child has ended; after [`hush`](Self::hush).
    pub fn say(&mut self, text: &str) {
        assert!(!text.contains('\n'), "one line at a time: {text:?}");
        let stdin = self.child.stdin.as_mut().expect("nothing can be said after hush");
        let said = stdin.write_all(format!("{text}\n").as_bytes());
        said.unwrap_or_else(|error| panic!("saying {text:?} to {}: {error}", self.name));
    }

    /// Says no more: the child's [`hear`](super::hear) returns `None` after the lines said so far.
    pub fn hush(&mut self) {
        self.child.stdin = None;
    }

    /// The next line that the child [says](super::say); `None` when it will say no more.
    ///
    /// That is when it has ended or closed its standard output, which a dying process does a moment earlier.
    ///
    /// # Blocking
    /// Up to `limit`.
    ///
    /// # Panics
    /// When the limit passes: with what the child was doing and what it wrote to standard error.
    #[must_use]
    pub fn hear(&mut self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        loop {
            // Asked before reading: what it wrote before it ended is then certainly there to read.
            let ended = self.has_ended();
            self.output.read();
            if let Some(line) = self.output.said.pop_front() {
                return Some(line);
            }
            if ended || self.output.closed {
                return None;
            }
            let mut events =
                [PollFd::new(&self.handle, PollFlags::IN), PollFd::new(&self.output.pipe, PollFlags::IN)];
            if !poll::until(&mut events, deadline) {
                self.give_up("said nothing", limit);
            }
        }
    }

    /// Kills the child with SIGKILL. It is reaped by [`wait_with_output`](Self::wait_with_output) or at the
    /// drop.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Kills the child with SIGKILL, waits for its end and reaps it: then it is gone also for who has no better proof than
    /// the process table. Its output can still be [had](Self::wait_with_output).
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn kill_and_reap(&mut self) {
        self.kill();
        self.reap().unwrap_or_else(|error| panic!("reaping {}: {error}", self.name));
    }

    /// Sends the child a signal. One that has ended already does not mind.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn signal(&mut self, signal: Signal) {
        let sent = rustix::process::pidfd_send_signal(&self.handle, signal);
        sent.unwrap_or_else(|error| panic!("sending {signal:?} to {}: {error}", self.name));
    }

    /// Waits for the child's end and reaps it. Its standard input is closed first.
    ///
    /// # Blocking
    /// Up to `limit`.
    ///
    /// # Panics
    /// When the limit passes; when the child never asked for its role, because then the test that was named
    /// does not exist or does not call [`role`](super::role).
    #[must_use]
    pub fn wait_with_output(mut self, limit: Duration) -> RoleOutput {
        let deadline = Instant::now() + limit;
        self.hush();
        loop {
            let ended = self.has_ended();
            self.output.read();
            if ended {
                break;
            }
            let mut events = vec![PollFd::new(&self.handle, PollFlags::IN)];
            if !self.output.closed {
                // A closed pipe is always ready and would make this loop spin.
                events.push(PollFd::new(&self.output.pipe, PollFlags::IN));
            }
            if !poll::until(&mut events, deadline) {
                self.give_up("has not ended", limit);
            }
        }
        let status = self.reap().unwrap_or_else(|error| panic!("reaping {}: {error}", self.name));
        let output = RoleOutput {
            status,
            said: self.output.said.drain(..).collect(),
            stdout: String::from_utf8_lossy(&self.output.all).into_owned(),
            stderr: contents(&mut self.errors),
        };
        assert!(self.output.started, "{} never asked for its role: {output}", self.name);
        output
    }

    fn has_ended(&self) -> bool {
        poll::until(&mut [PollFd::new(&self.handle, PollFlags::IN)], Instant::now())
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    fn give_up(&self, what: &str, limit: Duration) -> ! {
        let doing =
            procfs::stat(self.pid()).map_or_else(|| "gone".to_owned(), |stat| report::describe(&stat));
        panic!("{} {what} within {limit:?}: {doing}", self.name);
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = rustix::process::pidfd_send_signal(&self.handle, Signal::KILL);
            let deadline = Instant::now() + DROP_LIMIT;
            if poll::until(&mut [PollFd::new(&self.handle, PollFlags::IN)], deadline) {
                let _ = self.reap();
            }
        }
        if thread::panicking() {
            let written = contents(&mut self.errors);
            if !written.is_empty() {
                let text = format!("standard error of {}:\n{written}\n", self.name);
                let _ = io::stderr().lock().write_all(text.as_bytes());
            }
        }
    }
}

/// How a child ended and what it left in writing.
#[derive(Debug)]
#[non_exhaustive]
pub struct RoleOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// The lines it said that were not heard before.
    pub said: Vec<String>,
    /// All of its standard output, the test harness's own lines included.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl RoleOutput {
    /// Itself, if the role was played to its end.
    ///
    /// # Panics
    /// When the child failed or was killed, with all it wrote.
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "the role failed: {self}");
        self
    }
}

impl fmt::Display for RoleOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, stdout, stderr, .. } = self;
        write!(f, "{status}\nstandard output:\n{stdout}\nstandard error:\n{stderr}")
    }
}

/// The child's standard output, cut into the lines it said.
#[derive(Debug)]
struct Output {
    pipe: ChildStdout,
    all: Vec<u8>,
    /// Up to where `all` has been cut.
    cut: usize,
    said: VecDeque<String>,
    started: bool,
    closed: bool,
}

impl Output {
    fn new(pipe: ChildStdout) -> Self {
        // The mode belongs to our end of the pipe; the child's end still blocks.
        ioctl_fionbio(&pipe, true).expect("a pipe can be made non-blocking");
        Self { pipe, all: Vec::new(), cut: 0, said: VecDeque::new(), started: false, closed: false }
    }

    /// Takes what is there, without waiting.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while !self.closed {
            match self.pipe.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(n_bytes) => self.all.extend_from_slice(&buffer[..n_bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("reading a child's standard output: {error}"),
            }
        }
        while let Some(length) = self.all[self.cut..].iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&self.all[self.cut..self.cut + length]).into_owned();
            self.cut += length + 1;
            self.take(&line);
        }
    }

    /// The harness does not end its own line before the test begins: what was said may stand behind it.
    fn take(&mut self, line: &str) {
        if let Some((_, said)) = line.split_once(SAID) {
            self.said.push_back(said.to_owned());
        } else if line.ends_with(STARTED) {
            self.started = true;
        }
    }
}
