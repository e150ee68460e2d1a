//! Tasks that fail while their worker lives.

use procession_codec::Bytes;
use procession_pool::{ParProcs, SubmitError, TaskFailed};
use procession_testkit::Signal;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Build, expected, signal_self};

fn picky(n: u32) -> u32 {
    assert!(n % 100 != 50, "{n} is not to be had");
    n
}

pub(crate) fn a_panic_costs_its_item(build: Build) {
    let pool = build().workers(1).name("picky").build().unwrap();
    let pids = pool.pids();
    for (n, result) in (0..1000).zip((0..1000).par_procs(&pool).map(picky)) {
        match result {
            Ok(value) => assert_eq!((value, true), (n, n % 100 != 50)),
            Err(error) => {
                assert_eq!(error.task().number, u64::from(n) + 1);
                let panic = error.panic().expect("a panic");
                assert_eq!(panic.message, format!("{n} is not to be had"));
                assert!(panic.location.contains("failures.rs:"), "{panic}");
                assert!(
                    error
                        .to_string()
                        .starts_with(&format!("task {} of pool picky in process picky-1", n + 1))
                );
            }
        }
    }
    assert_eq!(pool.pids(), pids, "nobody died of it");
    let first = pool.map(picky, 0..1000).unwrap_err();
    assert_eq!(first.panic().unwrap().message, "50 is not to be had");
}

pub(crate) fn thousands_of_panics(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let fails = |n: u32| -> u8 { std::panic::panic_any(n) };
    let mut n = 0;
    for result in (0..3000).par_procs(&pool).map(fails) {
        n += 1;
        assert_eq!(result.unwrap_err().task().number, n);
    }
    assert_eq!(n, 3000);
    assert_eq!(pool.map(picky, [1]).unwrap(), [1]);
}

/// Does not encode when odd; does not decode when divisible by 4.
#[derive(Debug, PartialEq)]
struct Difficult(u32);

impl Serialize for Difficult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 { Err(S::Error::custom("an odd number")) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Difficult {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(deserializer)?;
        if n % 4 == 0 { Err(D::Error::custom("divisible by four")) } else { Ok(Self(n)) }
    }
}

pub(crate) fn an_argument_that_does_not_encode(build: Build) {
    let pool = build().workers(1).build().unwrap();
    expected!(pool.submit(|_: Difficult| (), Difficult(1)), Err(SubmitError::Argument(_)));
    let numbers = (0..400).map(|n| if n % 7 == 3 { 2 * n + 1 } else { 4 * n + 2 });
    let items = numbers.clone().map(Difficult);
    let mut n = 0;
    for (number, result) in numbers.zip(items.par_procs(&pool).map(|d: Difficult| d.0)) {
        n += 1;
        match result {
            Ok(value) => assert_eq!(value, number),
            Err(TaskFailed::Argument { error, .. }) => {
                assert!(number % 2 == 1 && error.to_string().contains("an odd number"), "{number}: {error}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(n, 400);
    expected!(pool.map(|d: Difficult| d.0, [Difficult(2), Difficult(3)]), Err(TaskFailed::Argument { .. }));
}

pub(crate) fn an_argument_that_does_not_decode(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let items = (0..400).map(|n| Difficult(2 * n));
    for (n, result) in (0..400).zip(items.par_procs(&pool).map(|d: Difficult| d.0)) {
        match result {
            Ok(value) => assert_eq!((value, n % 2), (2 * n, 1)),
            Err(TaskFailed::ArgumentNotDecoded { error, task, .. }) => {
                assert!(n % 2 == 0 && error.contains("divisible by four"), "{n}: {error}");
                assert_eq!(task.number, u64::from(n) + 1);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn a_result_that_does_not_encode(build: Build) {
    let pool = build().workers(1).build().unwrap();
    for (n, result) in (0..400).zip((0..400).par_procs(&pool).map(|n: u32| Difficult(4 * n + 2 + n % 2))) {
        match result {
            Ok(value) => assert_eq!((value, n % 2), (Difficult(4 * n + 2), 0)),
            Err(TaskFailed::ResultNotEncoded { error, .. }) => {
                assert!(n % 2 == 1 && error.contains("an odd number"), "{n}: {error}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn a_result_that_does_not_decode(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let results = (0..400).par_procs(&pool).unordered().map(|n: u32| Difficult(2 * n));
    let mut failed = Vec::new();
    for result in results {
        match result {
            Ok(value) => assert_eq!(value.0 % 4, 2),
            Err(TaskFailed::ResultNotDecoded { task, error }) => {
                assert!(error.to_string().contains("divisible by four"), "{error}");
                failed.push(task.number);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    failed.sort_unstable();
    assert!(failed.into_iter().eq((1..=400).step_by(2)), "each names its own task");
}

/// Panics while it is encoded.
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("touched")
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Panics while it is decoded, if the number ends in 7.
struct Trap(u32);

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(deserializer)?;
        assert!(n % 10 != 7, "sprung");
        Ok(Self(n))
    }
}

pub(crate) fn panics_while_encoding(build: Build) {
    let pool = build().workers(1).build().unwrap();
    for (n, result) in (0..50).zip((0..50).par_procs(&pool).map(|n: u32| (n % 10 == 7).then_some(Explosive)))
    {
        match result {
            Ok(value) => assert!(value.is_none() && n % 10 != 7),
            Err(error) => assert_eq!((error.panic().unwrap().message.as_str(), n % 10), ("touched", 7)),
        }
    }
    for (n, result) in (0..50).zip((0..50).map(Trap).par_procs(&pool).map(|trap: Trap| trap.0)) {
        match result {
            Ok(value) => assert!(value == n && n % 10 != 7),
            Err(error) => assert_eq!((error.panic().unwrap().message.as_str(), n % 10), ("sprung", 7)),
        }
    }
}

/// A panic that was told already is not the reason of a later death.
pub(crate) fn an_old_panic_is_no_reason(build: Build) {
    fn panic_then_abort(n: u32) -> Bytes {
        match n {
            0 => panic!("the first"),
            1 => std::process::abort(),
            2 => signal_self(Signal::KILL),
            _ => vec![1].into(),
        }
    }
    let pool = build().workers(1).build().unwrap();
    let results: Vec<_> = [0, 1, 9, 0, 2, 9].par_procs(&pool).map(panic_then_abort).collect();
    let tell = |result: &Result<Bytes, TaskFailed>| match result {
        Ok(_) => "value".to_string(),
        Err(TaskFailed::Panicked { panic, .. }) => panic.message.clone(),
        Err(TaskFailed::WorkerDied { exit, .. }) => exit.to_string(),
        Err(other) => format!("{other:?}"),
    };
    let told: Vec<_> = results.iter().map(tell).collect();
    assert_eq!(told[0], "the first");
    assert!(told[1].contains("SIGABRT"), "{}", told[1]);
    assert_eq!((told[2].as_str(), told[3].as_str()), ("value", "the first"));
    assert!(told[4].contains("SIGKILL"), "{}", told[4]);
    assert_eq!(told[5], "value");
}
