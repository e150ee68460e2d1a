//! What the tests of several files use.
#![allow(dead_code, reason = "each program uses what it needs")]

use std::thread;

use procession_manager::{Counts, Manager};
use procession_pipe::{Duplex, pipe};
use procession_process::{Message, Process, spawn};
use procession_testkit::processes;

/// Steps that look random and are the same each time.
pub(crate) fn steps(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

/// Returns when this is true of the server; the watchdog ends a wait in vain.
pub(crate) fn await_counts(manager: &Manager, is_so: impl Fn(Counts) -> bool) {
    while !is_so(manager.counts().unwrap()) {
        thread::yield_now();
    }
}

/// Returns when so many requests wait in objects: whoever made them is parked in the server.
pub(crate) fn await_waiting(manager: &Manager, n: u64) {
    await_counts(manager, |counts| counts.waiting == n);
}

pub(crate) fn await_clients(manager: &Manager, n: u64) {
    await_counts(manager, |counts| counts.clients == n);
}

pub(crate) fn await_objects(manager: &Manager, n: u64) {
    await_counts(manager, |counts| counts.objects == n);
}

/// One way to say something, and one to hear that it may go on.
pub(crate) type End = Duplex<(), ()>;

/// A client in a process of its own that is to be killed.
pub(crate) struct Victim {
    process: Process<()>,
    end: End,
}

impl Victim {
    /// Starts a task, which says [`here`] when it is where it shall die.
    pub(crate) fn start<A: Message>(task: fn((A, End)), argument: A) -> Self {
        let (end, theirs) = pipe().unwrap();
        Self { process: spawn(task, (argument, theirs)).unwrap(), end }
    }

    /// Returns when it is where it shall die.
    pub(crate) fn arrived(self) -> Self {
        self.end.recv().unwrap();
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Kills it, and returns when its server knows.
    pub(crate) fn kill(self, manager: &Manager) -> u32 {
        let before = manager.counts().unwrap().clients;
        let pid = self.pid();
        self.process.kill().unwrap();
        assert!(self.process.join().is_err());
        await_clients(manager, before - 1);
        pid
    }

    /// Kills it, and says nothing of when its server knows.
    pub(crate) fn shoot(&self) {
        self.process.kill().unwrap();
    }

    /// Stops it: it is there and does nothing, in none of its threads.
    pub(crate) fn stop(&self) {
        processes::kill(self.pid(), processes::Signal::STOP).unwrap();
        while !self.is_stopped() {
            thread::yield_now();
        }
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        processes::kill(self.pid(), processes::Signal::CONT).unwrap();
    }

    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        threads.map(|thread| thread.unwrap().path().join("stat")).all(|stat| {
            let stat = std::fs::read_to_string(stat).unwrap();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }
}

/// Says that all is had with which to die, and waits for it.
pub(crate) fn here(end: &End) {
    end.send(&()).unwrap();
    let _ = end.recv();
    panic!("nobody killed the victim");
}
