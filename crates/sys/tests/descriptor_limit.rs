//! A receiver that has too many descriptors open: the message is lost, and said to be; the stream stays in step.
//! One test, as it moves a limit of the whole process.

mod support;

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use procession_sys::message::{Incoming, Outgoing, RecvError};
use procession_sys::socket::{RecvFailed, pair, recv_packet, send_packet};
use procession_sys::{Deadline, limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn descriptors_without_room_are_lost_and_said_to_be() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = pair().unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let before = getrlimit(Resource::Nofile);
    let open = limits::open_descriptors().unwrap();
    send_packet(&ours, &[IoSlice::new(b"packet")], &[writer.as_fd(); 20], Deadline::NEVER).unwrap();
    let mut outgoing = Outgoing::new();
    outgoing.send(&ours, b"one packet", &[writer.as_fd(); 20], Deadline::NEVER).unwrap();
    outgoing.send(&ours, b"several", &[writer.as_fd(); 600], Deadline::NEVER).unwrap();
    outgoing.send(&ours, b"none", &[], Deadline::NEVER).unwrap();
    outgoing.send(&ours, b"few", &[writer.as_fd(); 2], Deadline::NEVER).unwrap();

    let room_for_a_few = writer.as_raw_fd() as u64 + 10;
    setrlimit(Resource::Nofile, Rlimit { current: Some(room_for_a_few), maximum: before.maximum }).unwrap();
    let (mut bytes, mut received) = ([0; 16], Vec::new());
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let lost = recv_packet(&theirs, into, &mut received, Deadline::NEVER);
    assert!(matches!(lost, Err(RecvFailed::DescriptorsLost { bytes: 6 })), "{lost:?}");
    assert!(received.is_empty());
    let mut incoming = Incoming::new(100);
    for _ in 0..2 {
        assert!(matches!(incoming.recv(&theirs, Deadline::NEVER), Err(RecvError::DescriptorsLost)));
    }
    assert_eq!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes, b"none");
    let few = incoming.recv(&theirs, Deadline::NEVER).unwrap();
    assert_eq!((few.bytes.as_slice(), few.descriptors.len()), (&b"few"[..], 2));
    drop(few);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(limits::open_descriptors().unwrap(), open, "what came of the lost ones is closed");
}
