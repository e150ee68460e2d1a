//! Tasks that wait for the test, so that "it runs" is an event and not a guess.

use std::time::Duration;

use procession_pipe::{Duplex, pipe};

/// No wait is meant to be as long as this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One end for the test, one for a task.
pub(crate) type Gate = Duplex<u32, u32>;

/// Our end, and that of a task.
pub(crate) fn gate() -> (Gate, Gate) {
    pipe().expect("a pipe")
}

/// A task that says which process it is in, and returns what it is told next.
pub(crate) fn hold(gate: Gate) -> u32 {
    gate.send(&std::process::id()).expect("the pool's process is there");
    gate.recv().expect("it says when to go on")
}

/// Waits until the task at the other end runs; answers the process it is in.
pub(crate) fn await_start(gate: &Gate) -> u32 {
    gate.recv_timeout(PATIENCE).expect("the task says that it runs")
}
