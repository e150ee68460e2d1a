//! Children that end without a value.
//!
//! # Safety
//! The memory error is made in a child, on purpose: it writes to an address that is never mapped.
#![allow(unsafe_code, reason = "a child that dies of a memory error")]

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use procession_pipe::Duplex;
use procession_process::{Exit, JoinError, Process, Signal};
use procession_sys::signal::{self, Disposition};
use procession_testkit::processes::{self, State};
use procession_testkit::{Role, role};

use super::{PATIENCE, Start, await_start, expected, gate, hold};

pub(crate) fn exit_codes(start: Start) {
    for code in [0, 1, 7, 101, 255] {
        let child =
            start().name("leaver").spawn(|code: i32| -> u8 { std::process::exit(code) }, code).unwrap();
        let pid = child.pid();
        let error = child.join().unwrap_err();
        let (who, told) = expected!(&error, JoinError::Exited { who, code } => (who.clone(), *code));
        assert_eq!((told, who.name.as_str(), who.pid), (code, "leaver", pid));
        let text = format!("process leaver (pid {pid}) exited with code {code} before returning a value");
        assert_eq!(error.to_string(), text);
    }
}

/// The signal that ended a child, and the hint that came with it.
fn death<R: procession_process::Message>(child: Process<R>) -> (Signal, String) {
    let error = child.join().map(drop).unwrap_err();
    expected!(error, JoinError::Killed { signal, hint, .. } => (signal, hint.map(|h| h.to_string()).unwrap_or_default()))
}

pub(crate) fn an_abort(start: Start) {
    let (signal, hint) = death(start().spawn(|()| -> () { std::process::abort() }, ()).unwrap());
    assert_eq!(signal, Signal::ABRT);
    assert!(hint.contains("abort()"), "{hint}");
}

fn signal_self(signal: i32) {
    // Who runs the tests may have us ignore it (`nohup`); SIGKILL cannot be.
    let _ = signal::set(Signal(signal), Disposition::Default);
    let signal = processes::Signal::from_named_raw(signal).expect("a signal");
    processes::kill(std::process::id(), signal).expect("we may signal ourselves");
    // Another thread may be the one that takes it: it may be a moment until this one notices.
    loop {
        std::thread::park();
    }
}

pub(crate) fn a_kill_from_inside(start: Start) {
    let (signal, hint) = death(start().spawn(signal_self, Signal::KILL.0).unwrap());
    assert_eq!(signal, Signal::KILL);
    assert!(hint.contains("out-of-memory"), "{hint}");
    for signal in [Signal::TERM, Signal::HUP, Signal::SEGV, Signal::USR1, Signal::XCPU] {
        assert_eq!(death(start().spawn(signal_self, signal.0).unwrap()).0, signal);
    }
}

pub(crate) fn a_memory_error(start: Start) {
    fn reach(address: usize) {
        // SAFETY: not sound, that is the point: the first page is never mapped, so the kernel ends this child.
        unsafe { std::ptr::without_provenance_mut::<u8>(address).write_volatile(1) };
    }
    let (signal, hint) = death(start().spawn(reach, 8).unwrap());
    assert_eq!(signal, Signal::SEGV);
    assert!(hint.contains("memory error"), "{hint}");
}

pub(crate) fn a_stack_overflow(start: Start) {
    fn descend(n: u64) -> u64 {
        let page = black_box([n; 512]);
        if n == u64::MAX { 0 } else { descend(n + 1) + page[0] }
    }
    // std's own handler, where it is installed, says so and aborts.
    let (signal, hint) = death(start().spawn(descend, 0).unwrap());
    assert!([Signal::SEGV, Signal::ABRT].contains(&signal), "{signal}");
    assert!(!hint.is_empty());
}

/// Waits until the child `pid` is stopped. Who waits for it may be another process than this.
fn await_stop(pid: u32) {
    let start = Instant::now();
    while processes::state(pid) != Some(State::Stopped) {
        assert!(start.elapsed() < PATIENCE, "waiting for a child to stop");
        std::thread::yield_now();
    }
}

pub(crate) fn stopped_and_then_killed(start: Start) {
    let child = start().spawn(signal_self, Signal::STOP.0).unwrap();
    await_stop(child.pid());
    assert_eq!(processes::state(child.pid()), Some(State::Stopped));
    assert!(child.is_alive(), "a stopped child has not ended");
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert_eq!(death(child).0, Signal::KILL);
}

pub(crate) fn asked_from_outside(start: Start) {
    // Children inherit it, and who runs tests in the background may have us ignore it.
    signal::set(Signal::INT, Disposition::Default).unwrap();
    type Ask = fn(&Process<u8>);
    let asks: [(Ask, Signal); 3] = [
        (|child| child.interrupt().unwrap(), Signal::INT),
        (|child| child.terminate().unwrap(), Signal::TERM),
        (|child| child.kill().unwrap(), Signal::KILL),
    ];
    for (ask, signal) in asks {
        let (ours, theirs) = gate();
        let child = start().spawn(hold, theirs).unwrap();
        await_start(&ours);
        ask(&child);
        let exit = child.wait_timeout(PATIENCE).unwrap().expect("it ends");
        assert_eq!((exit.signal(), exit.code()), (Some(signal), Some(-signal.0)));
        assert_eq!(death(child).0, signal);
    }
}

pub(crate) fn asking_the_dead(start: Start) {
    let child = start().spawn(|n: u8| n, 1).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    child.interrupt().unwrap();
    child.terminate().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    assert_eq!(child.join().unwrap(), 1);
}

pub(crate) fn an_interrupt_can_be_ignored(start: Start) {
    let (ours, theirs) = gate();
    let child = start().ignore_interrupt(true).spawn(hold, theirs).unwrap();
    await_start(&ours);
    child.interrupt().unwrap();
    ours.send(&8).unwrap();
    assert_eq!(child.join().unwrap(), 8);

    fn on_its_own(gate: Duplex<u8, u8>) -> u8 {
        signal::set(Signal::TERM, Disposition::Ignore).unwrap();
        hold(gate)
    }
    let (ours, theirs) = gate();
    let child = start().spawn(on_its_own, theirs).unwrap();
    await_start(&ours);
    child.terminate().unwrap();
    ours.send(&9).unwrap();
    assert_eq!(child.join().unwrap(), 9);
}

pub(crate) fn threads_left_behind(start: Start) {
    fn leave(n: u8) -> u8 {
        for _ in 0..4 {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        n
    }
    assert_eq!(start().spawn(leave, 5).unwrap().join_timeout(PATIENCE).unwrap(), Some(5));
}

/// What a child has written is there when it has ended, without a last line feed.
pub(crate) fn output_is_flushed(start: Start) {
    fn write(text: String) {
        std::io::stdout().write_all(text.as_bytes()).unwrap();
    }
    if role().is_some() {
        start().spawn(write, "<from a value>".into()).unwrap().join().unwrap();
        let exits = |text: String| -> () {
            write(text);
            std::process::exit(4);
        };
        let child = start().spawn(exits, "<from an exit>".into()).unwrap();
        return expected!(child.join(), Err(JoinError::Exited { code: 4, .. }));
    }
    let output = Role::new("writes").spawn().wait_with_output(PATIENCE).expect_success();
    assert!(output.stdout.contains("<from a value><from an exit>"), "{output}");
}
