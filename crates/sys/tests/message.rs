//! Messages: any length, any number of descriptors, wholly there or wholly absent, whoever stops waiting and when.

mod support;

use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::message::{HEADROOM, Incoming, Outgoing, PAYLOAD, RecvError, SendError};
use procession_sys::socket::{MAX_DESCRIPTORS, pair, send_packet};

const FAR: Duration = Duration::from_secs(100);

/// Bytes of which none stands for its neighbour.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

struct Ends {
    ours: OwnedFd,
    theirs: OwnedFd,
    outgoing: Outgoing,
    incoming: Incoming,
}

fn ends(limit: u64) -> Ends {
    let (ours, theirs) = pair().unwrap();
    Ends { ours, theirs, outgoing: Outgoing::new(), incoming: Incoming::new(limit) }
}

impl Ends {
    fn send(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.outgoing.send(&self.ours, bytes, &[], deadline)
    }

    fn recv(&mut self, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.incoming.recv(&self.theirs, deadline).map(|message| message.bytes)
    }
}

#[test]
fn every_length_around_a_packet() {
    let _watchdog = support::watchdog();
    let mut ends = ends(u64::MAX);
    for packets in 0..3 {
        for len in [packets * PAYLOAD, packets * PAYLOAD + 1, (packets + 1) * PAYLOAD - 1] {
            let bytes = pattern(len);
            thread::scope(|scope| {
                scope.spawn(|| ends.outgoing.send(&ends.ours, &bytes, &[], Deadline::NEVER).unwrap());
                assert_eq!(ends.incoming.recv(&ends.theirs, Deadline::NEVER).unwrap().bytes, bytes);
            });
        }
    }
}

#[test]
fn five_mebibytes_both_ways_of_receiving() {
    let _watchdog = support::watchdog();
    let mut ends = ends(u64::MAX);
    let bytes = pattern(5 << 20);
    thread::scope(|scope| {
        scope.spawn(|| {
            for deadline in [Deadline::NEVER, Deadline::after(FAR), Deadline::NEVER] {
                ends.outgoing.send(&ends.ours, &bytes, &[], deadline).unwrap();
            }
        });
        let (incoming, socket) = (&mut ends.incoming, &ends.theirs);
        assert_eq!(incoming.recv(socket, Deadline::NEVER).unwrap().bytes, bytes);
        let same = incoming.recv_with(socket, Deadline::NEVER, |got, none| got == bytes && none.is_empty());
        assert!(same.unwrap());
        assert_eq!(incoming.recv(socket, Deadline::after(FAR)).unwrap().bytes, bytes);
    });
}

/// Sends `n` pipes and sees that the i-th received is the i-th sent.
fn descriptors_in_order(n: usize, bytes: &[u8]) {
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(u64::MAX);
    let (readers, writers): (Vec<_>, Vec<_>) = (0..n).map(|_| std::io::pipe().unwrap()).unzip();
    let borrowed: Vec<BorrowedFd<'_>> = readers.iter().map(AsFd::as_fd).collect();
    let message = thread::scope(|scope| {
        scope.spawn(|| outgoing.send(&ours, bytes, &borrowed, Deadline::NEVER).unwrap());
        incoming.recv(&theirs, Deadline::NEVER).unwrap()
    });
    drop(readers);
    assert_eq!((message.bytes.as_slice(), message.descriptors.len()), (bytes, n));
    for (i, mut writer) in writers.into_iter().enumerate() {
        writer.write_all(&(i as u32).to_le_bytes()).unwrap();
    }
    for (i, reader) in message.descriptors.into_iter().enumerate() {
        let mut number = Vec::new();
        std::io::PipeReader::from(reader).read_to_end(&mut number).unwrap();
        assert_eq!(number, (i as u32).to_le_bytes());
    }
}

#[test]
fn more_descriptors_than_a_packet_holds() {
    let _watchdog = support::watchdog();
    procession_sys::limits::raise_descriptor_limit().unwrap();
    for n in [1, MAX_DESCRIPTORS, MAX_DESCRIPTORS + 1, 600] {
        descriptors_in_order(n, b"");
        descriptors_in_order(n, b"small");
    }
    descriptors_in_order(600, &pattern(PAYLOAD + 1));
    descriptors_in_order(300, &pattern(5 * PAYLOAD));
}

#[test]
fn a_sender_that_gives_up_leaves_nothing_behind() {
    let _watchdog = support::watchdog();
    let mut ends = ends(u64::MAX);
    let long = pattern(1 << 20);
    for deadline in [Deadline::now(), Deadline::after(Duration::from_millis(5))] {
        assert!(matches!(ends.send(&long, deadline), Err(SendError::TimedOut)));
    }
    // The notice does not fit either as long as nobody reads.
    assert!(matches!(ends.send(b"x", Deadline::now()), Err(SendError::TimedOut)));
    assert!(matches!(ends.recv(Deadline::now()), Err(RecvError::TimedOut)));
    assert!(ends.incoming.is_inside());
    ends.send(b"after", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"after");
    assert!(!ends.incoming.is_inside());
    assert!(matches!(ends.recv(Deadline::now()), Err(RecvError::TimedOut)));
    ends.send(b"and again", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"and again");
}

#[test]
fn a_sender_that_gives_up_before_the_first_packet_sent_nothing() {
    let mut ends = ends(u64::MAX);
    let mut sent = 0_u32;
    while ends.send(&sent.to_le_bytes(), Deadline::now()).is_ok() {
        sent += 1;
    }
    for i in 0..sent {
        assert_eq!(ends.recv(Deadline::now()).unwrap(), i.to_le_bytes());
        assert!(!ends.incoming.is_inside());
    }
    assert!(matches!(ends.recv(Deadline::now()), Err(RecvError::TimedOut)));
    ends.send(b"next", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"next");
}

#[test]
fn a_receiver_that_gives_up_goes_on_where_it_was() {
    let _watchdog = support::watchdog();
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(u64::MAX);
    let (bytes, pipe) = (pattern(3 << 20), std::io::pipe().unwrap());
    thread::scope(|scope| {
        scope.spawn(|| outgoing.send(&ours, &bytes, &[pipe.0.as_fd(); 300], Deadline::NEVER).unwrap());
        let message = loop {
            match incoming.recv(&theirs, Deadline::now()) {
                Ok(message) => break message,
                Err(RecvError::TimedOut) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!((message.bytes == bytes, message.descriptors.len()), (true, 300));
    });
}

#[test]
fn too_large_is_refused_and_the_next_one_comes() {
    let _watchdog = support::watchdog();
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(100);
    let (reader, writer) = std::io::pipe().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for len in [100, 101, 5 * PAYLOAD, 99] {
                outgoing.send(&ours, &pattern(len), &[writer.as_fd(); 260], Deadline::NEVER).unwrap();
            }
        });
        assert_eq!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes, pattern(100));
        for expected in [101, 5 * PAYLOAD as u64] {
            match incoming.recv(&theirs, Deadline::NEVER) {
                Err(RecvError::TooLarge { len, limit: 100 }) => assert_eq!(len, expected),
                other => panic!("{other:?}"),
            }
        }
        let next = incoming.recv(&theirs, Deadline::NEVER).unwrap();
        assert_eq!((next.bytes, next.descriptors.len()), (pattern(99), 260));
    });
    drop(writer);
    assert_eq!({ reader }.read(&mut [0]).unwrap(), 0, "refused descriptors are closed");
}

#[test]
fn the_end_at_a_boundary_and_inside() {
    let mut closed = ends(u64::MAX);
    closed.send(b"last", Deadline::NEVER).unwrap();
    closed.ours = pair().unwrap().0;
    assert_eq!(closed.recv(Deadline::NEVER).unwrap(), b"last");
    assert!(matches!(closed.recv(Deadline::NEVER), Err(RecvError::Closed)));

    let mut cut = ends(u64::MAX);
    cut.send(&pattern(1 << 20), Deadline::now()).unwrap_err();
    cut.ours = pair().unwrap().0;
    match cut.recv(Deadline::NEVER) {
        Err(RecvError::ClosedInside { got, of }) => {
            assert_eq!((of, got % PAYLOAD as u64), (1 << 20, 0));
            assert!(got > 0 && got < of);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(cut.recv(Deadline::NEVER), Err(RecvError::Closed)));
}

#[test]
fn a_receiver_that_is_gone_is_an_error_to_the_sender() {
    let _watchdog = support::watchdog();
    let mut gone = ends(u64::MAX);
    gone.theirs = pair().unwrap().0;
    assert!(matches!(gone.send(b"x", Deadline::NEVER), Err(SendError::Closed)));
    let Ends { ours, theirs, mut outgoing, incoming: _ } = ends(u64::MAX);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| outgoing.send(&ours, &pattern(1 << 20), &[], Deadline::NEVER));
        assert!(
            procession_sys::poll::one(&theirs, procession_sys::poll::Interest::Readable, Deadline::NEVER)
                .unwrap()
        );
        drop(theirs);
        assert!(matches!(blocked.join().unwrap(), Err(SendError::Closed)));
    });
}

#[test]
fn a_successor_takes_over_a_sender_that_died_inside() {
    let mut ends = ends(u64::MAX);
    ends.send(&pattern(1 << 20), Deadline::now()).unwrap_err();
    while ends.recv(Deadline::now()).is_ok() {}
    ends.outgoing = Outgoing::resumed();
    ends.send(b"from the next one", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"from the next one");
    ends.outgoing = Outgoing::resumed();
    ends.send(b"nothing was void", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"nothing was void");
}

#[test]
fn a_socket_with_a_small_buffer_gets_small_packets() {
    let _watchdog = support::watchdog();
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(u64::MAX);
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 1).unwrap();
    let bytes = pattern(3 * PAYLOAD);
    thread::scope(|scope| {
        scope.spawn(|| {
            outgoing.send(&ours, &bytes, &[], Deadline::NEVER).unwrap();
            outgoing.send(&ours, &bytes, &[], Deadline::after(FAR)).unwrap();
        });
        for _ in 0..2 {
            assert!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes == bytes);
        }
    });
}

#[test]
fn a_notice_finds_room_where_nothing_else_does() {
    let mut ends = ends(u64::MAX);
    let long = pattern(1 << 20);
    for _ in 0..3 {
        assert!(matches!(ends.send(&long, Deadline::now()), Err(SendError::TimedOut)));
        ends.outgoing.give_up(&ends.ours);
        assert!(!ends.outgoing.owes_notice());
        // The room was lent and not given.
        assert!(matches!(ends.send(b"x", Deadline::now()), Err(SendError::TimedOut)));
        assert!(matches!(ends.recv(Deadline::now()), Err(RecvError::TimedOut)));
        assert!(!ends.incoming.is_inside());
    }
    ends.send(b"after", Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"after");
    assert!(matches!(ends.send(&long, Deadline::now()), Err(SendError::TimedOut)));
    ends.outgoing.give_up(&ends.ours);
    drop(ends.ours);
    assert!(matches!(ends.incoming.recv(&ends.theirs, Deadline::NEVER), Err(RecvError::Closed)));
}

#[test]
fn memory_given_back_does_not_replace_a_message_under_way() {
    let _watchdog = support::watchdog();
    let mut ends = ends(u64::MAX);
    let bytes = pattern(PAYLOAD + 9);
    let (beginning, rest) = bytes.split_at(PAYLOAD);
    let raw = ends.ours.try_clone().unwrap();
    let packet = |kind: &[u8; 4], number: usize, payload: &[u8]| {
        let packet = [&kind[..], &[0; 4], &(number as u64).to_le_bytes(), payload].concat();
        send_packet(&raw, &[IoSlice::new(&packet)], &[], Deadline::now()).unwrap();
    };
    // Longer than the room that is made ahead of the packets to come.
    let earlier = vec![1; 4 * PAYLOAD];
    let (lent, _) = thread::scope(|scope| {
        scope.spawn(|| ends.outgoing.send(&ends.ours, &earlier, &[], Deadline::NEVER).unwrap());
        ends.incoming.recv_lent(&ends.theirs, Deadline::NEVER, &mut Vec::new()).unwrap()
    });
    assert!(*lent == *earlier);
    packet(b"pMg1", bytes.len(), beginning);
    assert!(matches!(ends.incoming.recv(&ends.theirs, Deadline::now()), Err(RecvError::TimedOut)));
    ends.incoming.take_back(lent);
    packet(b"pMg+", PAYLOAD, rest);
    assert!(ends.incoming.recv(&ends.theirs, Deadline::now()).unwrap().bytes == bytes);
    // Between messages it is used, and what was in it is not seen.
    for len in [20_000, 5000, 3, 0, 70_000] {
        ends.send(&pattern(len), Deadline::now()).unwrap();
        let (lent, _) = ends.incoming.recv_lent(&ends.theirs, Deadline::now(), &mut vec![9; 7]).unwrap();
        assert!(*lent == *pattern(len));
        ends.incoming.take_back(lent);
    }
}

/// A message behind the room for its header.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM], bytes].concat()
}

#[test]
fn framed_messages_are_like_others() {
    let _watchdog = support::watchdog();
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(u64::MAX);
    let pipe = std::io::pipe().unwrap();
    for (len, n) in [(0, 0), (1, 0), (1, 2), (PAYLOAD, 0), (PAYLOAD + 1, 0), (3 * PAYLOAD, 300)] {
        let bytes = pattern(len);
        let fds = vec![pipe.0.as_fd(); n];
        let message = thread::scope(|scope| {
            scope.spawn(|| {
                outgoing.send_framed(&ours, &mut framed(&bytes), &fds, Deadline::NEVER).unwrap();
            });
            incoming.recv(&theirs, Deadline::NEVER).unwrap()
        });
        assert!(message.bytes == bytes && message.descriptors.len() == n, "{len} bytes");
    }
}

#[test]
fn a_framed_message_pays_what_is_owed() {
    let mut ends = ends(u64::MAX);
    assert!(matches!(ends.send(&pattern(1 << 20), Deadline::now()), Err(SendError::TimedOut)));
    assert!(matches!(ends.recv(Deadline::now()), Err(RecvError::TimedOut)));
    assert!(ends.incoming.is_inside() && ends.outgoing.owes_notice());
    ends.outgoing.send_framed(&ends.ours, &mut framed(b"after"), &[], Deadline::now()).unwrap();
    assert_eq!(ends.recv(Deadline::now()).unwrap(), b"after");
    assert!(!ends.outgoing.owes_notice());
}

#[test]
fn a_framed_message_finds_its_way_through_a_small_buffer() {
    let _watchdog = support::watchdog();
    let Ends { ours, theirs, mut outgoing, mut incoming } = ends(u64::MAX);
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 1).unwrap();
    let bytes = pattern(PAYLOAD);
    thread::scope(|scope| {
        scope.spawn(|| {
            outgoing.send_framed(&ours, &mut framed(&bytes), &[], Deadline::NEVER).unwrap();
            outgoing.send_framed(&ours, &mut framed(&bytes), &[], Deadline::after(FAR)).unwrap();
        });
        for _ in 0..2 {
            assert!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes == bytes);
        }
    });
    drop(theirs);
    let gone = outgoing.send_framed(&ours, &mut framed(b"x"), &[], Deadline::NEVER);
    assert!(matches!(gone, Err(SendError::Closed)));
}
