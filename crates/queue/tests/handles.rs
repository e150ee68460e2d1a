//! Handles in messages: they arrive with their message and nobody else's, and what is not sent is the sender's again.

mod parcel;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use parcel::pack;
use procession_codec::{Bytes, DecodeError, Descriptor, EncodeError, HandleError, handles};
use procession_queue::{
    AsBytes, Queue, Receiver, RecvError, SendFault, Sender, bounded, bounded_as, bounded_bytes,
};
use procession_shm::{Array, Atomic, Part, Segment, Value};
use procession_testkit::counted;
use serde::{Deserialize, Serialize};

/// A file that says which one it is.
fn file(n: u64) -> Descriptor {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&n.to_le_bytes()).unwrap();
    OwnedFd::from(reader).into()
}

/// Which one it is; then it is empty.
fn which(file: Descriptor) -> u64 {
    let mut bytes = Vec::new();
    File::from(file.into_owned().unwrap()).read_to_end(&mut bytes).unwrap();
    u64::from_le_bytes(bytes.try_into().unwrap())
}

#[test]
fn every_kind_of_handle_arrives() {
    counted(|| {
        #[derive(Serialize, Deserialize)]
        struct All {
            segment: Segment,
            array: Array<u32>,
            atomic: Atomic<u64>,
            value: Value<[u8; 3]>,
            tx: Sender<String>,
            rx: Receiver<String>,
            queue: Queue<u8>,
            file: Descriptor,
            text: String,
        }
        let (tx, rx) = bounded::<All>(4).unwrap();
        let (inner_tx, inner_rx) = bounded(4).unwrap();
        let all = All {
            segment: Segment::new(4096).unwrap(),
            array: Array::from_slice(&[1, 2, 3]).unwrap(),
            atomic: Atomic::new(7).unwrap(),
            value: Value::new([1, 2, 3]).unwrap(),
            tx: inner_tx.clone(),
            rx: inner_rx.clone(),
            queue: Queue::new(3).unwrap(),
            file: file(9),
            text: "beside them".into(),
        };
        let (atomic, queue) = (all.atomic.clone(), all.queue.clone());
        queue.send(4).unwrap();
        all.segment.put(8, &0x1234_u64).unwrap();
        tx.send(all).unwrap();
        let all = rx.recv().unwrap();
        assert_eq!((all.segment.get::<u64>(8).unwrap(), all.array.read()[2]), (0x1234, 3));
        all.atomic.fetch_add(1);
        assert_eq!(atomic.load(), 8);
        assert_eq!((all.value.get(), all.queue.recv().unwrap(), which(all.file)), ([1, 2, 3], 4, 9));
        all.tx.send("through both".into()).unwrap();
        inner_tx.send("and this".into()).unwrap();
        assert_eq!([inner_rx.recv().unwrap(), all.rx.recv().unwrap()], ["through both", "and this"]);
        assert_eq!(all.text, "beside them");
    });
}

/// Small messages, some in the ring of bytes, and some in pieces of their own.
#[test]
fn with_and_without_and_of_every_size() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Option<Descriptor>, Vec<u8>)>(8).unwrap();
        for (n, len) in (0..).zip([0, 1, 30, 40, 100, 10_000, 16_384, 16_385, 50_000].repeat(3)) {
            let with = n % 3 != 1;
            tx.send((n, with.then(|| file(n)), vec![n as u8; len])).unwrap();
            tx.send((n + 1000, None, vec![])).unwrap();
            tx.send((n, (!with).then(|| file(n)), vec![1; len / 2])).unwrap();
            for m in [n, n + 1000, n] {
                let (found, file, bytes) = rx.recv().unwrap();
                assert_eq!(found, m);
                assert!(file.is_none_or(|file| which(file) == n));
                assert!(bytes.len() <= len);
            }
        }
        assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    });
}

/// More than one packet carries, and as many as that.
#[test]
fn many_handles_in_one_message() {
    counted(|| {
        let (tx, rx) = bounded::<Vec<Descriptor>>(4).unwrap();
        let files: Vec<_> = (0..600).map(file).collect();
        for n in [1, 252, 253, 254, 300, 506, 507, 600] {
            tx.send(files[..n].to_vec()).unwrap();
            tx.send(files[n - 1..n].to_vec()).unwrap();
            assert_eq!(rx.recv().unwrap().len(), n);
            assert_eq!(rx.recv().unwrap().len(), 1);
        }
        tx.send(files).unwrap();
        for (n, file) in (0..).zip(rx.recv().unwrap()) {
            assert_eq!(which(file), n);
        }
    });
}

/// They are the receiver's own, and are not inherited by a program that it executes.
#[test]
fn what_arrives_is_closed_on_exec() {
    counted(|| {
        let (tx, rx) = bounded::<Vec<Descriptor>>(4).unwrap();
        tx.send((0..300).map(file).collect()).unwrap();
        for file in rx.recv().unwrap() {
            let flags = rustix::io::fcntl_getfd(file.as_fd()).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    });
}

#[test]
fn many_messages_through_a_small_queue() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Descriptor)>(3).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|n| tx.send((n, file(n))).unwrap()));
            for n in 0..1000 {
                let (found, file) = rx.recv().unwrap();
                assert_eq!((found, which(file)), (n, n));
            }
        });
    });
}

/// Many of each side, and each file with its own message.
#[test]
fn several_senders_and_receivers() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Option<Descriptor>)>(700).unwrap();
        let n_received: usize = thread::scope(|scope| {
            for sender in 0..3_u64 {
                let tx = tx.clone();
                scope.spawn(move || {
                    for n in 0..1000 {
                        let n = sender * 1000 + n;
                        tx.send((n, (n % 4 > 0).then(|| file(n)))).unwrap();
                    }
                });
            }
            drop(tx);
            let receive = || {
                rx.iter().inspect(|(n, file)| assert_eq!(file.is_some(), n % 4 > 0)).fold(
                    0,
                    |count, (n, file)| {
                        assert!(file.is_none_or(|file| which(file) == n));
                        count + 1
                    },
                )
            };
            let threads = [(); 3].map(|()| scope.spawn(receive));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(n_received, 3000);
    });
}

#[test]
fn batches() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Option<Descriptor>, Vec<u8>)>(1000).unwrap();
        let value = |n: u64| {
            let len = if n % 7 == 3 { 20_000 } else { (n % 50) as usize };
            (n, (n % 5 == 2 || n % 11 < 3).then(|| file(n)), vec![0; len])
        };
        assert_eq!(tx.send_many((0..300).map(value)).unwrap(), 300);
        let mut values = Vec::new();
        while values.len() < 300 {
            rx.recv_many(&mut values, 1000).unwrap();
        }
        for (n, (found, file, _)) in (0..).zip(values) {
            assert_eq!((found, file.is_some()), (n, n % 5 == 2 || n % 11 < 3));
            assert!(file.is_none_or(|file| which(file) == n));
        }
        // As many as there is room for; the others can be sent again.
        let error = tx.try_send_many((0..3000).map(|n| (n, Some(file(n)), vec![]))).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Full), "{error}");
        let n_sent = error.n_sent() as u64;
        let mut unsent = error.into_unsent();
        for n in 0..n_sent {
            assert_eq!(which(rx.recv().unwrap().1.unwrap()), n);
        }
        tx.send_many(unsent.by_ref().take(50)).unwrap();
        for n in n_sent..n_sent + 50 {
            assert_eq!(which(rx.recv().unwrap().1.unwrap()), n);
        }
    });
}

type Fails = fn(&Sender<Part<u32>>, Part<u32>) -> Result<(), procession_queue::SendError<Part<u32>>>;

/// A handle that moves is its sender's again when it was not sent, and no longer when it was.
#[test]
fn what_is_not_sent_can_be_used_and_sent_again() {
    counted(|| {
        let array = Array::from_slice(&[0_u32; 8]).unwrap();
        let mut part = array.split(1).next().unwrap();
        let (tx, rx) = bounded::<Part<u32>>(1).unwrap();
        let (full, full_rx) = bounded::<Part<u32>>(1).unwrap();
        full.send(Array::from_slice(&[1_u32]).unwrap().split(1).next().unwrap()).unwrap();
        let fails: [Fails; 2] =
            [|tx, part| tx.try_send(part), |tx, part| tx.send_timeout(part, Duration::from_millis(1))];
        for fails in fails {
            part = fails(&full, part).unwrap_err().into_value();
            part[0] += 1;
        }
        drop(full_rx);
        part = full.send(part).unwrap_err().into_value();
        part[0] += 1;
        tx.send(part).unwrap();
        let mut part = rx.recv().unwrap();
        part[0] += 1;
        drop(part);
        assert_eq!(array.read()[0], 4);
        tx.close();
    });
}

#[test]
fn a_batch_that_is_not_sent_rides_back() {
    counted(|| {
        let array = Array::from_slice(&[0_u32; 8]).unwrap();
        let (tx, rx) = bounded::<Part<u32>>(2).unwrap();
        let error = tx.try_send_many(array.split(4)).unwrap_err();
        assert_eq!(error.n_sent(), 2);
        for mut part in error.into_unsent() {
            part[0] = 1;
        }
        for mut part in rx.try_iter() {
            part[0] = 2;
        }
        assert_eq!(array.read()[..], [2, 0, 2, 0, 1, 0, 1, 0]);
    });
}

/// The message is gone, and its descriptors are closed; those behind it are not touched.
#[test]
fn who_cannot_decode_it_closes_it() {
    counted(|| {
        let (tx, rx) = bounded::<(u64, Descriptor, Vec<u8>)>(20).unwrap();
        let text: Receiver<String> = pack(&rx).unpack();
        let bytes: Receiver<Bytes, AsBytes> = pack(&rx).unpack();
        for len in [0, 20_000] {
            (0..6).for_each(|n| tx.send((n, file(n), vec![3; len])).unwrap());
            assert!(matches!(text.recv(), Err(RecvError::Decode(_))));
            let refused =
                |error| matches!(error, RecvError::Decode(DecodeError::Handle(HandleError::NotCarried)));
            assert!(refused(bytes.recv().unwrap_err()));
            assert!(refused(bytes.recv_ref().map(drop).unwrap_err()));
            assert!(refused(bytes.recv_many(&mut Vec::new(), 5).unwrap_err()));
            assert!(matches!(text.recv_many(&mut Vec::new(), 5), Err(RecvError::Decode(_))));
            let (n, file, _) = rx.recv().unwrap();
            assert_eq!((n, which(file)), (5, 5));
        }
    });
}

/// Nor does it matter that the queue is used while another carrier encodes.
#[test]
fn handles_go_with_the_innermost_message() {
    counted(|| {
        let (tx, rx) = bounded::<Descriptor>(1).unwrap();
        let (sent, outgoing) = handles::collect(|| Ok::<_, EncodeError>(tx.send(file(3)))).unwrap();
        sent.unwrap();
        assert!(outgoing.is_empty());
        drop(outgoing);
        let received = handles::supply(vec![file(4).into_owned().unwrap()], || rx.recv()).unwrap();
        assert_eq!(which(received), 3);
    });
}

#[test]
fn a_message_with_handles_can_be_too_large() {
    counted(|| {
        let (tx, rx) = bounded_bytes::<(Descriptor, Vec<u8>)>(4, 1000).unwrap();
        let error = tx.send((file(1), vec![0; 1000])).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { .. }));
        let error = tx.send_many([(file(1), vec![0; 1000])]).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TooLarge { .. }));
        tx.send((file(2), vec![0; 900])).unwrap();
        // No room in bytes.
        assert!(matches!(tx.try_send((file(1), vec![0; 900])).unwrap_err().fault(), SendFault::Full));
        assert_eq!(which(rx.recv().unwrap().0), 2);
        let (tx, rx) = bounded_as::<u64, procession_queue::AsPlain>(4, 1000).unwrap();
        tx.send(1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
    });
}

/// A file is read where the receiver of a copy left it.
#[test]
fn a_file_arrives_as_it_is() {
    counted(|| {
        let (tx, rx) = bounded::<Descriptor>(1).unwrap();
        let name = format!("{}-{}", procession_testkit::test_path(), std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "0123456789").unwrap();
        let mut ours = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        ours.seek(std::io::SeekFrom::Start(4)).unwrap();
        tx.send(ours.as_fd().try_clone_to_owned().unwrap().into()).unwrap();
        let theirs = File::from(rx.recv().unwrap().into_owned().unwrap());
        assert_eq!(std::io::read_to_string(theirs).unwrap(), "456789");
    });
}
