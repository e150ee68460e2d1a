//! Words of the signals that somebody has stored over, before a call and in the middle of it: every call with a limit
//! comes back, and none panics.
//!
//! Where the words of each object lie is written here as numbers, held by `the_words_are_where_they_are_looked_for`.

mod memory;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memory::{Memory, garbage};
use procession_codec::{Codec, DecodeError, Message, Postcard, handles};
use procession_raw::{Id, Owners};
use procession_shm::Shared;
use procession_shm::domain::Domain;
use procession_sync::{
    Barrier, Event, Failed, LazyShared, LockError, Once, OnceError, OrRepair, Permit, RwLock, Semaphore,
    SignalSemaphore,
};
use procession_testkit::{Storm, guarded};

const SOON: Duration = Duration::from_micros(50);
const N_THREADS: u32 = 3;
const N_CALLS: u32 = 400;

/// The words of the first places of a barrier, of its last one, and the number of parties.
const BARRIER: [usize; 9] = [0, 1, 2, 3, 4, 5, 2048, 2049, PARTIES];
const PARTIES: usize = 2050;
const SEMAPHORE: [usize; 6] = [0, 1, 2, 3, 1024, PERMITS];
const PERMITS: usize = 1025;
const TOKENS: [usize; 3] = [0, 1, 2];
/// The lock of the value lies in a cache line of its own, and its version and the two copies behind it.
const LAZY: [usize; 5] = [0, 16, 18, 20, 22];
/// Writer, sleepers, top, something spare, and the first and the last reader; those of the threads, too. Not the data,
/// which a reader has a reference to.
const RWLOCK: [usize; 6] = [0, 1, 2, 3, 16, 4111];

/// A thread's word as a reader, many times over.
const DEEP: u32 = (1 << 14) - 1;

fn me() -> Id {
    Domain::current().unwrap().me().unwrap()
}

/// Every call on an object, none of which waits for long.
trait Calls: Shared + Message + Debug + Sync {
    fn fresh() -> Self;

    fn calls(&self);

    /// Where the word of a thread is, if it has one of its own.
    fn word_of(_: Id) -> Option<usize> {
        None
    }
}

impl Calls for Event {
    fn fresh() -> Self {
        Self::new().unwrap()
    }

    fn calls(&self) {
        let _ = (self.is_set(), self.wait_timeout(SOON), self.wait_until(Instant::now()));
        self.clear();
        self.set();
        let _ = (self.try_wait(), self.wait_timeout(SOON));
    }
}

impl Calls for SignalSemaphore {
    fn fresh() -> Self {
        Self::new(2).unwrap()
    }

    fn calls(&self) {
        let _ = (self.available(), self.max(), self.acquire_timeout(SOON), self.try_acquire());
        let _ = (self.release(0), self.release(1), self.release(5000), self.acquire_until(Instant::now()));
    }
}

impl Calls for Semaphore {
    fn fresh() -> Self {
        Self::new(2).unwrap()
    }

    fn calls(&self) {
        assert!((1..=Self::MAX).contains(&self.permits()));
        let _ = (self.available(), self.holders(), self.release());
        let permits = [self.try_acquire(), self.acquire_timeout(SOON), self.acquire_until(Instant::now())];
        let _ = (self.release(), permits.iter().flatten().filter_map(Permit::left_by).count());
        drop(permits);
    }
}

impl Calls for Barrier {
    fn fresh() -> Self {
        Self::new(2).unwrap()
    }

    fn calls(&self) {
        assert!((1..=Self::MAX).contains(&self.parties()) && self.n_waiting() <= Self::MAX);
        drop((self.try_wait(), self.wait_timeout(SOON), self.is_broken()));
        self.reset();
        let place = self.attach();
        drop((self.try_wait(), self.wait_timeout(SOON), self.attach(), self.wait_until(Instant::now())));
        drop(place);
        self.abort();
        self.reset();
    }
}

impl Calls for Once {
    fn fresh() -> Self {
        Self::new().unwrap()
    }

    fn calls(&self) {
        let _ = (self.runner(), self.try_call_once(|| ()), self.is_done());
        let _ = (self.call_once_timeout(SOON, || ()), self.call_once_until(Instant::now(), || ()));
    }
}

impl Calls for LazyShared<u32> {
    fn fresh() -> Self {
        Self::new().unwrap()
    }

    fn calls(&self) {
        let _ = (self.try_get_or_init(|| 7), self.get(), self.get_or_init_timeout(SOON, || 8));
        let _ = self.get_or_init_until(Instant::now(), || 9);
    }
}

impl Calls for RwLock<u32> {
    fn fresh() -> Self {
        Self::new(7).unwrap()
    }

    fn word_of(id: Id) -> Option<usize> {
        Some((16 + id.slot() % 256 * 16 + id.slot() / 256) as usize)
    }

    fn calls(&self) {
        let outer = self.read_timeout(SOON);
        let inner = self.try_read();
        let _ = (self.readers(), self.writer());
        drop((inner, self.try_write(), outer, self.read_until(Instant::now())));
        if let Ok(mut guard) = self.write_timeout(SOON).or_carry_on() {
            *guard += 1;
            drop((self.try_read(), self.try_write()));
            drop((guard.downgrade(), self.try_read()));
        }
        drop(self.write_until(Instant::now()).or_repair(|number, _| *number = 7));
    }
}

/// Garbage in one word after the other, before the calls.
fn before_the_calls<T: Calls>(words: &[usize]) {
    guarded(|| {
        let object = T::fresh();
        let memory = Memory::of(&object);
        let words: Vec<usize> = words.iter().copied().chain(T::word_of(me())).collect();
        let idle: Vec<u32> = words.iter().map(|&at| memory.load(at)).collect();
        // Those of the semaphore and of the barrier may make it look at a thousand words.
        for word in garbage().into_iter().chain(as_readers(me())) {
            for &at in &words {
                words.iter().zip(&idle).for_each(|(&at, &word)| memory.store(at, word));
                memory.store(at, word);
                let _ = format!("{object:?}");
                object.calls();
            }
        }
    });
}

/// Garbage while threads call, and some of it names them.
fn while_others_call<T: Calls>(words: &[usize]) {
    guarded(|| {
        let object = T::fresh();
        let memory = Memory::of(&object);
        let (known, gone) = ([0; N_THREADS as usize].map(AtomicU32::new), AtomicU32::new(0));
        thread::scope(|s| {
            for known in &known {
                let (object, gone) = (&object, &gone);
                s.spawn(move || {
                    let _gone = Gone(gone);
                    known.store(me().to_bits(), Ordering::SeqCst);
                    (0..N_CALLS).for_each(|_| object.calls());
                });
            }
            let (mut storm, garbage) = (Storm::seeded(), garbage());
            while gone.load(Ordering::SeqCst) < N_THREADS {
                let id = Id::from_bits(storm.pick(&known).load(Ordering::SeqCst));
                let word = match storm.below(4) {
                    0 => *storm.pick(&garbage),
                    1 => *storm.pick(&as_readers(id)),
                    2 => 0,
                    _ => (storm.below(8) as u32) << 29 | id.to_bits(),
                };
                let at = T::word_of(id).filter(|_| storm.chance(1, 2));
                memory.store(at.unwrap_or_else(|| *storm.pick(words)), word);
            }
        });
    });
}

/// A thread that panics is gone, too.
struct Gone<'a>(&'a AtomicU32);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The words of a reader.
fn as_readers(id: Id) -> [u32; 4] {
    [1, 2, DEEP, 1 << 31 | DEEP].map(|depth| id.generation() << 14 | depth)
}

macro_rules! garbage {
    ($($name:ident: $object:ty, $words:expr;)+) => { $(
        mod $name {
            use super::*;

            #[test]
            fn before() {
                before_the_calls::<$object>(&$words);
            }

            #[test]
            fn meanwhile() {
                while_others_call::<$object>(&$words);
            }
        }
    )+ };
}

garbage! {
    event: Event, [0];
    tokens: SignalSemaphore, TOKENS;
    semaphore: Semaphore, SEMAPHORE;
    barrier: Barrier, BARRIER;
    once: Once, [0];
    lazy: LazyShared<u32>, LAZY;
    rwlock: RwLock<u32>, RWLOCK;
}

#[test]
fn the_words_are_where_they_are_looked_for() {
    guarded(|| {
        let semaphore = Semaphore::new(7).unwrap();
        let memory = Memory::of(&semaphore);
        let held = semaphore.acquire().unwrap();
        assert_eq!((memory.load(PERMITS), (1..8).filter(|&at| memory.load(at) != 0).count()), (7, 1));
        drop(held);
        let barrier = Barrier::new(7).unwrap();
        let memory = Memory::of(&barrier);
        let place = barrier.attach().unwrap();
        assert_eq!((memory.load(PARTIES), memory.load(2)), (7, 1 << 29 | me().to_bits()));
        drop(place);
        let memory = Memory::of(&SignalSemaphore::bounded(3, 5).unwrap());
        assert_eq!(TOKENS.map(|at| memory.load(at)), [6, 3, 5]);
        let lazy = LazyShared::new().unwrap();
        lazy.get_or_init(|| 7_u32).unwrap();
        let memory = Memory::of(&lazy);
        assert_eq!(LAZY.map(|at| memory.load(at)), [1 << 30, 0, 1, 0, 7]);
        let rwlock = RwLock::new(7_u32).unwrap();
        let (memory, guard) = (Memory::of(&rwlock), rwlock.read().unwrap());
        assert_eq!((memory.load(2), memory.load(4112)), (me().slot() + 1, 7));
        let mine = RwLock::<u32>::word_of(me()).unwrap();
        assert_eq!(memory.load(mine), me().generation() << 14 | 1);
        drop(guard);
    });
}

/// Sends an object to ourselves.
fn travel<T: Message>(object: &T) -> Result<T, DecodeError> {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(object, &mut bytes)).unwrap();
    let fds = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    handles::supply(fds, || Postcard::decode(&bytes))
}

#[test]
fn a_number_that_cannot_be_is_refused_on_arrival() {
    guarded(|| {
        let (semaphore, barrier) = (Semaphore::new(3).unwrap(), Barrier::new(3).unwrap());
        for (number, is_good) in [(0, false), (1, true), (1024, true), (1025, false), (u32::MAX, false)] {
            Memory::of(&semaphore).store(PERMITS, number);
            Memory::of(&barrier).store(PARTIES, number);
            assert_eq!(travel(&semaphore).is_ok(), is_good, "{number} permits");
            assert_eq!(travel(&barrier).is_ok(), is_good, "{number} parties");
        }
        // Of this one any numbers will do.
        let tokens = SignalSemaphore::bounded(3, 5).unwrap();
        Memory::of(&tokens).store(TOKENS[2], u32::MAX);
        assert_eq!(travel(&tokens).unwrap().max(), SignalSemaphore::MAX);
    });
}

#[test]
fn a_reader_whose_word_was_stored_over_is_told() {
    guarded(|| {
        let rwlock = RwLock::new(7_u32).unwrap();
        let memory = Memory::of(&rwlock);
        let outer = rwlock.read().unwrap();
        let mine = RwLock::<u32>::word_of(me()).unwrap();
        memory.store(mine, as_readers(me())[2]);
        assert_eq!(LockError::from(rwlock.read().unwrap_err()), LockError::Corrupt);
        drop(outer);
        assert!(matches!(rwlock.write(), Err(Failed::Deadlock)));
        memory.store(mine, 0);
        *rwlock.write().unwrap() += 1;
    });
}

#[test]
fn a_value_that_somebody_seems_to_make_for_ever() {
    guarded(|| {
        let lazy = LazyShared::<u32>::new().unwrap();
        let memory = Memory::of(&lazy);
        thread::scope(|s| {
            let (id, ids) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let holder = s.spawn(move || {
                id.send(me()).unwrap();
                ended.recv().unwrap_err();
            });
            let other = ids.recv().unwrap();
            memory.store(LAZY[1], 1 << 29 | other.to_bits());
            assert_eq!(lazy.get_or_init(|| 7), Err(OnceError::Corrupt));
            assert_eq!(lazy.get(), None);
            drop(end);
            holder.join().unwrap();
        });
        // Who is dead has it no longer.
        assert_eq!(lazy.get_or_init(|| 7), Ok(7));
    });
}
