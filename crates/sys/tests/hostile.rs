//! Packets from a peer that breaks the rules of messages: each is a typed error, for good, and costs no memory.

use std::io::{IoSlice, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::Deadline;
use procession_sys::message::{Fault, Incoming, Outgoing, PAYLOAD, RecvError};
use procession_sys::socket::{pair, send_packet};

/// Written by hand on purpose: what goes over the wire is a promise.
fn packet(kind: &[u8; 4], descriptors: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    [kind, &descriptors.to_le_bytes()[..], &number.to_le_bytes(), payload].concat()
}

fn first(descriptors: u32, len: u64, payload: &[u8]) -> Vec<u8> {
    packet(b"pMg1", descriptors, len, payload)
}

fn more(descriptors: u32, offset: u64, payload: &[u8]) -> Vec<u8> {
    packet(b"pMg+", descriptors, offset, payload)
}

fn abort() -> Vec<u8> {
    packet(b"pMg0", 0, 0, b"")
}

fn feed(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    send_packet(socket, &[IoSlice::new(bytes)], descriptors, Deadline::now()).unwrap();
}

fn recv(incoming: &mut Incoming, socket: &OwnedFd) -> Result<Vec<u8>, RecvError> {
    incoming.recv(socket, Deadline::now()).map(|message| message.bytes)
}

/// Feeds `packets`, each with so many descriptors, and expects the last to be found at fault: now and for ever.
fn fault(packets: &[(Vec<u8>, usize)]) -> Fault {
    let (ours, theirs) = pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    for (bytes, n) in packets {
        feed(&ours, bytes, &vec![writer.as_fd(); *n]);
    }
    drop(writer);
    let mut incoming = Incoming::new(1 << 30);
    let Err(RecvError::Corrupt(fault)) = recv(&mut incoming, &theirs) else { panic!("accepted") };
    assert_eq!({ reader }.read(&mut [0]).unwrap(), 0, "descriptors of refused packets are closed");
    Outgoing::new().send(&ours, b"good again", &[], Deadline::now()).unwrap();
    assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::Corrupt(same)) if same == fault));
    fault
}

#[test]
fn malformed_packets() {
    assert_eq!(fault(&[(b"pMg1".to_vec(), 0)]), Fault::Short);
    assert_eq!(fault(&[(first(0, 0, b"")[..15].to_vec(), 1)]), Fault::Short);
    assert_eq!(fault(&[(packet(b"GET ", 0, 0, b"/"), 0)]), Fault::UnknownKind);
    assert_eq!(fault(&[(vec![0; 16], 1)]), Fault::UnknownKind);
    assert_eq!(fault(&[(first(0, 1 << 20, &vec![0; PAYLOAD + 1]), 3)]), Fault::Oversized);
}

#[test]
fn an_empty_packet() {
    let (ours, theirs) = pair().unwrap();
    rustix::net::send(&ours, b"", rustix::net::SendFlags::empty()).unwrap();
    assert!(matches!(recv(&mut Incoming::new(9), &theirs), Err(RecvError::Corrupt(Fault::Short))));
}

#[test]
fn packets_out_of_place() {
    assert_eq!(fault(&[(more(0, 0, b"x"), 0)]), Fault::Stray);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (first(0, 1, b"y"), 0)]), Fault::Nested);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (more(0, 2, b"y"), 0)]), Fault::Gap);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (more(0, 0, b"y"), 0)]), Fault::Gap);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (more(0, u64::MAX, b"y"), 0)]), Fault::Gap);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (abort(), 0), (more(0, 1, b"y"), 0)]), Fault::Stray);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (more(0, 1, b""), 0)]), Fault::Idle);
}

#[test]
fn more_than_announced() {
    assert_eq!(fault(&[(first(0, 1, b"xy"), 0)]), Fault::Overlong);
    assert_eq!(fault(&[(first(0, 3, b"xy"), 0), (more(0, 2, b"zz"), 0)]), Fault::Overlong);
}

#[test]
fn descriptors_that_do_not_add_up() {
    assert_eq!(fault(&[(first(2, 9, b"x"), 0), (more(0, 1, b"y"), 1)]), Fault::Descriptors);
    assert_eq!(fault(&[(first(2, 9, b"x"), 0), (more(2, 1, b"y"), 1)]), Fault::Descriptors);
    assert_eq!(fault(&[(first(1, 1, b"x"), 0), (more(2, 1, b""), 2)]), Fault::Descriptors);
    assert_eq!(
        fault(&[(first(254, 1, b"x"), 0), (more(253, 1, b""), 253), (more(2, 1, b""), 2)]),
        Fault::Descriptors
    );
    assert_eq!(fault(&[(first(1, 1, b"x"), 0), (more(u32::MAX, 1, b""), 1)]), Fault::Descriptors);
    assert_eq!(fault(&[(first(0, 9, b"x"), 0), (abort(), 1)]), Fault::Descriptors);
}

/// Descriptors ride on later packets only; on a first one nobody looks for them, and the kernel closes them.
#[test]
fn descriptors_where_none_belong_are_closed_unseen() {
    let (ours, theirs) = pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut incoming = Incoming::new(1 << 30);
    for (packet, n) in [(first(0, 1, b"x"), 253), (abort(), 1), (first(0, 1, b"y"), 1)] {
        feed(&ours, &packet, &vec![writer.as_fd(); n]);
    }
    drop(writer);
    for expected in [b"x", b"y"] {
        let message = incoming.recv(&theirs, Deadline::now()).unwrap();
        assert_eq!((message.bytes.as_slice(), message.descriptors.len()), (&expected[..], 0));
    }
    assert_eq!({ reader }.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_message_that_trickles_in_is_whole_in_the_end() {
    let (ours, theirs) = pair().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut incoming = Incoming::new(9);
    let parts = [first(254, 5, b"he"), more(253, 2, b"l"), more(0, 3, b"lo"), more(1, 5, b"")];
    for (part, n) in parts.iter().zip([0, 253, 0, 1]) {
        assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::TimedOut)));
        feed(&ours, part, &vec![reader.as_fd(); n]);
    }
    let message = incoming.recv(&theirs, Deadline::now()).unwrap();
    assert_eq!((message.bytes.as_slice(), message.descriptors.len()), (&b"hello"[..], 254));
}

#[test]
fn a_lying_length_costs_no_memory() {
    let (ours, theirs) = pair().unwrap();
    let mut incoming = Incoming::new(u64::MAX);
    feed(&ours, &first(0, u64::MAX, b"x"), &[]);
    assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::TimedOut)));
    feed(&ours, &more(0, 1, b"y"), &[]);
    drop(ours);
    assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::ClosedInside { got: 2, of: u64::MAX })));
}

#[test]
fn descriptors_of_a_refused_message_are_closed_as_they_come() {
    let (ours, theirs) = pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    feed(&ours, &first(600, 10, b"x"), &[]);
    feed(&ours, &more(253, 1, b""), &[writer.as_fd(); 253]);
    drop(writer);
    let mut incoming = Incoming::new(9);
    assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::TooLarge { len: 10, limit: 9 })));
    assert!(matches!(recv(&mut incoming, &theirs), Err(RecvError::TimedOut)));
    assert_eq!({ reader }.read(&mut [0]).unwrap(), 0);
}
