//! Connections of bytes: an empty message is one, what does not fit is not lost, and each form gives up as it says.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use procession_codec::{Bytes, Codec as _, Descriptor, Postcard};
use procession_pipe::{Connection, Duplex, IntoFdFault, RecvError, RecvIntoError, SendError};

use super::{FAR, Method, SOON, pattern};

fn echo(end: Connection) {
    while let Ok(bytes) = end.recv_bytes() {
        end.send_bytes(&bytes).unwrap();
    }
}

pub(crate) fn bytes_of_every_size_come_back<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    let peer = M::start(echo, theirs);
    let around = |n: usize| [n - 16, n - 1, n, n + 1];
    let sizes = [16, 2 << 10, 4 << 10, 128 << 10, 256 << 10].into_iter().flat_map(around);
    for size in [0, 1, 3 << 20, 0].into_iter().chain(sizes) {
        let bytes = pattern(size);
        ours.send_bytes(&bytes).unwrap();
        assert!(ours.recv_bytes().unwrap() == *bytes, "{size} bytes");
        ours.send_vectored(&[IoSlice::new(&bytes[..size / 3]), IoSlice::new(&bytes[size / 3..])]).unwrap();
        let mut buffer = vec![0; size + 9];
        assert_eq!(ours.recv_bytes_into(&mut buffer).unwrap(), size);
        assert!(buffer[..size] == *bytes && buffer[size..] == [0; 9], "{size} bytes in parts");
    }
    drop(ours);
    peer.join();
}

fn send_nothing_thrice_and_go(end: Connection) {
    end.send_bytes(b"").unwrap();
    end.send_vectored(&[]).unwrap();
    end.send_vectored(&[IoSlice::new(b""), IoSlice::new(b"")]).unwrap();
}

pub(crate) fn bytes_none_is_not_the_end<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    M::start(send_nothing_thrice_and_go, theirs).join();
    assert!(ours.poll(FAR).unwrap());
    assert_eq!(ours.recv_bytes().unwrap(), b"");
    assert_eq!(ours.try_recv_bytes_into(&mut []).unwrap(), 0);
    assert_eq!(ours.try_recv_bytes().unwrap(), b"");
    for _ in 0..2 {
        assert!(ours.poll(FAR).unwrap(), "the end is something to hear of");
        assert!(matches!(ours.recv_bytes(), Err(RecvError::Closed)));
        assert!(matches!(ours.try_recv_bytes(), Err(RecvError::Closed)));
        assert!(matches!(ours.recv_bytes_into(&mut []), Err(RecvIntoError::Recv(RecvError::Closed))));
    }
    assert!(matches!(ours.send_bytes(b""), Err(SendError::Closed)));
}

fn send_growing(end: Connection) {
    for len in [3, 4, 300_000, 5] {
        end.send_bytes(&pattern(len)).unwrap();
    }
}

pub(crate) fn bytes_too_many_for_a_buffer_are_not_lost<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    let peer = M::start(send_growing, theirs);
    let mut buffer = [9; 4];
    assert_eq!(ours.recv_bytes_into(&mut buffer[..3]).unwrap(), 3);
    let kept = buffer;
    match ours.recv_bytes_into(&mut buffer[..3]) {
        Err(RecvIntoError::BufferTooShort(message)) => assert_eq!(message, *pattern(4)),
        other => panic!("{other:?}"),
    }
    match ours.recv_bytes_into_timeout(&mut buffer, FAR) {
        Err(RecvIntoError::BufferTooShort(message)) => assert!(message == *pattern(300_000)),
        other => panic!("{other:?}"),
    }
    assert_eq!(buffer, kept, "nothing is written where not all is");
    match ours.recv_bytes_into_until(&mut [], Instant::now() + FAR) {
        Err(RecvIntoError::BufferTooShort(message)) => assert_eq!(message, *pattern(5)),
        other => panic!("{other:?}"),
    }
    peer.join();
}

fn receive_up_to_1000(end: Connection) {
    let end = end.with_limit(1000);
    loop {
        let said = match end.recv_bytes() {
            Ok(bytes) => bytes.len() as u64,
            Err(RecvError::TooLarge { len, limit: 1000 }) => len << 32,
            Err(RecvError::Closed) => return,
            Err(e) => panic!("{e}"),
        };
        end.send_bytes(&said.to_le_bytes()).unwrap();
    }
}

pub(crate) fn bytes_above_a_limit_are_refused<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    let ours = ours.with_limit(400_000);
    let peer = M::start(receive_up_to_1000, theirs);
    for len in [1000, 1001, 400_000, 1000, 0] {
        let parts = pattern(len);
        ours.send_bytes(&parts).unwrap();
        let said = u64::from_le_bytes(ours.recv_bytes().unwrap().try_into().unwrap());
        assert_eq!(said, if len > 1000 { (len as u64) << 32 } else { len as u64 });
        for too_many in [
            ours.send_bytes(&pattern(400_001)),
            ours.send_vectored(&[IoSlice::new(&pattern(400_000)), IoSlice::new(b"x")]),
        ] {
            assert!(matches!(too_many, Err(SendError::TooLarge { len: 400_001, limit: 400_000 })));
        }
    }
    drop(ours);
    peer.join();
}

/// Reads as many as it is told to, each one longer than the last.
fn count_when_told((go, end): (Duplex<usize, usize>, Connection)) {
    while let Ok(n_sent) = go.recv() {
        for n in 0..n_sent {
            assert_eq!(end.recv_bytes_timeout(FAR).unwrap(), n.to_string().into_bytes());
        }
        assert!(matches!(end.try_recv_bytes(), Err(RecvError::Empty)));
        go.send(&n_sent).unwrap();
    }
}

type Sends<'a> = dyn Fn(&[u8]) -> Result<(), SendError> + 'a;

/// Sends until that is refused, and says why. What was full may have room again: kernels move what they have.
fn until_refused(n: &mut usize, send: impl Fn(&[u8]) -> Result<(), SendError>) -> SendError {
    loop {
        match send(n.to_string().as_bytes()) {
            Ok(()) => *n += 1,
            Err(error) => return error,
        }
    }
}

pub(crate) fn bytes_give_up_in_every_form<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    let (go, their_go) = M::pipe::<usize, usize>().unwrap();
    let peer = M::start(count_when_told, (their_go, theirs));
    assert!(matches!(ours.try_recv_bytes(), Err(RecvError::Empty)));
    assert!(matches!(ours.recv_bytes_timeout(SOON), Err(RecvError::TimedOut)));
    assert!(matches!(ours.recv_bytes_until(Instant::now() + SOON), Err(RecvError::TimedOut)));
    assert!(matches!(ours.try_recv_bytes_into(&mut [0; 9]), Err(RecvIntoError::Recv(RecvError::Empty))));
    assert!(matches!(
        ours.recv_bytes_into_timeout(&mut [0; 9], Duration::ZERO),
        Err(RecvIntoError::Recv(RecvError::TimedOut))
    ));
    assert!(!ours.poll(Duration::ZERO).unwrap() && !ours.poll(SOON).unwrap());
    assert!(!ours.poll_until(Instant::now()).unwrap());
    for _ in 0..2 {
        let mut n = 0;
        let refused = until_refused(&mut n, |bytes| ours.try_send_bytes(bytes));
        assert!(matches!(refused, SendError::Full) && n > 50, "{refused:?} after {n}");
        let refused = until_refused(&mut n, |bytes| ours.try_send_vectored(&[IoSlice::new(bytes)]));
        assert!(matches!(refused, SendError::Full), "{refused:?}");
        assert!(matches!(ours.send_bytes_timeout(&pattern(5 << 20), SOON), Err(SendError::TimedOut)));
        let timed_out: [&Sends<'_>; 3] = [
            &|bytes| ours.send_bytes_until(bytes, Instant::now()),
            &|bytes| ours.send_vectored_timeout(&[IoSlice::new(bytes)], SOON),
            &|bytes| ours.send_vectored_until(&[IoSlice::new(bytes)], Instant::now()),
        ];
        for send in timed_out {
            let refused = until_refused(&mut n, send);
            assert!(matches!(refused, SendError::TimedOut), "{refused:?}");
        }
        go.send(&n).unwrap();
        assert_eq!(go.recv().unwrap(), n);
    }
    drop(go);
    peer.join();
}

fn typed_echo((into, end): (Connection, Duplex<u32, String>)) {
    let end = Connection::from(end);
    let text: String = Postcard::decode(&end.recv_bytes().unwrap()).unwrap();
    let end = end.into_duplex::<u32, String>();
    end.send(&(text.len() as u32)).unwrap();
    assert_eq!(end.recv().unwrap(), "again");
    into.send_bytes(b"done").unwrap();
}

pub(crate) fn bytes_and_values_are_one_connection<M: Method>() {
    let (ours, theirs) = M::pipe::<String, u32>().unwrap();
    let (from, into) = M::pair().unwrap();
    let peer = M::start(typed_echo, (into, theirs));
    ours.send(&"seven..".into()).unwrap();
    assert_eq!(ours.recv().unwrap(), 7);
    ours.send(&"again".into()).unwrap();
    assert_eq!(from.recv_bytes().unwrap(), b"done");
    peer.join();
}

fn adopt_and_echo(socket: Descriptor) {
    echo(Connection::try_from(socket.into_owned().unwrap()).unwrap());
}

pub(crate) fn bytes_over_a_descriptor<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    theirs.send_bytes(b"sent before").unwrap();
    ours.send_bytes(b"waits").unwrap();
    let peer = M::start(adopt_and_echo, Descriptor::from(theirs.into_fd().unwrap()));
    assert_eq!(ours.recv_bytes().unwrap(), b"sent before");
    assert_eq!(ours.recv_bytes().unwrap(), b"waits");
    drop(ours);
    peer.join();
}

fn keep(end: Duplex<(), Connection>) {
    let given = end.recv().unwrap();
    given.send_bytes(b"from there").unwrap();
    end.send(&()).unwrap();
    let _ = end.recv();
}

pub(crate) fn bytes_move_with_their_connection<M: Method>() {
    let (ours, theirs) = M::pipe::<Connection, ()>().unwrap();
    let peer = M::start(keep, theirs);
    let (near, far) = M::pair().unwrap();
    // A descriptor that is lent, or half a message, is in the way.
    let lent = far.descriptor().unwrap();
    let refused = far.into_fd().unwrap_err();
    assert_eq!(refused.why, IntoFdFault::Busy);
    drop(lent);
    let far = refused.connection;
    ours.send(&far).unwrap();
    assert!(matches!(far.send_bytes(b"x"), Err(SendError::Moved)));
    assert!(matches!(far.recv_bytes(), Err(RecvError::Moved)));
    assert!(matches!(far.poll(Duration::ZERO), Err(RecvError::Moved)));
    assert!(far.descriptor().is_none());
    assert_eq!(far.into_fd().unwrap_err().why, IntoFdFault::Moved);
    assert_eq!(near.recv_bytes().unwrap(), b"from there");
    ours.recv().unwrap();
    drop(ours);
    peer.join();
    assert!(matches!(near.recv_bytes(), Err(RecvError::Closed)));
}

fn send_a_large_one(end: Connection) {
    end.send_bytes(&pattern(5 << 20)).unwrap();
    end.send_bytes(b"next").unwrap();
}

pub(crate) fn bytes_half_received_stay_where_they_are<M: Method>() {
    let (ours, theirs) = M::pair().unwrap();
    let peer = M::start(send_a_large_one, theirs);
    let ours = ours.with_limit(1000);
    assert!(matches!(ours.recv_bytes(), Err(RecvError::TooLarge { .. })));
    let refused = ours.into_fd().unwrap_err();
    assert_eq!(refused.why, IntoFdFault::Busy);
    let ours = refused.connection;
    assert_eq!(ours.recv_bytes().unwrap(), b"next");
    let ours = Connection::try_from(ours.into_fd().unwrap()).unwrap();
    assert!(matches!(ours.recv_bytes(), Err(RecvError::Closed)));
    peer.join();
}

fn send_handles(end: Duplex<(Descriptor, Bytes), ()>) {
    for _ in 0..3 {
        let (reader, writer) = std::io::pipe().unwrap();
        end.send(&(OwnedFd::from(writer).into(), pattern(9))).unwrap();
        // Whoever receives bytes closes what comes along.
        assert_eq!(std::io::read_to_string(reader).unwrap(), "");
    }
}

pub(crate) fn bytes_come_without_the_handles_beside_them<M: Method>() {
    let (theirs, ours) = M::pipe::<(Descriptor, Bytes), ()>().unwrap();
    let ours = Connection::from(ours);
    let peer = M::start(send_handles, theirs);
    for _ in 0..2 {
        assert_eq!(ours.recv_bytes().unwrap().len(), 11);
    }
    assert_eq!(ours.recv_bytes_into(&mut [0; 11]).unwrap(), 11);
    peer.join();
}
