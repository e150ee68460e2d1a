//! Packets that belong to no message, that lie, and that are not there: an error for the message that it hits, if any, the
//! others arrive with what is theirs, and no descriptor stays.

mod memory;
mod parcel;

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use memory::{LUGGAGE, Memory, SLOTS};
use parcel::pack;
use procession_codec::{DecodeError, Descriptor, HandleError};
use procession_queue::{Receiver, RecvError, SendFault, Sender, bounded};
use procession_sys::{Deadline, socket};
use procession_testkit::counted;

type Item = (u64, Vec<Descriptor>);

/// A file that says which one it is.
fn file(n: u64) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&n.to_le_bytes()).unwrap();
    reader.into()
}

fn item(n: u64) -> Item {
    (n, vec![file(n).into()])
}

fn is_right((n, files): Item) -> bool {
    let [file] = <[Descriptor; 1]>::try_from(files).unwrap();
    let mut says = [0; 8];
    File::from(file.into_owned().unwrap()).read_exact(&mut says).unwrap();
    u64::from_le_bytes(says) == n
}

fn is_missing<T>(received: Result<T, RecvError>) -> bool {
    matches!(received, Err(RecvError::Decode(DecodeError::Handle(HandleError::Missing { .. }))))
}

/// A queue, and somebody who sends packets to it.
struct Place {
    tx: Sender<Item>,
    rx: Receiver<Item>,
    memory: Memory,
    end: OwnedFd,
}

impl Place {
    fn new() -> Self {
        let (tx, rx) = bounded(100).unwrap();
        let (memory, end) = (Memory::of(&tx), pack(&tx).descriptors.remove(0));
        Self { tx, rx, memory, end }
    }

    fn packet(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        socket::send_packet(&self.end, &[IoSlice::new(bytes)], descriptors, Deadline::now()).unwrap();
    }

    /// With the label of the message that is sent next.
    fn false_packet(&self, n: u32, descriptors: &[BorrowedFd<'_>]) {
        self.labelled(u64::from(self.memory.load(LUGGAGE)) + 1, n, descriptors);
    }

    fn labelled(&self, number: u64, n: u32, descriptors: &[BorrowedFd<'_>]) {
        self.packet(&[&number.to_le_bytes()[..], &n.to_le_bytes()].concat(), descriptors);
    }

    /// Everything goes through.
    fn is_as_new(&self) {
        for n in 0..3 {
            self.tx.try_send(item(n)).unwrap();
            self.tx.try_send((7, vec![])).unwrap();
        }
        for n in 0..3 {
            assert!(is_right(self.rx.try_recv().unwrap()), "{n}");
            assert_eq!(self.rx.try_recv().unwrap().0, 7);
        }
        assert!(matches!(self.rx.try_recv(), Err(RecvError::Empty)));
        assert!(!socket::discard_packet(pack(&self.rx).descriptors.remove(0)).unwrap(), "a packet is left");
    }
}

/// Ahead of the right one.
#[test]
fn packets_of_no_message() {
    counted(|| {
        let place = Place::new();
        let files: Vec<_> = (0..socket::MAX_DESCRIPTORS as u64).map(file).collect();
        let all: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        for descriptors in [&all[..0], &all[..1], &all] {
            for len in [1, 8, 11, 12, 13, 100, 70_000] {
                place.packet(&vec![0; len], descriptors);
            }
            rustix::net::send(&place.end, b"", rustix::net::SendFlags::empty()).unwrap();
            place.is_as_new();
        }
        // Found by who finds nothing else, once anything was sent.
        place.packet(b"?", &all);
        place.tx.try_send(item(1)).unwrap();
        assert!(is_right(place.rx.try_recv().unwrap()));
        place.packet(b"?", &all);
        assert!(matches!(place.rx.try_recv(), Err(RecvError::Empty)));
        place.is_as_new();
    });
}

/// Under the number of a message, ahead of its own: it gets what is there, which says for itself what it is.
#[test]
fn packets_that_lie() {
    counted(|| {
        let place = Place::new();
        let (one, not_a_socket) = (file(1), file(2));
        let (trunk, _open) = socket::pair().unwrap();
        let closed = socket::pair().unwrap().0;
        for (n, descriptors) in [
            (0, vec![]),
            (0, vec![one.as_fd()]),
            (1, vec![]),
            (1, vec![one.as_fd(); 2]),
            (2, vec![one.as_fd()]),
            (253, vec![one.as_fd(); 252]),
            (254, vec![not_a_socket.as_fd()]),
            (300, vec![trunk.as_fd()]),
            (u32::MAX, vec![closed.as_fd()]),
            (300, vec![trunk.as_fd(); 2]),
            (300, vec![]),
        ] {
            place.false_packet(n, &descriptors);
            place.tx.try_send(item(3)).unwrap();
            place.tx.try_send(item(4)).unwrap();
            assert!(is_missing(place.rx.recv()), "{n} {}", descriptors.len());
            assert!(is_right(place.rx.recv().unwrap()));
            place.is_as_new();
        }
        // Trunks with too little in them, with bytes alone, with more than was said, and too few of them.
        for in_trunks in
            [vec![0, 0], vec![253, 0], vec![253, 46], vec![253, 48], vec![252, 48], vec![253; 3], vec![253]]
        {
            let trunks: Vec<_> = in_trunks.iter().map(|n| trunk_of(&vec![one.as_fd(); *n])).collect();
            let trunks: Vec<_> = trunks.iter().map(AsFd::as_fd).collect();
            place.false_packet(300, &trunks);
            place.tx.try_send(item(3)).unwrap();
            assert!(is_missing(place.rx.recv()), "{in_trunks:?}");
            place.is_as_new();
        }
    });
}

fn trunk_of(descriptors: &[BorrowedFd<'_>]) -> OwnedFd {
    let (ours, theirs) = socket::pair().unwrap();
    socket::send_packet(&ours, &[IoSlice::new(b"+")], descriptors, Deadline::now()).unwrap();
    theirs
}

/// The number in a slot is stored over.
#[test]
fn numbers_that_lie() {
    counted(|| {
        for (number, n_right) in [(0_u64, 1), (1, 1), (3, 0), (4, 0), (u64::MAX, 1), (1 << 63, 0)] {
            let place = Place::new();
            place.tx.try_send(item(1)).unwrap();
            assert!(is_right(place.rx.recv().unwrap()));
            place.tx.try_send(item(2)).unwrap();
            place.tx.try_send(item(3)).unwrap();
            let at = SLOTS + 64 + 56;
            assert_eq!((place.memory.load(at), place.memory.load(at + 4)), (2, 0));
            place.memory.store(at, number as u32);
            place.memory.store(at + 4, (number >> 32) as u32);
            // With the number of the other, it has the other's.
            if number == 3 {
                assert!(!is_right(place.rx.recv().unwrap()));
            } else {
                assert!(is_missing(place.rx.recv()), "{number}");
            }
            match n_right {
                1 => assert!(is_right(place.rx.recv().unwrap()), "{number}"),
                _ => assert!(is_missing(place.rx.recv()), "{number}"),
            }
            place.is_as_new();
        }
    });
}

/// It starts over after the greatest number, and may be set back.
#[test]
fn the_last_number_is_stored_over() {
    counted(|| {
        let place = Place::new();
        place.is_as_new();
        for last in [u64::MAX, u64::MAX - 2, 1 << 63, (1 << 63) - 2, 0, 1] {
            place.memory.store(LUGGAGE, last as u32);
            place.memory.store(LUGGAGE + 4, (last >> 32) as u32);
            place.is_as_new();
            place.tx.try_send(item(1)).unwrap();
            place.tx.try_send(item(2)).unwrap();
            place.memory.store(LUGGAGE, 0);
            place.tx.try_send(item(3)).unwrap();
            (0..3).for_each(|_| assert!(is_right(place.rx.recv().unwrap())));
            place.is_as_new();
        }
    });
}

/// A message is said to have luggage, and has none.
#[test]
fn luggage_that_was_never_sent() {
    counted(|| {
        for (n_bytes, is_corrupt) in [(5, true), (100, false), (20_000, false)] {
            let (tx, rx) = bounded::<Vec<u8>>(4).unwrap();
            tx.send(vec![1; n_bytes]).unwrap();
            tx.send(vec![2; n_bytes]).unwrap();
            let memory = Memory::of(&tx);
            memory.store(SLOTS + 20, memory.load(SLOTS + 20) | 1 << 31);
            if is_corrupt {
                assert!(matches!(rx.recv(), Err(RecvError::Corrupt)));
            } else {
                assert!(is_missing(rx.recv()));
                assert_eq!(rx.recv().unwrap(), vec![2; n_bytes]);
            }
        }
    });
}

/// The ends that arrive are of another pair, and of none.
#[test]
fn ends_that_lead_elsewhere() {
    counted(|| {
        let place = Place::new();
        let (other, across) = socket::pair().unwrap();
        let mut parcel = pack(&place.rx);
        parcel.descriptors[0] = other;
        let rx: Receiver<Item> = parcel.unpack();
        place.tx.try_send(item(1)).unwrap();
        assert!(is_missing(rx.recv()));
        place.is_as_new();
        drop(across);
        place.tx.try_send(item(1)).unwrap();
        assert!(is_missing(rx.recv()));
        let mut parcel = pack(&place.tx);
        parcel.descriptors[0] = socket::unconnected().unwrap();
        let tx: Sender<Item> = parcel.unpack();
        let sent = tx.try_send(item(1)).unwrap_err();
        assert!(matches!(sent.fault(), SendFault::Disconnected), "{sent}");
        assert!(is_right(sent.into_value()));
        let mut parcel = pack(&place.rx);
        parcel.descriptors[0] = socket::unconnected().unwrap();
        let rx: Receiver<Item> = parcel.unpack();
        place.tx.try_send(item(1)).unwrap();
        assert!(rx.recv().is_err());
    });
}
