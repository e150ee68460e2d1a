//! Queues of jobs whose memory somebody stores over, or that is none: every call comes back, with an error or with some
//! value, and none panics. And those for which there is no memory or no place.

#[path = "memory/mod.rs"]
mod memory;
mod parcel;

use std::os::fd::AsFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use memory::descriptor;
use parcel::pack;
use procession_codec::Bytes;
use procession_queue::{
    AsBytes, JobOptions, JobReceiver, JobSender, JobsError, RecvError, SendFault, bounded_as, jobs,
};
use procession_raw::{Id, Owners};
use procession_shm::ShmError;
use procession_shm::domain::Domain;
use procession_sys::Deadline;
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::wait::{self, Waitable};
use procession_testkit::{Role, Storm, counted, guarded, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const SHORT: Duration = Duration::from_micros(100);
const LENGTHS: [usize; 3] = [30, 900, 17_000];
const WORDS_AT: usize = 64;
/// The words of the ring, then the bell.
const BYTES_AT: usize = WORDS_AT + 6 * 128 + 64;
const TAIL: usize = 128;
const HEAD: usize = 384;
const RING: [usize; 9] = [0, 4, TAIL, 256, 260, HEAD, 512, 516, 640];
const SLOTS: usize = BYTES_AT + 128;
/// For nine jobs: 16 slots; the seats; the cells in pages of their own.
const SEATS: usize = SLOTS + 16 * 16;
const CELLS: usize = BYTES_AT + (128_usize + 16 * 16 + 4094 * 32).next_multiple_of(4096);

type Tx = JobSender<Bytes, AsBytes>;
type Rx = JobReceiver<Bytes, AsBytes>;

fn message(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

/// Three jobs that are queued, one with us, one put back, one a dead letter.
fn filled() -> (Tx, Rx, procession_queue::Job<Bytes>) {
    let (tx, rx) = JobOptions::new(9).bytes(100_000).max_deliveries(2).create_as().unwrap();
    (0..3).for_each(|_| tx.try_send(message(20)).unwrap());
    let job = rx.recv().unwrap();
    rx.recv().unwrap().put_back();
    rx.recv().unwrap().put_back();
    rx.recv().unwrap().put_back();
    LENGTHS.iter().for_each(|len| tx.try_send(message(*len)).unwrap());
    (tx, rx, job)
}

struct Memory(Mapping);

impl Memory {
    fn of(tx: &Tx) -> Self {
        Self(Mapping::shared(&Memfd::adopt_sparse(descriptor(tx)).unwrap()).unwrap())
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        self.0.atomic_u32(at)
    }
}

fn places() -> Vec<usize> {
    let ring = RING.into_iter().chain([768]).map(|at| WORDS_AT + at);
    let numbers = (0..4).map(|n| BYTES_AT + 64 + 4 * n);
    let slots = (0..28).map(|n| SLOTS + 4 * n);
    let seats = (0..16).map(|n| SEATS + 4 * n);
    let cells = (0..7).flat_map(|cell| (0..13).map(move |n| CELLS + 128 * cell + 4 * n));
    ring.chain(numbers).chain(slots).chain(seats).chain(cells).collect()
}

fn garbage(storm: &mut Storm) -> Vec<u32> {
    let me = Domain::current().unwrap().me().unwrap();
    let ids = [me, Id::new(me.slot(), me.generation() + 1), Id::new(4095, 7)].map(Id::to_bits);
    let mut words: Vec<u32> =
        ids.into_iter().flat_map(|id| (0..8).map(move |flags| flags << 29 | id)).collect();
    // Positions, seats, and what is left and buried.
    words.extend([2 << 30, 2 << 30 | 4, 3 << 30 | 1 << 12, 3 << 30 | 7, 7 << 29 | 4095, 3 << 30 | 4094]);
    words.extend([1, 2, 8, 300_000, 1 << 24, u32::MAX - 8, u32::MAX]);
    words.extend((0..4).map(|_| storm.bits() as u32));
    words
}

/// All that can be done, by the forms that do not wait for long. Says whether anything is called corrupt.
fn use_it(tx: &Tx, rx: &Rx) -> bool {
    let mut is_corrupt = false;
    let _ = (tx.len(), tx.unfinished(), rx.is_empty(), rx.is_closed(), format!("{tx:?} {rx:?}"));
    for round in 0..2 {
        for len in LENGTHS {
            let sent =
                if round == 0 { tx.try_send(message(len)) } else { tx.send_timeout(message(len), SHORT) };
            is_corrupt |= sent.is_err_and(|e| matches!(e.fault(), SendFault::Corrupt));
        }
        let limit = || if round == 0 { Deadline::now() } else { Deadline::after(SHORT) };
        let things: [&dyn Waitable; 2] = [rx, tx];
        for things in [&things[..1], &things[1..], &things] {
            wait::any(things, limit()).unwrap();
        }
        let joined = if round == 0 { tx.try_join() } else { tx.join_timeout(SHORT) };
        let _ = joined.map_err(|error| error.to_string());
        for n in 0..5 {
            match if round == 0 { rx.try_recv() } else { rx.recv_timeout(SHORT) } {
                // Whatever the words say, it is no longer than all may be together.
                Ok(job) if n == 2 => job.put_back(),
                Ok(job) => assert!(job.len() <= 100_000),
                Err(error) => is_corrupt |= matches!(error, RecvError::Corrupt),
            }
        }
        let mut many = Vec::new();
        let _ = rx.try_recv_many(&mut many, 2);
        assert!(many.len() <= 2);
        tx.dead_letters()
            .into_iter()
            .for_each(|letter| assert!(letter.into_value().unwrap().len() <= 100_000));
    }
    is_corrupt
}

#[test]
fn the_words_are_where_they_are_looked_for() {
    guarded(|| {
        let (tx, rx, job) = filled();
        let memory = Memory::of(&tx);
        let all =
            |places: &[usize]| places.iter().map(|at| memory.word(*at).load(SeqCst)).collect::<Vec<_>>();
        assert_eq!(all(&[WORDS_AT + TAIL, WORDS_AT + HEAD, WORDS_AT + 516]), [6, 3, 0]);
        assert_eq!(all(&[SLOTS, SLOTS + 16, SLOTS + 32]), [0, 1, 2]);
        assert_eq!(all(&[SEATS + 8, CELLS]), [std::process::id(), 3 << 30 | 1 << 12]);
        // One was put back twice, which made a dead letter of it, and the other once.
        let mut others = all(&[CELLS + 128, CELLS + 256]);
        others.sort_unstable();
        assert_eq!(others, [3 << 30 | 1 << 12 | 4095, 3 << 30 | 2 << 12 | 4094]);
        assert!(!use_it(&tx, &rx));
        drop(job);
        assert_eq!(all(&[CELLS]), [0]);
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
                let (tx, rx, job) = filled();
                Memory::of(&tx).word(at).store(*word, SeqCst);
                n_corrupt += u32::from(use_it(&tx, &rx));
                drop(job);
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
        let (tx, rx, _job) = filled();
        let memory = Memory::of(&tx);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(SeqCst) {
                        use_it(&tx, &rx);
                    }
                });
            }
            for _ in 0..30_000 {
                memory.word(*storm.pick(&places)).store(*storm.pick(&words), SeqCst);
                // So that something goes through.
                [0, 256, 516].iter().for_each(|at| memory.word(WORDS_AT + at).store(0, SeqCst));
                let head = memory.word(WORDS_AT + TAIL).load(SeqCst).wrapping_sub(storm.below(3) as u32);
                memory.word(WORDS_AT + HEAD).store(head, SeqCst);
                if storm.chance(1, 16) {
                    std::thread::yield_now();
                }
            }
            is_over.store(true, SeqCst);
        });
    });
}

#[test]
fn memory_that_is_no_queue_of_jobs() {
    guarded(|| {
        let (tx, _rx, _job) = filled();
        let arrives = |file: std::os::fd::OwnedFd| {
            let mut parcel = pack(&tx);
            parcel.descriptors[1] = file;
            parcel.try_unpack::<Tx>().is_ok()
        };
        assert!(arrives(descriptor(&tx)));
        let (other, _rx) = bounded_as::<Bytes, AsBytes>(9, 100_000).unwrap();
        assert!(!arrives(descriptor(&other)), "messages are no jobs");
        assert!(!arrives(std::fs::File::open("/dev/null").unwrap().into()));
        let memory = Memory::of(&tx);
        for at in (0..14).map(|n| BYTES_AT + 4 * n) {
            let good = memory.word(at).load(SeqCst);
            memory.word(at).store(good ^ 0x1000_0000, SeqCst);
            if let Ok(tx) = pack(&tx).try_unpack::<Tx>() {
                let _ = (tx.try_send(message(3)), tx.try_join());
            }
            memory.word(at).store(good, SeqCst);
        }
    });
}

fn in_a_process_of_its_own(body: fn()) {
    match role() {
        Some(_) => body(),
        None => counted(|| {
            drop(Role::new("poor").spawn().wait_with_output(Duration::from_secs(60)).expect_success());
        }),
    }
}

/// Runs `call` with a limit, which the call cannot raise.
fn limited<R>(resource: Resource, most: u64, call: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(most), maximum: before.maximum }).unwrap();
    let answer = call();
    setrlimit(resource, before).unwrap();
    answer
}

#[test]
fn without_memory_or_address_space_none_is_made() {
    in_a_process_of_its_own(|| {
        Domain::current().unwrap();
        counted(|| {
            for (what, most) in [(Resource::Fsize, 64), (Resource::As, 1 << 33)] {
                let made = limited(what, most, || JobOptions::new(1).bytes(1 << 32).create::<u8>());
                assert!(matches!(made, Err(ShmError::Os(_) | ShmError::OutOfMemory(_))), "{made:?}");
            }
            drop(JobOptions::new(1).bytes(1 << 32).create::<u8>().unwrap());
        });
    });
}

#[test]
fn a_thread_without_a_place_neither_sends_nor_receives() {
    in_a_process_of_its_own(|| {
        let small = Domain::with_slots(1).unwrap();
        Domain::adopt(small.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let (tx, rx) = jobs::<u8>(5).unwrap();
        tx.send(5).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(tx.send(6).unwrap_err().fault(), SendFault::NoSlot));
                assert!(matches!(rx.recv(), Err(RecvError::NoSlot)));
                assert!(matches!(tx.try_join(), Err(JobsError::Unfinished { n: 1 })));
            });
        });
        assert_eq!((rx.recv().unwrap().into_inner(), tx.try_join().is_ok()), (5, true));
    });
}
