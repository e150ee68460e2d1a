//! An end whose other end lies: every answer is a typed error, no memory is spent on promises, and nothing stays open.
//!
//! The other end is a bare socket. Ends are put on it as an end that moved would be: by a message that holds one.

use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use procession_codec::{Bytes, Codec, DecodeError, Descriptor, HandleError, Postcard, handles};
use procession_pipe::{AdoptFault, Connection, Duplex, RecvError, RecvIntoError, pipe};
use procession_sys::{Deadline, socket};
use procession_testkit::counted;
use serde::Serialize;

type End = Duplex<Bytes, Bytes>;

/// What a message says of an end: that it is descriptor `index`, owes nothing, and what its limit is.
fn written(index: u32, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Postcard::encode_into(&(index, false, limit), &mut bytes).unwrap();
    bytes
}

fn adopt(descriptor: impl Into<OwnedFd>, limit: u64) -> Result<End, DecodeError> {
    handles::supply(vec![descriptor.into()], || Postcard::decode(&written(0, limit)))
}

/// An end, and the socket at its other end.
fn victim(limit: u64) -> (End, OwnedFd) {
    let (ours, theirs) = socket::pair().unwrap();
    (adopt(ours, limit).unwrap(), theirs)
}

fn packet(kind: &[u8; 4], descriptors: u32, number: u64, payload: &[u8]) -> Vec<u8> {
    [&kind[..], &descriptors.to_le_bytes(), &number.to_le_bytes(), payload].concat()
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    socket::send_packet(socket, &[IoSlice::new(bytes)], descriptors, Deadline::now()).unwrap();
}

/// A whole message that decodes to these bytes.
fn honest(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    Postcard::encode_into(&Bytes::from(bytes), &mut encoded).unwrap();
    packet(b"pMg1", 0, encoded.len() as u64, &encoded)
}

/// Memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_lying_length_costs_no_memory() {
    counted(|| {
        for (limit, len) in [(1 << 63, 1 << 62), (u64::MAX, u64::MAX), (1 << 40, 1 << 40)] {
            let (end, theirs) = victim(limit);
            assert_eq!(end.limit(), limit);
            let before = resident();
            send(&theirs, &packet(b"pMg1", 0, len, &[7; 1000]), &[]);
            assert!(matches!(end.try_recv(), Err(RecvError::Empty)));
            send(&theirs, &packet(b"pMg+", 0, 1000, &[7; 1000]), &[]);
            assert!(matches!(end.try_recv(), Err(RecvError::Empty)));
            assert!(resident() < before + (8 << 20));
            drop(theirs);
            match end.recv() {
                Err(RecvError::ClosedInside { got, of }) => assert_eq!((got, of), (2000, len)),
                other => panic!("{other:?}"),
            }
            assert!(matches!(end.recv(), Err(RecvError::Closed)));
        }
    });
}

#[test]
fn a_length_above_the_limit_is_refused_at_once() {
    counted(|| {
        let (end, theirs) = victim(100);
        send(&theirs, &packet(b"pMg1", 0, 1 << 63, &[0; 10]), &[]);
        assert!(matches!(end.recv(), Err(RecvError::TooLarge { len, limit: 100 }) if len == 1 << 63));
        send(&theirs, &packet(b"pMg0", 0, 0, b""), &[]);
        send(&theirs, &honest(b"next"), &[]);
        assert_eq!(end.recv().unwrap()[..], *b"next");
    });
}

#[test]
fn garbage_is_corrupt_for_good() {
    let noise = [
        b"x".to_vec(),
        vec![0; 16],
        vec![0xff; 100],
        packet(b"pMg+", 0, 0, b"out of nowhere"),
        packet(b"pMg1", 0, 3, b"more than announced"),
        vec![b'p'; 150_000],
    ];
    counted(|| {
        for packet in &noise {
            let (end, theirs) = victim(1000);
            send(&theirs, &honest(b"before"), &[]);
            send(&theirs, packet, &[]);
            send(&theirs, &honest(b"after"), &[]);
            assert_eq!(end.recv().unwrap()[..], *b"before");
            for _ in 0..2 {
                assert!(matches!(end.recv(), Err(RecvError::Corrupt(_))));
                assert!(matches!(end.try_recv(), Err(RecvError::Corrupt(_))));
            }
            // What we say is still heard.
            end.send(&Bytes::from(&b"you lie"[..])).unwrap();
        }
    });
}

#[test]
fn an_empty_packet_ahead_of_the_last_message_is_not_the_end() {
    counted(|| {
        let (end, theirs) = victim(1000);
        UnixDatagram::from(theirs.try_clone().unwrap()).send(b"").unwrap();
        send(&theirs, &honest(b"last"), &[]);
        drop(theirs);
        // The kernel reports an empty packet as it reports the end; it cannot hide the message behind it.
        assert_eq!(end.recv().unwrap()[..], *b"last");
        assert!(matches!(end.recv(), Err(RecvError::Closed)));
    });
}

#[test]
fn descriptors_without_end_are_closed_with_their_message() {
    counted(|| {
        procession_sys::limits::raise_descriptor_limit().unwrap();
        let (end, theirs) = victim(1000);
        let file = File::open("/proc/self/stat").unwrap();
        let many = vec![file.as_fd(); socket::MAX_DESCRIPTORS];
        send(&theirs, &packet(b"pMg1", u32::MAX, 1000, b"x"), &[]);
        for _ in 0..3 {
            send(&theirs, &packet(b"pMg+", many.len() as u32, 1, b""), &many);
            assert!(matches!(end.try_recv(), Err(RecvError::Empty)));
        }
        drop(theirs);
        assert!(matches!(end.recv(), Err(RecvError::ClosedInside { got: 1, of: 1000 })));
    });
}

#[test]
fn what_is_no_socket_of_ours_is_no_end() {
    counted(|| {
        let refused = |descriptor: OwnedFd| match adopt(descriptor, 1000) {
            Err(DecodeError::Malformed(why)) => assert!(why.contains("checking a received socket"), "{why}"),
            other => panic!("{other:?}"),
        };
        refused(File::open("/proc/self/stat").unwrap().into());
        refused(std::io::pipe().unwrap().0.into());
        refused(UnixDatagram::pair().unwrap().0.into());
        refused(std::net::TcpListener::bind("127.0.0.1:0").unwrap().into());
    });
}

#[test]
fn an_end_needs_a_descriptor_of_its_own() {
    counted(|| {
        let (a, _b) = socket::pair().unwrap();
        let missing = handles::supply(vec![a], || Postcard::decode::<End>(&written(1, 1000)));
        let expected = HandleError::Missing { index: 1, carried: 1 };
        assert!(matches!(missing, Err(DecodeError::Handle(e)) if e == expected));
        let (a, _b) = socket::pair().unwrap();
        let twice = [written(0, 1000), written(0, 1000)].concat();
        let taken = handles::supply(vec![a], || Postcard::decode::<(End, End)>(&twice));
        assert!(matches!(taken, Err(DecodeError::Handle(HandleError::Taken { index: 0 }))));
    });
}

/// The same end, taken for one of other types: nothing on its way says what it carries.
fn retyped<S, R>(end: &impl Serialize) -> Duplex<S, R> {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(end, &mut bytes)).unwrap();
    let arrived = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    handles::supply(arrived, || Postcard::decode(&bytes)).unwrap()
}

/// A message from an honest carrier, in which a liar has put another descriptor in the place of an end.
#[test]
fn a_false_end_in_a_message_costs_that_message() {
    counted(|| {
        let (false_carrier, carrier) = pipe::<(Descriptor, bool, u64), ()>().unwrap();
        let file = Descriptor::from(OwnedFd::from(File::open("/proc/self/stat").unwrap()));
        let (good, _other) = socket::pair().unwrap();
        false_carrier.send(&(file, false, 1000)).unwrap();
        false_carrier.send(&(Descriptor::from(good), false, 1000)).unwrap();
        let carrier: Duplex<(), End> = retyped(&carrier);
        assert!(matches!(carrier.recv(), Err(RecvError::Decode(DecodeError::Malformed(_)))));
        let end = carrier.recv().unwrap();
        end.send(&Bytes::from(&b"works"[..])).unwrap();
    });
}

/// A connection of bytes, and the socket at its other end.
fn bytes_victim(limit: u64) -> (Connection, OwnedFd) {
    let (ours, theirs) = socket::pair().unwrap();
    (Connection::try_from(ours).unwrap().with_limit(limit), theirs)
}

#[test]
fn the_end_inside_of_a_message_is_not_the_end_behind_one() {
    counted(|| {
        let (end, theirs) = bytes_victim(1000);
        send(&theirs, &packet(b"pMg1", 0, 2, b"ab"), &[]);
        send(&theirs, &packet(b"pMg1", 0, 100, &[7; 10]), &[]);
        drop(theirs);
        assert_eq!(end.recv_bytes().unwrap(), b"ab");
        assert!(matches!(end.recv_bytes(), Err(RecvError::ClosedInside { got: 10, of: 100 })));
        assert!(matches!(end.recv_bytes(), Err(RecvError::Closed)));

        let (end, theirs) = bytes_victim(1000);
        send(&theirs, &packet(b"pMg1", 0, 0, b""), &[]);
        drop(theirs);
        assert_eq!(end.recv_bytes().unwrap(), b"");
        assert!(matches!(end.recv_bytes(), Err(RecvError::Closed)));
    });
}

/// Lengths beyond what 32 bits say are said in full, refused at their first packet, and cost nothing.
#[test]
fn more_than_four_gibibytes_are_said_in_full() {
    counted(|| {
        for len in [(4 << 30) + 5, u64::MAX] {
            let (end, theirs) = bytes_victim(4 << 30);
            let before = resident();
            send(&theirs, &packet(b"pMg1", 0, len, &[7; 5]), &[]);
            match end.recv_bytes() {
                Err(RecvError::TooLarge { len: said, limit }) => assert_eq!((said, limit), (len, 4 << 30)),
                other => panic!("{other:?}"),
            }
            send(&theirs, &packet(b"pMg0", 0, 0, b""), &[]);
            send(&theirs, &packet(b"pMg1", 0, 4, b"next"), &[]);
            assert_eq!(end.recv_bytes_into(&mut [0; 9]).unwrap(), 4);
            assert!(resident() < before + (8 << 20));

            let (end, theirs) = bytes_victim(u64::MAX);
            send(&theirs, &packet(b"pMg1", 0, len, &[7; 5]), &[]);
            assert!(matches!(end.try_recv_bytes(), Err(RecvError::Empty)));
            drop(theirs);
            match end.recv_bytes_into(&mut [0; 9]) {
                Err(RecvIntoError::Recv(RecvError::ClosedInside { got: 5, of })) => assert_eq!(of, len),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn garbage_is_corrupt_for_bytes_too() {
    counted(|| {
        let (end, theirs) = bytes_victim(1000);
        send(&theirs, b"hello, this is no header", &[]);
        send(&theirs, &packet(b"pMg1", 0, 2, b"ab"), &[]);
        assert!(matches!(end.recv_bytes(), Err(RecvError::Corrupt(_))));
        assert!(matches!(end.recv_bytes(), Err(RecvError::Corrupt(_))));
        let into = end.recv_bytes_into(&mut [0; 9]);
        assert!(matches!(into, Err(RecvIntoError::Recv(RecvError::Corrupt(_)))));
        end.send_bytes(b"still heard").unwrap();
    });
}

/// Each kind of descriptor that is no connection is named, and rides back.
#[test]
fn a_descriptor_that_is_no_connection_is_named_and_given_back() {
    fn why(descriptor: impl Into<OwnedFd>) -> AdoptFault {
        let descriptor = descriptor.into();
        let number = descriptor.as_fd().as_raw_fd();
        let error = Connection::try_from(descriptor).unwrap_err();
        assert_eq!(error.descriptor.as_raw_fd(), number);
        assert!(error.to_string().starts_with("making a connection of a descriptor: "));
        error.why
    }
    counted(|| {
        assert!(matches!(why(File::open("/proc/self/stat").unwrap()), AdoptFault::NotASocket));
        assert!(matches!(why(std::io::pipe().unwrap().0), AdoptFault::NotASocket));
        assert!(matches!(why(UnixDatagram::pair().unwrap().0), AdoptFault::Datagram));
        assert!(matches!(why(std::net::TcpListener::bind("127.0.0.1:0").unwrap()), AdoptFault::NotConnected));
        assert!(matches!(why(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()), AdoptFault::OtherFamily));
        assert!(matches!(why(socket::unconnected().unwrap()), AdoptFault::NotConnected));
    });
}

/// What was inherited or handed over may wait without blocking, and stay open across the execution of a program.
#[test]
fn an_adopted_descriptor_works_whatever_its_flags() {
    counted(|| {
        let (ours, theirs) = socket::pair().unwrap();
        UnixDatagram::from(ours.try_clone().unwrap()).set_nonblocking(true).unwrap();
        let (end, other) = (Connection::try_from(ours).unwrap(), Connection::try_from(theirs).unwrap());
        std::thread::scope(|s| {
            let receiver = s.spawn(|| end.recv_bytes());
            other.send_bytes(b"woken").unwrap();
            assert_eq!(receiver.join().unwrap().unwrap(), b"woken");
        });
    });
}
