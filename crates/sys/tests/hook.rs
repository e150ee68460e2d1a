//! A program started again by the pre-main hook: what the child is, and how the two meet.
//!
//! # Safety
//! The constructor in this file only adds to an atomic.
#![allow(unsafe_code, reason = "puts a constructor behind the hook's")]

use std::io::{IoSlice, IoSliceMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_sys::hook::{self, Bootstrap, Hello};
use procession_sys::poll::{self, Interest};
use procession_sys::signal::Signal;
use procession_sys::status::Exit;
use procession_sys::{Deadline, socket};

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn send(started: &impl std::os::fd::AsFd, bytes: &[u8]) -> bool {
    socket::send_packet(started.as_fd(), &[IoSlice::new(bytes)], &[], patience()).is_ok()
}

fn recv<const N: usize>(socket: &impl std::os::fd::AsFd) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let got =
        socket::recv_packet(socket.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut vec![], patience());
    got.is_ok_and(|packet| packet.bytes == N).then_some(bytes)
}

/// Answers with the number of constructions, the byte it was sent plus one, and whether it knows its parent.
fn answer(bootstrap: Bootstrap) -> i32 {
    let Some([byte]) = recv(&bootstrap.socket) else { return 1 };
    let built = u8::try_from(CONSTRUCTED.load(Ordering::Relaxed)).unwrap_or(u8::MAX);
    let clean = std::env::var_os("PROCESSION_CHILD").is_none();
    let sent =
        send(&bootstrap.socket, &[built, byte + 1, u8::from(bootstrap.parent.is_some()), u8::from(clean)]);
    if sent { 7 } else { 1 }
}

#[test]
fn a_child_meets_its_parent_and_finds_the_program_constructed() {
    let started = hook::start(answer).unwrap();
    assert_eq!(started.hello(patience()).unwrap(), Some(Hello::Ready));
    assert!(send(&started.socket, &[41]));
    assert_eq!(recv(&started.socket), Some([1, 42, 1, 1]));
    assert_eq!(started.child.wait(patience()).unwrap(), Some(Exit::Code(7)));
    assert_eq!(started.child.try_wait().unwrap(), Some(Exit::Code(7)));
    assert!(!started.child.signal(Signal::KILL).unwrap());
}

fn wait_for_ever(bootstrap: Bootstrap) -> i32 {
    let _ = recv::<1>(&bootstrap.socket);
    0
}

#[test]
fn a_killed_child_is_told_by_its_signal_to_many_threads() {
    let started = hook::start(wait_for_ever).unwrap();
    assert_eq!(started.child.wait(Deadline::now()).unwrap(), None);
    let killed = Some(Exit::Signal { signal: Signal::KILL, core_dumped: false });
    std::thread::scope(|s| {
        let waiters: Vec<_> = (0..4).map(|_| s.spawn(|| started.child.wait(patience()).unwrap())).collect();
        assert!(started.child.signal(Signal::KILL).unwrap());
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), killed);
        }
    });
    assert!(poll::one(started.child.pidfd().unwrap(), Interest::Readable, Deadline::now()).unwrap());
}
