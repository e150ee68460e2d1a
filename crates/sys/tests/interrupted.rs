//! Signals that interrupt system calls all the time: no wait ends early or late for it, no error comes of it, and
//! long work gets done. One test, as it installs a signal handler.
//!
//! # Safety
//! The handler does nothing; signals are sent only to a thread that outlives the sending.
#![allow(unsafe_code, reason = "installing a signal handler, and signalling one thread")]

mod support;

use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use procession_raw::Waited;
use procession_sys::Deadline;
use procession_sys::event::Event;
use procession_sys::futex;
use procession_sys::memory::Memfd;
use procession_sys::message::{Incoming, Outgoing, RecvError};
use procession_sys::poll::{Interest, one};
use procession_sys::socket::pair;

extern "C" fn nothing(_signal: libc::c_int) {}

/// A handler without `SA_RESTART`: every blocking call of the thread that runs it ends with EINTR.
fn install_handler() {
    // SAFETY: all zeroes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing, so it may run anywhere; the old action is not asked for.
    let answer = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Interrupts this thread every 200 µs while `call` runs.
fn under_fire(call: impl FnOnce()) {
    let stop = Event::new().unwrap();
    // SAFETY: has no preconditions.
    let target = unsafe { libc::pthread_self() };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !one(&stop, Interest::Readable, Deadline::after(Duration::from_micros(200))).unwrap() {
                // SAFETY: the target waits for this thread at the end of the scope, so it is alive.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
            }
        });
        call();
        stop.notify();
    });
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(20))
}

#[test]
fn signals_change_nothing() {
    let _watchdog = support::watchdog();
    install_handler();
    let (ours, theirs) = pair().unwrap();
    let (a, b, event) = (AtomicU32::new(0), AtomicU32::new(0), Event::new().unwrap());
    under_fire(|| {
        // Reserved in one call, this would be begun again and again.
        assert_eq!(Memfd::sealed("large", 128 << 20).unwrap().len(), 128 << 20);

        assert_eq!(futex::wait(&a, 0, soon()), Waited::TimedOut);
        assert_eq!(futex::wait_any(&[(&a, 0), (&b, 0)], soon()), Waited::TimedOut);
        let deadline = soon();
        assert!(!one(&event, Interest::Readable, deadline).unwrap());
        assert!(deadline.has_passed());
        let deadline = soon();
        let nothing = Incoming::new(9).recv(&theirs, deadline);
        assert!(matches!(nothing, Err(RecvError::TimedOut)));
        assert!(deadline.has_passed());
    });

    let long = vec![7; 32 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut incoming = Incoming::new(u64::MAX);
            under_fire(|| {
                for deadline in [Deadline::NEVER, Deadline::after(Duration::from_secs(100))] {
                    assert!(incoming.recv(&theirs, deadline).unwrap().bytes == long);
                }
            });
        });
        under_fire(|| {
            let mut outgoing = Outgoing::new();
            outgoing.send(&ours, &long, &[], Deadline::NEVER).unwrap();
            outgoing.send(&ours, &long, &[], Deadline::after(Duration::from_secs(100))).unwrap();
        });
    });
}
