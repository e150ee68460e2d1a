//! Handles that are dropped or detached.

use procession_pipe::{Duplex, RecvError};
use procession_process::{Exit, Process};
use procession_sys::signal::{self, Disposition, Signal};
use procession_testkit::Identity;

use super::{PATIENCE, Start, await_start, expected, gate, hold};

fn identity(child: &Process<u8>) -> Identity {
    Identity::of(child.pid()).expect("a child is there until it was waited for")
}

pub(crate) fn dropping_ends(start: Start) {
    let (ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    let running = identity(&child);
    await_start(&ours);
    drop(child);
    assert_eq!(running.state(), None, "ended and out of the process table");
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed));

    // Before its task runs.
    let (_ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    let starting = identity(&child);
    drop(child);
    assert_eq!(starting.state(), None);
}

pub(crate) fn dropping_ends_one_that_ignores_sigterm(start: Start) {
    fn stay(gate: Duplex<u8, u8>) -> u8 {
        signal::set(Signal::TERM, Disposition::Ignore).unwrap();
        signal::set(Signal::INT, Disposition::Ignore).unwrap();
        hold(gate)
    }
    let (ours, theirs) = gate();
    let child = start().spawn(stay, theirs).unwrap();
    let running = identity(&child);
    await_start(&ours);
    drop(child);
    assert_eq!(running.state(), None);
}

pub(crate) fn dropping_after_the_end(start: Start) {
    let child = start().spawn(|n: u8| n, 1).unwrap();
    let ended = identity(&child);
    assert!(ended.wait_ended(PATIENCE));
    drop(child);
    assert_eq!(ended.state(), None, "a child nobody asked for is no zombie");
}

pub(crate) fn detached_it_runs_on(start: Start) {
    fn echo(gate: Duplex<u8, u8>) -> u8 {
        while let Ok(n) = gate.recv() {
            gate.send(&(n + 1)).unwrap();
        }
        0
    }
    let children: Vec<_> = (0..3)
        .map(|_| {
            let (ours, theirs) = gate();
            let child = start().spawn(echo, theirs).unwrap();
            let running = identity(&child);
            child.detach();
            (ours, running)
        })
        .collect();
    for n in 0..2 {
        for (ours, running) in &children {
            ours.send(&n).unwrap();
            assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), n + 1);
            assert!(running.is_alive());
        }
    }
    for (ours, running) in children {
        drop(ours);
        assert!(running.wait_gone(PATIENCE), "ended, and no zombie");
    }
}

pub(crate) fn detached_after_the_end(start: Start) {
    let child = start().spawn(|n: u8| n, 1).unwrap();
    let ended = identity(&child);
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    child.detach();
    assert!(ended.wait_gone(PATIENCE));
}
