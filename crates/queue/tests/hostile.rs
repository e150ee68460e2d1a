//! Memory that somebody stores over, and memory that is no queue: every call comes back, with an error or with some value,
//! and none panics or takes memory without bound.

mod memory;
mod parcel;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use memory::*;
use parcel::pack;
use procession_codec::Bytes;
use procession_queue::{AsBytes, AsPlain, Receiver, RecvError, SendFault, Sender, bounded_as};
use procession_raw::{Id, Owners};
use procession_shm::domain::Domain;
use procession_shm::{Atomic, Segment};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::{Storm, guarded};

/// The bit of a lock that somebody holds.
const OWNED: u32 = 1 << 29;
const SHORT: Duration = Duration::from_micros(100);
/// Of each kind.
const LENGTHS: [usize; 3] = [30, 900, 17_000];

type Tx = Sender<Bytes, AsBytes>;
type Rx = Receiver<Bytes, AsBytes>;

fn message(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

fn filled() -> (Tx, Rx) {
    let (tx, rx) = bounded_as(9, 100_000).unwrap();
    LENGTHS.iter().for_each(|len| tx.try_send(message(*len)).unwrap());
    (tx, rx)
}

/// The words that mean something, and what is behind them: a few of the extents, of their lengths and of the slots.
fn places() -> Vec<usize> {
    let words =
        [PRODUCERS, PRODUCERS + 4, TAIL, CONSUMERS, CONSUMERS + 4, HEAD, NOT_EMPTY, CLOSED, NOT_FULL, BELL];
    let extents = (0..3).map(|n| EXTENTS + 4 * n);
    let mail = (0..12).map(|n| MAIL + 4 * n);
    let numbers = (0..4).map(|n| MARKS + 8 * n);
    let pages = (0..2).map(|n| PAGES + 8 * n);
    let slots = (0..5).flat_map(|n| (0..4).map(move |word| SLOTS + 64 * n + 8 * word));
    let halves = numbers.chain(pages).chain(slots).flat_map(|at| [at, at + 4]);
    words.into_iter().chain(mail).chain(extents).chain(halves).collect()
}

fn garbage(storm: &mut Storm) -> Vec<u32> {
    let me = Domain::current().unwrap().me().unwrap();
    let ids = [me, Id::new(me.slot(), me.generation() + 1), Id::new(4095, 7)].map(Id::to_bits);
    let mut words: Vec<u32> =
        ids.into_iter().flat_map(|id| (0..8).map(move |flags| flags << 29 | id)).collect();
    words.extend([0, 1, 2, 8, 300_000, 1 << 24, 1 << 25, 1 << 24 | 0xff, 1 << 31, u32::MAX - 8, u32::MAX]);
    words.extend((0..6).map(|_| storm.bits() as u32));
    words
}

/// All that can be done, by the forms that do not wait for long. Says whether anything is called corrupt.
fn use_it(tx: &Tx, rx: &Rx) -> bool {
    let mut is_corrupt = false;
    let _ = (tx.len(), rx.is_empty(), tx.is_full(), rx.is_closed(), format!("{tx:?} {rx:?}"));
    for round in 0..2 {
        for len in LENGTHS {
            let sent =
                if round == 0 { tx.try_send(message(len)) } else { tx.send_timeout(message(len), SHORT) };
            is_corrupt |= sent.is_err_and(|e| matches!(e.fault(), SendFault::Corrupt));
        }
        for _ in 0..4 {
            match if round == 0 { rx.try_recv() } else { rx.recv_timeout(SHORT) } {
                // Whatever the words say, it is no longer than all may be together.
                Ok(bytes) => assert!(bytes.len() <= 100_000),
                Err(error) => is_corrupt |= matches!(error, RecvError::Corrupt),
            }
        }
    }
    let _ = tx.try_send_many(LENGTHS.map(message));
    let mut received = Vec::new();
    let _ = rx.try_recv_many(&mut received, 5);
    is_corrupt
}

/// Batches of numbers, which are put and taken in one pass.
#[test]
fn garbage_in_the_counters_of_batches() {
    guarded(|| {
        let words = garbage(&mut Storm::seeded());
        let mut n_corrupt = 0;
        for at in [PRODUCERS + 4, TAIL, CONSUMERS + 4, HEAD] {
            for word in &words {
                let (tx, rx) = bounded_as::<u64, AsPlain>(100, 1 << 16).unwrap();
                tx.send_many(0..3).unwrap();
                Memory::of(&tx).store(at, *word);
                let corrupt = |error: &SendFault| matches!(error, SendFault::Corrupt);
                n_corrupt += u32::from(tx.try_send_many(0..256).is_err_and(|e| corrupt(e.fault())));
                let mut received = Vec::new();
                for max in [1, 300] {
                    let got = rx.try_recv_many(&mut received, max);
                    n_corrupt += u32::from(matches!(got, Err(RecvError::Corrupt)));
                }
            }
        }
        assert!(n_corrupt > 20, "{n_corrupt}");
    });
}

#[test]
fn the_words_are_where_they_are_looked_for() {
    guarded(|| {
        let (tx, rx) = filled();
        let memory = Memory::of(&tx);
        let all = |places: &[usize]| places.iter().map(|at| memory.load(*at)).collect::<Vec<_>>();
        assert_eq!(all(&[PRODUCERS, CONSUMERS, TAIL, HEAD, CLOSED]), [0, 0, 3, 0, 0]);
        assert_eq!((memory.n_queued(), memory.load(EXTENTS)), (1, 2 << 30 | 2));
        assert_eq!(all(&[PAGES, SLOTS, SLOTS + 64, SLOTS + 128]), [17_000, 30, 930, 17_930]);
        assert!((0..12).any(|n| memory.load(LAYOUT + 4 * n) == 100_000));
        rx.close();
        assert_eq!(memory.load(CLOSED), 1);
        assert!(!use_it(&tx, &rx));
    });
}

#[test]
fn garbage_in_every_word() {
    guarded(|| {
        let mut storm = Storm::seeded();
        let words = garbage(&mut storm);
        let mut n_corrupt = 0;
        for at in places() {
            for word in &words {
                let (tx, rx) = filled();
                Memory::of(&tx).store(at, *word);
                n_corrupt += u32::from(use_it(&tx, &rx));
            }
        }
        assert!(n_corrupt > 100, "{n_corrupt}");
    });
}

/// While it is used: what was checked is what is used.
#[test]
fn garbage_at_any_moment() {
    guarded(|| {
        let mut storm = Storm::seeded();
        let (words, places) = (garbage(&mut storm), places());
        let (tx, rx) = filled();
        let memory = Memory::of(&tx);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Relaxed) {
                        use_it(&tx, &rx);
                    }
                });
            }
            for _ in 0..30_000 {
                memory.store(*storm.pick(&places), *storm.pick(&words));
                // So that something goes through.
                [PRODUCERS, CONSUMERS, CLOSED].iter().for_each(|at| memory.store(*at, 0));
                memory.store(HEAD, memory.load(TAIL).wrapping_sub(storm.below(3) as u32));
                if storm.chance(1, 16) {
                    thread::yield_now();
                }
            }
            is_over.store(true, Relaxed);
        });
    });
}

/// Senders that come to hear that a queue is closed hold their lock while they look.
#[test]
fn who_heard_of_the_end_hears_it_whoever_is_in_the_middle() {
    guarded(|| {
        let (tx, rx) = filled();
        rx.close();
        assert_eq!(rx.try_iter().count(), LENGTHS.len());
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        let other = pack(&rx).unpack::<Rx>();
        thread::scope(|scope| {
            let (told, listen) = std::sync::mpsc::channel();
            let (stay, until) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                told.send(Domain::current().unwrap().me().unwrap()).unwrap();
                let _ = until.recv();
            });
            Memory::of(&tx).store(PRODUCERS, OWNED | listen.recv().unwrap().to_bits());
            for _ in 0..3 {
                assert!(matches!(rx.try_recv(), Err(RecvError::Closed)));
            }
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            // Who did not hear it cannot know.
            let heard = other.try_recv();
            assert!(matches!(heard, Err(RecvError::Contended { by: Some(_) })), "{heard:?}");
            Memory::of(&tx).store(PRODUCERS, 0);
            assert!(matches!(other.try_recv(), Err(RecvError::Closed)));
            drop(stay);
        });
    });
}

/// A sum that nothing can make true does not block for ever.
#[test]
fn a_sum_that_cannot_be_is_corrupt() {
    guarded(|| {
        for at in [SLOTS + 128, SLOTS + 132, SLOTS + 136, SLOTS + 140] {
            let (tx, _rx) = filled();
            Memory::of(&tx).store(at, 0x7fff_ffff);
            let mut sent = Ok(());
            for _ in 0..20 {
                sent = sent.and_then(|()| tx.send(message(900)).map_err(|e| e.into_parts().1));
            }
            assert!(matches!(sent, Err(SendFault::Corrupt)), "{at}: {sent:?}");
        }
    });
}

#[test]
fn a_layout_that_is_damaged() {
    guarded(|| {
        let (tx, rx) = filled();
        let memory = Memory::of(&tx);
        let mut n_accepted = 0;
        for at in (0..12).map(|n| LAYOUT + 4 * n) {
            let good = memory.load(at);
            for bit in 0..32 {
                memory.store(at, good ^ 1 << bit);
                // Another capacity makes sense, or a few bytes more in all, or less.
                if let (Ok(tx), Ok(rx)) = (pack(&tx).try_unpack(), pack(&rx).try_unpack()) {
                    n_accepted += 1;
                    use_it(&tx, &rx);
                }
            }
            memory.store(at, good);
        }
        assert!(n_accepted < 20, "{n_accepted}");
        // Who had it before knows better.
        (0..12).for_each(|n| memory.store(LAYOUT + 4 * n, 0));
        assert!(pack(&tx).try_unpack::<Tx>().is_err());
        let (tx, rx) = filled();
        (0..12).for_each(|n| Memory::of(&tx).store(LAYOUT + 4 * n, 0));
        assert!(!use_it(&tx, &rx));
    });
}

/// A copy of the first bytes of a queue, in a file of so many.
fn copy(tx: &Tx, len: usize) -> std::os::fd::OwnedFd {
    let from = Mapping::shared(&Memfd::adopt_sparse(descriptor(tx)).unwrap()).unwrap();
    let file = Memfd::sparse("procession-copy", len as u64).unwrap();
    let to = Mapping::shared(&file).unwrap();
    for at in (0..(64 + SLOTS).min(len)).step_by(4) {
        to.atomic_u32(at).store(from.atomic_u32(at).load(Relaxed), Relaxed);
    }
    file.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn memory_that_is_no_queue() {
    guarded(|| {
        let (tx, _rx) = filled();
        let whole = Mapping::shared(&Memfd::adopt_sparse(descriptor(&tx)).unwrap()).unwrap().len();
        let arrives = |file: std::os::fd::OwnedFd| {
            let mut parcel = pack(&tx);
            parcel.descriptors[1] = file;
            parcel.try_unpack::<Tx>().is_ok()
        };
        assert!(arrives(copy(&tx, whole)), "a copy is one");
        for len in [64, 4096, whole - 4096, whole + 4096] {
            assert!(!arrives(copy(&tx, len)), "{len}");
        }
        assert!(!arrives(descriptor_of_first(&Atomic::new(0_u32).unwrap())));
        assert!(!arrives(descriptor_of_first(&Segment::new(whole.min(1 << 20)).unwrap())));
        assert!(!arrives(std::fs::File::open("/dev/null").unwrap().into()));
        assert!(!arrives(std::os::unix::net::UnixStream::pair().unwrap().0.into()));
        // Memory that need not be there is a queue's only.
        let mut parcel = pack(&Atomic::new(0_u32).unwrap());
        parcel.descriptors[0] = descriptor(&tx);
        assert!(parcel.try_unpack::<Atomic<u32>>().is_err());
    });
}

fn descriptor_of_first<T: procession_codec::Message>(object: &T) -> std::os::fd::OwnedFd {
    pack(object).descriptors.remove(0)
}
