//! Messages over streams: what is promised of packets holds, in whatever pieces the bytes come.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::message::{Fault, Incoming, Outgoing, PAYLOAD, Progress, RecvError, SendError};

const SOON: Duration = Duration::from_millis(5);

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// What is written to a stream for a message.
fn written(bytes: &[u8]) -> Vec<u8> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut all = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || Outgoing::over_stream().send(&ours, bytes, &[], Deadline::NEVER).unwrap());
        theirs.read_to_end(&mut all).unwrap();
    });
    all
}

fn head(kind: &[u8; 4], descriptors: u32, number: u64) -> Vec<u8> {
    [&kind[..], &descriptors.to_le_bytes(), &number.to_le_bytes()].concat()
}

/// What the receiver of these bytes answers, before and after the end.
fn received(bytes: &[u8], limit: u64) -> Vec<Result<Vec<u8>, String>> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut incoming = Incoming::over_stream(limit);
    let mut answers = Vec::new();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = ours.write_all(bytes);
        });
        loop {
            match incoming.recv(&theirs, Deadline::NEVER) {
                Ok(message) => answers.push(Ok(message.bytes)),
                Err(RecvError::Closed) => return,
                Err(error) => {
                    answers.push(Err(format!("{error:?}")));
                    if matches!(error, RecvError::Corrupt(_)) {
                        theirs.shutdown(std::net::Shutdown::Both).unwrap();
                        return;
                    }
                }
            }
        }
    });
    answers
}

#[test]
fn every_length_around_a_frame() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut outgoing, mut incoming) = (Outgoing::over_stream(), Incoming::over_stream(u64::MAX));
    for len in [0, 1, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 2 * PAYLOAD, 5 << 20, 3] {
        let bytes = pattern(len);
        thread::scope(|scope| {
            scope.spawn(|| outgoing.send(&ours, &bytes, &[], Deadline::NEVER).unwrap());
            assert!(incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes == bytes);
        });
        assert!(!incoming.is_inside() && !outgoing.owes_notice());
    }
}

#[test]
fn the_layout_is_fixed() {
    assert_eq!(written(b"hi"), b"pMg1\0\0\0\0\x02\0\0\0\0\0\0\0hi.");
    let long = written(&pattern(PAYLOAD + 1));
    assert_eq!(
        long[16 + PAYLOAD..],
        [&b".pMg+\0\0\0\0\0\0\x02\0\0\0\0\0"[..], &[pattern(PAYLOAD + 1)[PAYLOAD]], b"."].concat()
    );
}

/// One byte after the other, each in a call of its own that gives up before the next.
#[test]
fn the_smallest_pieces() {
    let _watchdog = support::watchdog();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut incoming = Incoming::over_stream(100);
    for message in [&b"abc"[..], b"", b"de"] {
        let bytes = written(message);
        for (i, byte) in bytes.iter().enumerate() {
            assert!(matches!(incoming.recv(&theirs, Deadline::now()), Err(RecvError::TimedOut)));
            assert_eq!(incoming.is_inside(), i > 0);
            ours.write_all(&[*byte]).unwrap();
        }
        assert_eq!(incoming.recv(&theirs, Deadline::now()).unwrap().bytes, message);
    }
}

/// A sender is killed after each of its bytes.
#[test]
fn cut_off_at_every_byte() {
    let _watchdog = support::watchdog();
    let all = written(b"abc");
    for n in 0..all.len() {
        let cut = [&written(b"before")[..], &all[..n]].concat();
        let mut expected = vec![Ok(b"before".to_vec())];
        match n {
            0 => {}
            1..16 => expected.push(Err(format!("ClosedInside {{ got: {n}, of: 16 }}"))),
            _ => expected.push(Err(format!("ClosedInside {{ got: {}, of: 3 }}", n - 16))),
        }
        assert_eq!(received(&cut, 100), expected, "{n} bytes");
    }
}

/// The sender gives up with every possible number of bytes in the socket, and goes on.
#[test]
fn given_up_at_many_places() {
    let _watchdog = support::watchdog();
    for len in [10_000, PAYLOAD, 3 * PAYLOAD + 7] {
        for ahead in (0..40).chain((0..20).map(|n| n * 9_999)) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut outgoing, mut incoming) = (Outgoing::over_stream(), Incoming::over_stream(1 << 20));
            outgoing.send(&ours, &pattern(ahead), &[], Deadline::now()).unwrap();
            // Until it does not fit.
            let mut n_whole = 0;
            while outgoing.send(&ours, &pattern(len), &[], Deadline::now()).is_ok() {
                n_whole += 1;
            }
            outgoing.give_up(&ours);
            thread::scope(|scope| {
                scope.spawn(|| outgoing.send(&ours, b"after", &[], Deadline::NEVER).unwrap());
                let mut recv = || incoming.recv(&theirs, Deadline::NEVER).unwrap().bytes;
                assert!(recv() == pattern(ahead));
                for _ in 0..n_whole {
                    assert!(recv() == pattern(len));
                }
                assert_eq!(recv(), b"after");
            });
        }
    }
}

/// By steps that do not wait; the sender goes on after so many of them, or gives up.
#[test]
fn advanced_step_by_step() {
    let _watchdog = support::watchdog();
    for len in [0, 1, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 12 * PAYLOAD + 7] {
        for n_steps in (0..12).chain([usize::MAX]) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (mut outgoing, mut incoming) = (Outgoing::over_stream(), Incoming::over_stream(4 << 20));
            let (message, mut progress, mut got) = (pattern(len), Progress::default(), Vec::new());
            let mut recv = |deadline| match incoming.recv(&theirs, deadline) {
                Ok(message) => {
                    got.push(message.bytes);
                    Some(())
                }
                Err(RecvError::TimedOut) => None,
                Err(error) => panic!("{error}"),
            };
            let is_sent = (0..n_steps).any(|_| {
                let is_sent = outgoing.advance(&ours, &message, &[], &mut progress).unwrap();
                assert_eq!(outgoing.owes_notice(), !is_sent && progress.has_begun());
                recv(Deadline::now());
                is_sent
            });
            if !is_sent {
                outgoing.give_up(&ours);
            }
            // What is owed may need room.
            while outgoing.send(&ours, b"after", &[], Deadline::now()).is_err() {
                recv(Deadline::now());
            }
            while recv(Deadline::now()).is_some() {}
            let mut expected = vec![message; usize::from(is_sent)];
            expected.push(b"after".to_vec());
            assert!(got == expected, "{len} bytes in {n_steps} steps: {} messages", got.len());
            assert!(is_sent || n_steps < usize::MAX);
        }
    }
}

#[test]
fn given_up_with_a_deadline_and_then_gone() {
    let _watchdog = support::watchdog();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut outgoing, mut incoming) = (Outgoing::over_stream(), Incoming::over_stream(u64::MAX));
    let large = pattern(5 << 20);
    for _ in 0..3 {
        assert!(matches!(outgoing.send(&ours, &large, &[], Deadline::after(SOON)), Err(SendError::TimedOut)));
        outgoing.give_up(&ours);
        assert!(outgoing.owes_notice());
    }
    drop(ours);
    assert!(
        matches!(incoming.recv(&theirs, Deadline::NEVER), Err(RecvError::ClosedInside { of, .. }) if of == 5 << 20)
    );
    assert!(matches!(incoming.recv(&theirs, Deadline::NEVER), Err(RecvError::Closed)));
    assert!(matches!(
        Outgoing::over_stream().send(&theirs, b"x", &[], Deadline::NEVER),
        Err(SendError::Closed)
    ));
}

#[test]
fn too_large_is_said_with_the_header_and_skipped() {
    let _watchdog = support::watchdog();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut incoming = Incoming::over_stream(1000);
    ours.write_all(&head(b"pMg1", 0, 1 << 63)).unwrap();
    let refused = incoming.recv(&theirs, Deadline::NEVER);
    assert!(matches!(refused, Err(RecvError::TooLarge { len, limit: 1000 }) if len == 1 << 63));
    assert!(matches!(incoming.recv(&theirs, Deadline::now()), Err(RecvError::TimedOut)));
    let bytes =
        [written(&pattern(300_000)), written(b"next"), written(&pattern(1001)), written(&pattern(1000))];
    let answers = received(&bytes.concat(), 1000);
    assert!(answers[0].as_ref().unwrap_err().contains("len: 300000"));
    assert_eq!(answers[1].as_deref().unwrap(), b"next");
    assert!(answers[2].as_ref().unwrap_err().contains("len: 1001"));
    assert!(answers[3].as_deref().unwrap() == pattern(1000) && answers.len() == 4);
}

#[test]
fn nonsense_is_corrupt_for_good() {
    let good = written(b"abc");
    let mut false_mark = good.clone();
    *false_mark.last_mut().unwrap() = b'?';
    let nonsense = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Fault::UnknownKind),
        (false_mark, Fault::UnknownKind),
        (head(b"pMg1", 1, 3), Fault::Descriptors),
        (head(b"pMg+", 0, 3), Fault::Stray),
        ([&written(&pattern(PAYLOAD + 1))[..17 + PAYLOAD], &good].concat(), Fault::Nested),
        ([&written(&pattern(PAYLOAD + 1))[..17 + PAYLOAD], &head(b"pMg+", 0, 3)].concat(), Fault::Gap),
    ];
    let _watchdog = support::watchdog();
    for (bytes, fault) in nonsense {
        let all = [good.clone(), bytes, good.clone()].concat();
        let answers = received(&all, 1 << 20);
        assert_eq!(answers, [Ok(b"abc".to_vec()), Err(format!("Corrupt({fault:?})"))]);
    }
}

#[test]
fn a_message_void_between_its_frames() {
    let _watchdog = support::watchdog();
    let begun = written(&pattern(PAYLOAD + 1))[..17 + PAYLOAD].to_vec();
    let all = [begun, head(b"pMg0", 0, 0), written(b"next")].concat();
    assert_eq!(received(&all, 1 << 20), [Ok(b"next".to_vec())]);
}
