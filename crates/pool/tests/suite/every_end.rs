//! Every way a task can end, side by side, given in every way there is: one outcome for each, and for no other.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::thread;

use procession_codec::Descriptor;
use procession_pool::{ParProcs, Pool, SubmitError, TaskFailed};
use procession_testkit::Signal;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Build, Tally, expected, signal_self};

/// How an item ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Value,
    Panic,
    PanicWithABomb,
    Exit,
    ExitOfAThread,
    Abort,
    Killed,
    Terminated,
    Segfault,
    ArgumentNotEncoded,
    ArgumentNotDecoded,
    ArgumentPanics,
    ResultNotEncoded,
    ResultPanics,
    ResultNotDecoded,
}

use End::*;

const ALL: [End; 15] = [
    Value,
    Panic,
    PanicWithABomb,
    Exit,
    ExitOfAThread,
    Abort,
    Killed,
    Terminated,
    Segfault,
    ArgumentNotEncoded,
    ArgumentNotDecoded,
    ArgumentPanics,
    ResultNotEncoded,
    ResultPanics,
    ResultNotDecoded,
];
const ROUNDS: usize = 5;
const N: usize = ALL.len() * ROUNDS;

fn end_of(n: usize) -> End {
    // Another neighbour in each round.
    ALL[n * (1 + n / ALL.len()) % ALL.len()]
}

#[derive(Debug)]
struct Argument(usize);

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if end_of(self.0) == ArgumentNotEncoded {
            Err(S::Error::custom("no"))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = usize::deserialize(deserializer)?;
        match end_of(n) {
            ArgumentNotDecoded => Err(D::Error::custom("no")),
            ArgumentPanics => panic!("decoding {n}"),
            _ => Ok(Self(n)),
        }
    }
}

#[derive(Debug)]
struct Returned(usize);

impl Serialize for Returned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match end_of(self.0) {
            ResultNotEncoded => Err(S::Error::custom("no")),
            ResultPanics => panic!("encoding {}", self.0),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Returned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = usize::deserialize(deserializer)?;
        if end_of(n) == ResultNotDecoded { Err(D::Error::custom("no")) } else { Ok(Self(n)) }
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn task((tally, Argument(n)): (Descriptor, Argument)) -> Returned {
    Tally::strike(tally, n);
    match end_of(n) {
        Panic => panic!("item {n}"),
        PanicWithABomb => panic_any(Bomb),
        Exit => std::process::exit(3),
        ExitOfAThread => {
            thread::spawn(|| std::process::exit(4));
            loop {
                thread::park();
            }
        }
        Abort => std::process::abort(),
        Killed => signal_self(Signal::KILL),
        Terminated => signal_self(Signal::TERM),
        Segfault => signal_self(Signal::SEGV),
        _ => Returned(n),
    }
}

/// Item `n` was the task of this number, and ended as it is to end, and so often.
fn check(n: usize, base: u64, tally: &Tally, outcome: Result<Returned, TaskFailed>) {
    let end = end_of(n);
    let began = u64::from(![ArgumentNotEncoded, ArgumentNotDecoded, ArgumentPanics].contains(&end));
    assert_eq!(tally.count(n), began, "item {n}, {end:?}");
    if let Err(failure) = &outcome {
        assert_eq!(failure.task().number, base + n as u64 + 1, "item {n}, {end:?}");
    }
    let is_right = match &outcome {
        Ok(value) => value.0 == n && end == Value,
        Err(TaskFailed::Panicked { panic, .. }) => match end {
            Panic => panic.message == format!("item {n}"),
            PanicWithABomb => true,
            ArgumentPanics => panic.message == format!("decoding {n}"),
            ResultPanics => panic.message == format!("encoding {n}"),
            _ => false,
        },
        Err(TaskFailed::WorkerDied { exit, .. }) => match exit {
            procession_process::Exit::Code(code) => {
                (*code, end) == (3, Exit) || (*code, end) == (4, ExitOfAThread)
            }
            _ => [(6, Abort), (9, Killed), (15, Terminated), (11, Segfault)]
                .contains(&(exit.signal().map_or(0, |signal| signal.0), end)),
        },
        Err(TaskFailed::Argument { .. }) => end == ArgumentNotEncoded,
        Err(TaskFailed::ArgumentNotDecoded { .. }) => end == ArgumentNotDecoded,
        Err(TaskFailed::ResultNotEncoded { .. }) => end == ResultNotEncoded,
        Err(TaskFailed::ResultNotDecoded { .. }) => end == ResultNotDecoded,
        Err(_) => false,
    };
    assert!(is_right, "item {n} was to end by {end:?}: {outcome:?}");
}

fn items(tally: &Tally) -> impl Iterator<Item = (Descriptor, Argument)> {
    (0..N).map(|n| (tally.handle(), Argument(n)))
}

pub(crate) fn every_end_one_by_one(build: Build) {
    let (pool, tally) = (build().workers(2).build().unwrap(), Tally::new(N));
    let mut refused = 0;
    for (n, item) in items(&tally).enumerate() {
        match pool.submit(task, item) {
            // It has no number, so those that come have lower ones.
            Err(SubmitError::Argument(_)) => {
                assert_eq!(end_of(n), ArgumentNotEncoded);
                refused += 1;
            }
            Ok(one) => {
                assert_eq!(one.id().number + refused, n as u64 + 1);
                let outcome = one.get();
                match outcome {
                    Ok(value) => check(n, 0, &tally, Ok(value)),
                    Err(failure) => {
                        assert_eq!(failure.task().number + refused, n as u64 + 1);
                        assert_eq!(
                            tally.count(n),
                            u64::from(![ArgumentNotDecoded, ArgumentPanics].contains(&end_of(n)))
                        );
                    }
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_whole(&pool);
}

pub(crate) fn every_end_in_chunks(build: Build) {
    let pool = build().workers(2).build().unwrap();
    for (round, chunk) in [1, 3, 16, N].into_iter().enumerate() {
        let (tally, base) = (Tally::new(N), (round * N) as u64);
        let mut results = items(&tally).par_procs(&pool).chunk(chunk).in_flight(N).map(task);
        for n in 0..N {
            let outcome = results.next().expect("an outcome for each");
            check(n, base, &tally, outcome);
        }
        assert!(results.next().is_none());
    }
    assert_whole(&pool);
}

pub(crate) fn every_end_in_maps(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let tally = Tally::new(N);
    let outcomes = pool.map_each(task, items(&tally));
    assert_eq!(outcomes.len(), N);
    outcomes.into_iter().enumerate().for_each(|(n, outcome)| check(n, 0, &tally, outcome));
    // Unordered: each says who it was.
    let tally = Tally::new(N);
    let mut n_outcomes = 0;
    for outcome in pool.map_unordered(task, items(&tally)) {
        let n = match &outcome {
            Ok(value) => value.0,
            Err(failure) => failure.task().number as usize - N - 1,
        };
        check(n, N as u64, &tally, outcome);
        n_outcomes += 1;
    }
    assert_eq!(n_outcomes, N);
    // A whole map ends with the first failure in order.
    let tally = Tally::new(N);
    let first = (0..N).find(|n| end_of(*n) != Value).unwrap();
    let failure = pool.map_async(task, items(&tally)).get().expect_err("it fails");
    assert_eq!(failure.task().number, (2 * N + first) as u64 + 1);
    assert_whole(&pool);
}

/// Whatever was, it is there with all its workers.
fn assert_whole(pool: &Pool) {
    assert_eq!(pool.map(|n: u32| n, 0..100).unwrap(), Vec::from_iter(0..100));
    pool.warm_up().unwrap();
    assert_eq!(pool.pids().len(), 2);
}

/// Panics when it is encoded, if it is 20.
struct Explosive(u32);

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 20, "touched");
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

/// A panic of ours, in the iterator or while an item is encoded, is ours: nobody waits, and no item is run twice.
pub(crate) fn panics_on_our_side_of_a_map(build: Build) {
    let pool = build().workers(2).build().unwrap();
    for way in 0..6 {
        let tally = Tally::new(50);
        let iterate = |n: &usize| assert!(way % 2 == 1 || *n < 20, "the iterator gives up");
        let encode = |n: usize| Explosive(if way % 2 == 1 { n as u32 } else { 0 });
        let items = (0..50).inspect(iterate).map(|n| (tally.handle(), n, encode(n)));
        let task = |(tally, n, _): (Descriptor, usize, Explosive)| Tally::strike(tally, n);
        let caught = catch_unwind(AssertUnwindSafe(|| match way / 2 {
            0 => drop(pool.map(task, items)),
            1 => drop(pool.map_each(task, items)),
            _ => drop(pool.map_async(task, items)),
        }));
        assert!(caught.is_err(), "way {way}");
        assert_whole(&pool);
        assert!((0..50).all(|n| tally.count(n) <= u64::from(n < 20)), "way {way}");
    }
    let caught = catch_unwind(AssertUnwindSafe(|| drop(pool.submit(|e: Explosive| e.0, Explosive(20)))));
    assert!(caught.is_err());
    expected!(pool.apply(|e: Explosive| e.0, Explosive(2)), Ok(2));
    pool.join();
}
