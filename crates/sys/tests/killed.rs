//! A peer that is killed in the middle of a message: the survivor is told, and told how far it came.

mod support;

use std::os::fd::AsFd;

use procession_sys::Deadline;
use procession_sys::message::{Incoming, Outgoing, PAYLOAD, RecvError, SendError};
use procession_sys::socket::pair;

const LEN: usize = 8 << 20;

#[test]
fn a_sender_killed_inside_a_message() {
    let _watchdog = support::watchdog();
    if support::role().is_some() {
        Outgoing::new().send(std::io::stdin(), b"begin", &[], Deadline::NEVER).unwrap();
        let _ = Outgoing::new().send(std::io::stdin(), &vec![7; LEN], &[], Deadline::NEVER);
        return;
    }
    let (ours, theirs) = pair().unwrap();
    let mut child =
        support::again("a_sender_killed_inside_a_message", "sender").stdin(theirs).spawn().unwrap();
    let mut incoming = Incoming::new(u64::MAX);
    assert_eq!(incoming.recv(&ours, Deadline::NEVER).unwrap().bytes, b"begin");
    // It cannot be done with the long one, as that does not fit into the socket and we do not read it.
    procession_sys::poll::one(&ours, procession_sys::poll::Interest::Readable, Deadline::NEVER).unwrap();
    child.kill().unwrap();
    match incoming.recv(&ours, Deadline::NEVER) {
        Err(RecvError::ClosedInside { got, of }) => {
            assert!(got >= PAYLOAD as u64 && got < of && of == LEN as u64);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(incoming.recv(&ours, Deadline::NEVER), Err(RecvError::Closed)));
    assert!(matches!(Outgoing::new().send(&ours, b"x", &[], Deadline::NEVER), Err(SendError::Closed)));
    child.wait().unwrap();
}

#[test]
fn a_receiver_killed_while_we_send() {
    let _watchdog = support::watchdog();
    if support::role().is_some() {
        // Answers, and then reads for ever without an end.
        Outgoing::new().send(std::io::stdin(), b"ready", &[], Deadline::NEVER).unwrap();
        let mut incoming = Incoming::new(u64::MAX);
        while incoming.recv_with(std::io::stdin(), Deadline::NEVER, |_, _| ()).is_ok() {}
        return;
    }
    let (ours, theirs) = pair().unwrap();
    let mut child =
        support::again("a_receiver_killed_while_we_send", "receiver").stdin(theirs).spawn().unwrap();
    assert_eq!(Incoming::new(9).recv(&ours, Deadline::NEVER).unwrap().bytes, b"ready");
    let (mut outgoing, mut sent) = (Outgoing::new(), 0);
    let error = loop {
        match outgoing.send(ours.as_fd(), &vec![7; LEN], &[], Deadline::NEVER) {
            Ok(()) if sent == 2 => child.kill().unwrap(),
            Ok(()) => {}
            Err(error) => break error,
        }
        sent += 1;
    };
    assert!(matches!(error, SendError::Closed), "{error}");
    child.wait().unwrap();
}
