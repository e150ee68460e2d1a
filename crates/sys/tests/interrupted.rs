//! Signals that interrupt system calls all the time: no wait ends early or late for it, no error comes of it, and
//! long work gets done. One test, as it installs a signal handler.
//!
//! # Safety
//! The handler only adds to an atomic; signals are sent only to a thread that outlives the sending.
#![allow(unsafe_code, reason = "installing a signal handler, and signalling one thread")]

mod support;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
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

/// How many calls were interrupted, about.
static HITS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: libc::c_int) {
    HITS.fetch_add(1, Relaxed);
}

/// Returns when the thread under fire, which cannot go on without us, was hit often enough to have been waiting.
fn let_it_be_hit() {
    let before = HITS.load(Relaxed);
    while HITS.load(Relaxed) < before + 50 {
        thread::yield_now();
    }
}

/// A handler without `SA_RESTART`: every blocking call of the thread that runs it ends with EINTR.
fn install_handler() {
    // SAFETY: all zeroes are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler only adds to an atomic, so it may run anywhere; the old action is not asked for.
    let answer = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// Ends the fire also where the test fails.
struct CeaseFire<'a>(&'a Event);

impl Drop for CeaseFire<'_> {
    fn drop(&mut self) {
        self.0.notify();
    }
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
        let _stop = CeaseFire(&stop);
        call();
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
        // Where a signal undoes an unfinished reservation (not all kernels do that), one call would never finish.
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

    let long = vec![7; 4 << 20];
    for deadline in [Deadline::NEVER, Deadline::after(Duration::from_secs(100))] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let_it_be_hit();
                Outgoing::new().send(&ours, &long, &[], deadline).unwrap();
            });
            under_fire(|| {
                assert!(Incoming::new(u64::MAX).recv(&theirs, deadline).unwrap().bytes == long);
            });
        });
        thread::scope(|scope| {
            scope.spawn(|| {
                let_it_be_hit();
                assert!(Incoming::new(u64::MAX).recv(&theirs, deadline).unwrap().bytes == long);
            });
            under_fire(|| Outgoing::new().send(&ours, &long, &[], deadline).unwrap());
        });
    }
}
