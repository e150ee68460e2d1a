//! Depots that somebody stuffs, robs or breaks: an error for the job that it hits, if any, the others are delivered with what
//! is theirs, nothing blocks, and no descriptor stays.

#[path = "memory/mod.rs"]
mod memory;
mod parcel;

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use memory::descriptor;
use parcel::pack;
use procession_codec::{DecodeError, Descriptor, HandleError};
use procession_queue::{Job, JobOptions, JobReceiver, JobSender, RecvError};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{Deadline, socket};
use procession_testkit::counted;

type Item = (u64, Descriptor);

/// So many can be queued: the cells lie as in `jobs_hostile.rs`.
const CAPACITY: usize = 9;
const BYTES_AT: usize = 64 + 6 * 128 + 64;
const CELLS: usize = BYTES_AT + (128_usize + 16 * 16 + 4094 * 32).next_multiple_of(4096);
/// The number of a job's luggage, in its cell.
const NUMBER: usize = CELLS + 48;
/// That of the first job of a queue; the next have as much more, and the number of their cell.
const FIRST: u64 = 1 << 20;

/// A file that says which one it is, as often as it is asked.
fn file(n: u64) -> OwnedFd {
    let mut file = File::from(rustix::fs::memfd_create("", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&n.to_le_bytes()).unwrap();
    file.into()
}

fn item(n: u64) -> Item {
    (n, file(n).into())
}

fn is_right((n, file): &Item) -> bool {
    let mut says = [0; 8];
    File::from(file.clone().into_owned().unwrap()).read_exact_at(&mut says, 0).unwrap();
    u64::from_le_bytes(says) == *n
}

fn is_missing(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Handle(HandleError::Missing { .. }))
}

/// A queue, and somebody who has the ends of its depot.
struct Place {
    tx: JobSender<Item>,
    rx: JobReceiver<Item>,
    ends: [OwnedFd; 2],
}

impl Place {
    fn new() -> Self {
        let (tx, rx) = JobOptions::new(CAPACITY).deliver_without_limit().create().unwrap();
        let mut descriptors = pack(&tx).descriptors;
        let ends = descriptors.split_off(descriptors.len() - 2);
        Self { tx, rx, ends: ends.try_into().unwrap() }
    }

    /// A receiver of the same queue with another depot.
    fn with_ends(&self, [a, b]: [OwnedFd; 2]) -> Result<JobReceiver<Item>, DecodeError> {
        let mut parcel = pack(&self.rx);
        parcel.descriptors.truncate(parcel.descriptors.len() - 2);
        parcel.descriptors.extend([a, b]);
        parcel.try_unpack()
    }

    /// Sends a packet into an end; whether there is room.
    fn packet(&self, end: usize, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
        socket::send_packet(&self.ends[end], &[IoSlice::new(bytes)], descriptors, Deadline::now()).is_ok()
    }

    fn labelled(&self, end: usize, number: u64, n: u32, descriptors: &[BorrowedFd<'_>]) -> bool {
        self.packet(end, &[&number.to_le_bytes()[..], &n.to_le_bytes()].concat(), descriptors)
    }

    /// Takes all packets away; how many there were.
    fn rob(&self) -> usize {
        let all = |end| (0..).take_while(|_| socket::discard_packet(end).unwrap()).count();
        self.ends.iter().map(all).sum()
    }

    fn send_and_hold(&self, n: u64) -> Job<Item> {
        self.tx.try_send(item(n)).unwrap();
        let job = self.rx.try_recv().unwrap();
        assert!(is_right(&job) && job.0 == n);
        job
    }

    /// What is said of a job whose handles are not there; and it is a dead letter, of which is said the same.
    fn loses_its_handles(&self, job: Job<Item>, what: &str) {
        job.put_back();
        let Err(RecvError::Decode(error)) = self.rx.recv() else { panic!("{what}") };
        assert!(is_missing(&error), "{what}: {error}");
        let [letter] = <[_; 1]>::try_from(self.tx.dead_letters()).unwrap();
        assert!(is_missing(&letter.into_value().unwrap_err()), "{what}");
    }

    /// Everything goes through, and nothing is left.
    fn is_as_new(&self) {
        let held: Vec<_> = (0..3).map(|n| self.send_and_hold(n)).collect();
        held.into_iter().for_each(Job::put_back);
        let held: Vec<_> = (0..3).map(|_| self.rx.try_recv().unwrap()).collect();
        assert!(held.iter().all(|job| is_right(job) && job.is_redelivered()));
        drop(held);
        assert!(matches!(self.rx.try_recv(), Err(RecvError::Empty)));
        self.tx.try_join().unwrap();
        assert_eq!(self.rob(), 0, "a packet is left");
    }
}

/// Packets that say nothing, at both ends, among those of a job that is held.
#[test]
fn garbage() {
    counted(|| {
        let place = Place::new();
        let files: Vec<_> = (0..socket::MAX_DESCRIPTORS as u64).map(file).collect();
        let all: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        for end in [0, 1] {
            for descriptors in [&all[..0], &all[..1], &all] {
                for len in [1, 8, 11, 12, 13, 100, 70_000] {
                    assert!(place.packet(end, &vec![0; len], descriptors));
                }
                rustix::net::send(&place.ends[end], b"", rustix::net::SendFlags::empty()).unwrap();
                let job = place.send_and_hold(7);
                assert!(place.packet(end, b"?", descriptors));
                job.put_back();
                let job = place.rx.recv().unwrap();
                assert!(is_right(&job));
                assert!(place.packet(end, b"?", descriptors));
                drop(job);
                place.is_as_new();
            }
        }
    });
}

/// Packets of no job, however near their numbers are to that of one, are not taken for its own, and go when somebody finds
/// nothing to receive; its own stays.
#[test]
fn numbers_of_no_job() {
    const NEAR: [u64; 9] =
        [0, 1, FIRST - 1, FIRST + 1, FIRST * 2, FIRST + 0xf_ffff, 1 << 63 | FIRST, u64::MAX, u64::MAX << 20];
    counted(|| {
        for end in [0, 1] {
            let (place, another) = (Place::new(), file(8));
            let send_all = || {
                for number in NEAR {
                    assert!(place.labelled(end, number, 1, &[another.as_fd()]));
                    assert!(place.labelled(end, number, u32::MAX, &[another.as_fd()]));
                }
            };
            // Ahead of its own.
            send_all();
            place.send_and_hold(7).put_back();
            let job = place.rx.recv().unwrap();
            assert!(is_right(&job), "another's");
            // Behind it.
            send_all();
            assert!(matches!(place.rx.try_recv(), Err(RecvError::Empty)));
            job.put_back();
            let job = place.rx.recv().unwrap();
            assert!(is_right(&job), "another's");
            assert_eq!(place.rob(), 1, "its own and no other");
            drop(job);
            place.is_as_new();
        }
    });
}

/// Under the number of a job, in the place of its own: it gets what is there, which says for itself what it is.
#[test]
fn packets_that_lie() {
    counted(|| {
        for end in [0, 1] {
            let one = file(1);
            let (trunk, _open) = socket::pair().unwrap();
            let closed = socket::pair().unwrap().0;
            for (n, descriptors) in [
                (0, vec![]),
                (0, vec![one.as_fd()]),
                (1, vec![]),
                (1, vec![one.as_fd(); 2]),
                (2, vec![one.as_fd()]),
                (254, vec![one.as_fd(); 2]),
                (300, vec![trunk.as_fd(), closed.as_fd()]),
                (u32::MAX, vec![trunk.as_fd(); 253]),
            ] {
                let place = Place::new();
                let job = place.send_and_hold(7);
                assert_eq!(place.rob(), 1);
                assert!(place.labelled(end, FIRST, n, &descriptors));
                place.loses_its_handles(job, &format!("{n} {}", descriptors.len()));
                place.is_as_new();
            }
            let place = Place::new();
            let job = place.send_and_hold(7);
            place.rob();
            assert!(place.labelled(end, FIRST, 1, &[one.as_fd()]));
            job.put_back();
            assert!(!is_right(&place.rx.recv().unwrap()));
            place.is_as_new();
        }
    });
}

#[test]
fn packets_that_are_not_there() {
    counted(|| {
        let place = Place::new();
        let (job, other) = (place.send_and_hold(7), place.send_and_hold(8));
        assert_eq!(place.rob(), 2);
        place.loses_its_handles(job, "robbed");
        // Who has them in his hands works on, and ends it.
        assert!(is_right(&other));
        drop(other);
        place.is_as_new();
    });
}

/// The number in a cell is stored over.
#[test]
fn numbers_that_lie() {
    counted(|| {
        for number in [0, 1, FIRST - 1, 2 * FIRST, 2 * FIRST + 1, u64::MAX] {
            let place = Place::new();
            let memory = Mapping::shared(&Memfd::adopt_sparse(descriptor(&place.tx)).unwrap()).unwrap();
            let (job, other) = (place.send_and_hold(7), place.send_and_hold(8));
            assert_eq!([0, 4].map(|at| memory.atomic_u32(NUMBER + at).load(SeqCst)), [FIRST as u32, 0]);
            memory.atomic_u32(NUMBER).store(number as u32, SeqCst);
            memory.atomic_u32(NUMBER + 4).store((number >> 32) as u32, SeqCst);
            job.put_back();
            match place.rx.recv() {
                // With the number of the other, it has the other's.
                Ok(job) => assert!(number == 2 * FIRST + 1 && !is_right(&job)),
                Err(RecvError::Decode(error)) => assert!(is_missing(&error), "{number}: {error}"),
                Err(error) => panic!("{number}: {error}"),
            }
            if number == 2 * FIRST + 1 {
                drop(other);
            } else {
                other.put_back();
                assert!(is_right(&place.rx.recv().unwrap()), "{number}");
            }
            drop(place.tx.dead_letters());
            let _ = place.rx.try_recv();
            place.tx.try_join().unwrap();
        }
    });
}

/// As many as there is room for, at both ends, under the number of a job that is held: what is new stays queued until that
/// one has ended.
#[test]
fn a_depot_that_is_stuffed() {
    counted(|| {
        let place = Place::new();
        let (job, one) = (place.send_and_hold(7), file(1));
        for end in [0, 1] {
            assert!((0..10_000).any(|_| !place.labelled(end, FIRST, 1, &[one.as_fd()])));
        }
        place.tx.try_send(item(8)).unwrap();
        for _ in 0..3 {
            assert!(matches!(place.rx.recv(), Err(RecvError::Memory(_))));
            assert!(matches!(place.rx.try_recv(), Err(RecvError::Memory(_))));
            assert_eq!(place.tx.len(), 1);
        }
        drop(job);
        assert!(is_right(&place.rx.recv().unwrap()));
        place.is_as_new();
    });
}

/// While it is used: every call comes back; and all goes on when the depot is no longer full.
#[test]
fn garbage_at_any_moment() {
    counted(|| {
        let place = Place::new();
        let (is_over, one) = (AtomicBool::new(false), file(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in (0..).take_while(|_| !is_over.load(SeqCst)) {
                    let (end, number) = (n as usize % 2, ((n / 2 % 64 + 1) << 20) + n % 3);
                    place.labelled(end, number, n as u32 % 3, &[one.as_fd()]);
                    if n % 1000 == 0 {
                        let _ = socket::discard_packet(&place.ends[end]);
                    }
                }
            });
            for n in 0..300 {
                let _ = place.tx.try_send(item(n));
                match place.rx.try_recv() {
                    Ok(job) if n % 3 == 0 => job.put_back(),
                    Ok(job) => drop(job),
                    Err(RecvError::Decode(error)) => assert!(is_missing(&error), "{error}"),
                    Err(RecvError::Memory(_) | RecvError::Empty | RecvError::Contended { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                drop(place.tx.dead_letters());
            }
            is_over.store(true, SeqCst);
        });
        while place.tx.unfinished() > 0 {
            if let Err(RecvError::Memory(_)) = place.rx.try_recv() {
                place.rob();
            }
        }
        drop(place.tx.dead_letters());
        let _ = place.rx.try_recv();
        place.is_as_new();
    });
}

#[test]
fn ends_that_are_no_sockets() {
    counted(|| {
        let place = Place::new();
        let end = || place.ends[0].try_clone().unwrap();
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for wrong in [null(), std::io::pipe().unwrap().0.into(), stream.into(), datagrams.into()] {
            let copy = || wrong.try_clone().unwrap();
            for ends in [[copy(), end()], [end(), copy()], [copy(), copy()]] {
                assert!(matches!(
                    place.with_ends(ends),
                    Err(DecodeError::Malformed(_) | DecodeError::Handle(_))
                ));
            }
        }
        place.is_as_new();
    });
}

/// Of another pair whose other end is closed, of none, both the same, and the wrong way round.
#[test]
fn ends_that_lead_elsewhere() {
    counted(|| {
        let place = Place::new();
        let copy = |end: usize| place.ends[end].try_clone().unwrap();
        let closed = || socket::pair().unwrap().0;
        for ends in [
            [closed(), closed()],
            [closed(), copy(1)],
            [copy(0), closed()],
            [socket::unconnected().unwrap(), socket::unconnected().unwrap()],
        ] {
            let is_half = |end: &OwnedFd, own| {
                rustix::fs::fstat(end).unwrap().st_ino == rustix::fs::fstat(own).unwrap().st_ino
            };
            let keeps = is_half(&ends[1], &place.ends[1]);
            let rx = place.with_ends(ends).unwrap();
            // One that is new stays where it is, if its handles cannot be kept.
            place.tx.try_send(item(1)).unwrap();
            match rx.recv() {
                Ok(job) => assert!(keeps && is_right(&job)),
                Err(RecvError::Memory(_)) => assert!(is_right(&place.rx.recv().unwrap())),
                Err(error) => panic!("{error}"),
            }
            // One that comes back without them is a dead letter, and whose depot is whole has it with its handles.
            place.send_and_hold(2).put_back();
            match rx.recv() {
                Ok(job) => assert!(is_right(&job)),
                Err(RecvError::Decode(error)) => {
                    assert!(is_missing(&error), "{error}");
                    let [letter] = <[_; 1]>::try_from(place.tx.dead_letters()).unwrap();
                    assert!(is_right(&letter.into_value().unwrap()));
                }
                Err(RecvError::Memory(_)) => drop(place.rx.recv().unwrap()),
                Err(error) => panic!("{error}"),
            }
            let _ = rx.try_recv();
            drop(rx);
            let _ = place.rx.try_recv();
            place.is_as_new();
        }
        let rx = place.with_ends([copy(1), copy(0)]).unwrap();
        let job = place.send_and_hold(1);
        place.tx.try_send(item(2)).unwrap();
        let other = rx.recv().unwrap();
        job.put_back();
        let job = rx.recv().unwrap();
        assert!(is_right(&job) && is_right(&other) && job.is_redelivered());
        drop((job, other));
        place.is_as_new();
    });
}
