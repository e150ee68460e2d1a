//! Packets: whole or not at all, and everything that was sent comes before the end.

mod support;

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::event::Event;
use procession_sys::poll::{Interest, one, ready};
use procession_sys::socket::{
    MAX_DESCRIPTORS, RecvFailed, SendFailed, discard_packet, pair, peek_packet, recv_packet, send_packet,
};

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(5))
}

fn send(socket: &OwnedFd, bytes: &[u8], deadline: Deadline) -> Result<usize, SendFailed> {
    send_packet(socket, &[IoSlice::new(bytes)], &[], deadline)
}

fn recv(socket: &OwnedFd, deadline: Deadline) -> Result<Vec<u8>, RecvFailed> {
    let mut bytes = [0; 64];
    let packet = recv_packet(socket, &mut [IoSliceMut::new(&mut bytes)], &mut Vec::new(), deadline)?;
    Ok(bytes[..packet.bytes].to_vec())
}

#[test]
fn boundaries_are_kept_and_parts_are_joined() {
    let (ours, theirs) = pair().unwrap();
    assert_eq!(
        send_packet(&ours, &[IoSlice::new(b"one, "), IoSlice::new(b"joined")], &[], soon()).unwrap(),
        11
    );
    send(&ours, b"two", Deadline::NEVER).unwrap();
    let (mut head, mut tail) = ([0; 4], [0; 64]);
    let into = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
    let packet = recv_packet(&theirs, into, &mut Vec::new(), soon()).unwrap();
    assert_eq!((packet.bytes, &head, &tail[..7]), (11, b"one,", &b" joined"[..]));
    assert_eq!(recv(&theirs, Deadline::NEVER).unwrap(), b"two");
    assert!(matches!(recv(&theirs, Deadline::now()), Err(RecvFailed::TimedOut)));
    assert!(matches!(recv(&theirs, soon()), Err(RecvFailed::TimedOut)));
}

#[test]
fn the_end_comes_after_everything_sent() {
    let (ours, theirs) = pair().unwrap();
    send(&ours, b"last", soon()).unwrap();
    drop(ours);
    assert_eq!(recv(&theirs, Deadline::NEVER).unwrap(), b"last");
    for deadline in [Deadline::NEVER, Deadline::now(), soon()] {
        assert!(matches!(recv(&theirs, deadline), Err(RecvFailed::Closed)));
        assert!(matches!(send(&theirs, b"x", deadline), Err(SendFailed::Closed)));
    }
}

#[test]
fn an_end_that_left_packets_unread_hides_nothing() {
    let (ours, theirs) = pair().unwrap();
    send(&ours, b"never read", soon()).unwrap();
    send(&theirs, b"answer", soon()).unwrap();
    drop(theirs);
    // The system reports the unread packet first, as a reset connection.
    assert_eq!(recv(&ours, Deadline::NEVER).unwrap(), b"answer");
    assert!(matches!(recv(&ours, Deadline::NEVER), Err(RecvFailed::Closed)));
}

#[test]
fn an_empty_packet_is_not_the_end() {
    let (ours, theirs) = pair().unwrap();
    rustix::net::send(&ours, b"", rustix::net::SendFlags::empty()).unwrap();
    send(&ours, b"more", soon()).unwrap();
    assert_eq!(recv(&theirs, soon()).unwrap(), b"");
    assert_eq!(recv(&theirs, soon()).unwrap(), b"more");
}

#[test]
fn a_full_socket_times_out_and_goes_on_when_read() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = pair().unwrap();
    let mut sent = 0_u32;
    while send(&ours, &sent.to_le_bytes(), Deadline::now()).is_ok() {
        sent += 1;
    }
    assert!(sent > 10);
    assert!(matches!(send(&ours, b"full", Deadline::now()), Err(SendFailed::TimedOut)));
    assert!(matches!(send(&ours, b"full", soon()), Err(SendFailed::TimedOut)));
    let far = Deadline::after(Duration::from_secs(100));
    thread::scope(|scope| {
        let blocked = scope.spawn(|| send(&ours, b"late", far));
        for i in 0..sent {
            assert_eq!(recv(&theirs, Deadline::NEVER).unwrap(), i.to_le_bytes());
        }
        assert_eq!(blocked.join().unwrap().unwrap(), 4);
    });
    assert_eq!(recv(&theirs, Deadline::NEVER).unwrap(), b"late");
}

#[test]
fn waiting_for_ever_works_on_a_non_blocking_socket() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = pair().unwrap();
    for socket in [&ours, &theirs] {
        rustix::fs::fcntl_setfl(socket, rustix::fs::OFlags::NONBLOCK).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..10_000_u32).for_each(|i| _ = send(&ours, &i.to_le_bytes(), Deadline::NEVER).unwrap());
        });
        (0..10_000_u32).for_each(|i| assert_eq!(recv(&theirs, Deadline::NEVER).unwrap(), i.to_le_bytes()));
    });
}

#[test]
fn descriptors_arrive_in_order() {
    let (ours, theirs) = pair().unwrap();
    let pipes: Vec<_> = (0..MAX_DESCRIPTORS).map(|_| std::io::pipe().unwrap()).collect();
    let readers: Vec<BorrowedFd<'_>> = pipes.iter().map(|(reader, _)| reader.as_fd()).collect();
    send_packet(&ours, &[IoSlice::new(b"x")], &readers, Deadline::NEVER).unwrap();
    let mut received = Vec::new();
    recv_packet(&theirs, &mut [IoSliceMut::new(&mut [0; 8])], &mut received, Deadline::NEVER).unwrap();
    let writers: Vec<_> = pipes.into_iter().map(|(_, writer)| writer).collect();
    for (i, mut writer) in writers.into_iter().enumerate() {
        writer.write_all(&[i as u8]).unwrap();
    }
    for (i, reader) in received.into_iter().enumerate() {
        let mut byte = Vec::new();
        std::io::PipeReader::from(reader).read_to_end(&mut byte).unwrap();
        assert_eq!(byte, [i as u8]);
    }
}

fn peek(socket: &OwnedFd, descriptors: &mut Vec<OwnedFd>) -> Result<Vec<u8>, RecvFailed> {
    let mut bytes = [0; 64];
    let packet = peek_packet(socket, &mut [IoSliceMut::new(&mut bytes)], descriptors)?;
    Ok(bytes[..packet.bytes].to_vec())
}

#[test]
fn a_packet_that_was_looked_at_is_still_there() {
    let (ours, theirs) = pair().unwrap();
    assert!(matches!(peek(&theirs, &mut Vec::new()), Err(RecvFailed::TimedOut)));
    assert!(!discard_packet(&theirs).unwrap());
    let (reader, writer) = std::io::pipe().unwrap();
    send_packet(&ours, &[IoSlice::new(b"one")], &[reader.as_fd()], soon()).unwrap();
    send(&ours, b"two", soon()).unwrap();
    drop(reader);
    let mut copies = Vec::new();
    for n in 1..4 {
        assert_eq!((peek(&theirs, &mut copies).unwrap(), copies.len()), (b"one".to_vec(), n));
    }
    assert!(copies.iter().all(|fd| rustix::io::fcntl_getfd(fd).unwrap() == rustix::io::FdFlags::CLOEXEC));
    // The packet has the reader, too, until it is taken away.
    drop(copies);
    assert!(!one(&writer, Interest::HangUp, Deadline::now()).unwrap());
    assert!(discard_packet(&theirs).unwrap());
    assert_eq!((&writer).write(b"?").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    drop(ours);
    assert_eq!(peek(&theirs, &mut Vec::new()).unwrap(), b"two");
    assert!(discard_packet(&theirs).unwrap() && !discard_packet(&theirs).unwrap());
    assert!(matches!(peek(&theirs, &mut Vec::new()), Err(RecvFailed::Closed)));
}

#[test]
fn a_packet_longer_than_the_buffer_is_refused_whole() {
    let (ours, theirs) = pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    send_packet(&ours, &[IoSlice::new(&[1; 65])], &[writer.as_fd()], soon()).unwrap();
    drop(writer);
    assert!(matches!(recv(&theirs, soon()), Err(RecvFailed::Truncated)));
    // Its descriptor is closed, so the pipe has no writer left.
    assert_eq!({ reader }.read(&mut [0]).unwrap(), 0);
    send(&ours, b"next", soon()).unwrap();
    assert_eq!(recv(&theirs, soon()).unwrap(), b"next");
}

#[test]
#[should_panic(expected = "254 descriptors in one packet")]
fn too_many_descriptors_are_the_callers_bug() {
    let (ours, _theirs) = pair().unwrap();
    let _ = send_packet(&ours, &[IoSlice::new(b"x")], &[ours.as_fd(); MAX_DESCRIPTORS + 1], soon());
}

#[test]
#[should_panic(expected = "a packet without bytes")]
fn an_empty_packet_is_the_callers_bug() {
    let (ours, _theirs) = pair().unwrap();
    let _ = send(&ours, b"", soon());
}

#[test]
fn what_is_ready() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = pair().unwrap();
    let event = Event::new().unwrap();
    let all = [
        (theirs.as_fd(), Interest::Readable),
        (ours.as_fd(), Interest::Both),
        (event.as_fd(), Interest::Readable),
    ];
    assert_eq!(ready(&all, Deadline::NEVER).unwrap(), [false, true, false]);
    assert_eq!(ready(&all[..1], soon()).unwrap(), [false]);
    assert_eq!(ready(&all[2..], Deadline::now()).unwrap(), [false]);
    assert_eq!(ready(&[], soon()).unwrap(), [false; 0]);
    send(&ours, b"x", soon()).unwrap();
    event.notify();
    assert_eq!(ready(&all, Deadline::NEVER).unwrap(), [true; 3]);
    assert!(event.clear());
    assert!(!one(&event, Interest::Readable, Deadline::now()).unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| one(&event, Interest::Readable, Deadline::NEVER));
        event.notify();
        assert!(waiting.join().unwrap().unwrap());
    });
    recv(&theirs, soon()).unwrap();
    drop(ours);
    assert!(one(&theirs, Interest::Readable, Deadline::NEVER).unwrap(), "a hang-up is ready");
}

#[test]
fn errors_say_what_was_done() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let Err(failed) = send(&OwnedFd::from(file), b"x", soon()) else { panic!() };
    assert_eq!(failed.to_string(), "sending a packet: Socket operation on non-socket (os error 88)");
    let (ours, theirs) = pair().unwrap();
    drop(theirs);
    let closed = send(&ours, b"x", soon()).unwrap_err();
    assert_eq!(closed.to_string(), "sending a packet: the other end is closed");
}
