//! Every descriptor made here is close-on-exec from birth, and none is left behind. One test, as it counts the
//! descriptors of the whole process.

mod support;

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};

use procession_sys::event::Event;
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::message::{Incoming, Outgoing};
use procession_sys::{Deadline, caps, limits, socket};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

fn is_close_on_exec(what: &str, fd: impl AsFd) {
    assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC), "{what} would be inherited");
}

fn make_all() {
    let memory = Memfd::sealed("m", 4096).unwrap();
    let mapping = Mapping::shared(&memory).unwrap();
    is_close_on_exec("sealed memory", &memory);
    is_close_on_exec("a clone", memory.try_clone().unwrap());
    is_close_on_exec("a blob", Memfd::from_bytes("b", b"b").unwrap());
    let event = Event::new().unwrap();
    is_close_on_exec("an event", &event);
    let (ours, theirs) = socket::pair().unwrap();
    is_close_on_exec("a socket", &ours);
    is_close_on_exec("a socket", &theirs);

    let inherited = memory.into_fd();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    let memory = Memfd::adopt(inherited).unwrap();
    is_close_on_exec("adopted memory", &memory);
    let inherited = event.into_fd();
    fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
    let event = Event::adopt(inherited).unwrap();
    is_close_on_exec("an adopted event", &event);

    let sent: [BorrowedFd<'_>; 2] = [memory.as_fd(), event.as_fd()];
    socket::send_packet(&ours, &[IoSlice::new(b"x")], &sent, Deadline::NEVER).unwrap();
    let mut received = Vec::new();
    let mut bytes = [0; 4];
    let into = &mut [IoSliceMut::new(&mut bytes)];
    socket::recv_packet(&theirs, into, &mut received, Deadline::NEVER).unwrap();
    Outgoing::new().send(&ours, b"y", &sent, Deadline::NEVER).unwrap();
    received.extend(Incoming::new(8).recv(&theirs, Deadline::NEVER).unwrap().descriptors);
    assert_eq!(received.len(), 4);
    received.iter().for_each(|fd| is_close_on_exec("a received descriptor", fd));

    // A packet that is refused leaves nothing behind.
    socket::send_packet(&ours, &[IoSlice::new(b"too long")], &sent, Deadline::NEVER).unwrap();
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let mut received = Vec::new();
    socket::recv_packet(&theirs, into, &mut received, Deadline::NEVER).unwrap_err();
    assert!(received.is_empty());
    drop(mapping);
}

#[test]
fn close_on_exec_and_no_leak() {
    let _watchdog = support::watchdog();
    let _ = caps::diagnostics();
    let before = limits::open_descriptors().unwrap();
    for _ in 0..3 {
        make_all();
    }
    assert_eq!(limits::open_descriptors().unwrap(), before);
}
