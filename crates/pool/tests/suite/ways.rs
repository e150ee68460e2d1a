//! Further ways of giving work: blocking, as a whole map, each outcome, as they are done.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession_pool::TaskFailed;
use procession_testkit::Signal;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error, Serialize, Serializer};

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, signal_self};

/// Does not encode if it is 7.
#[derive(Debug)]
struct NotSeven(u32);

impl Serialize for NotSeven {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 7 { Err(S::Error::custom("seven")) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for NotSeven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

pub(crate) fn applied(build: Build) {
    let pool = build().workers(1).build().unwrap();
    assert_eq!(pool.apply(|(n, m): (u8, u8)| n * m, (3, 4)).unwrap(), 12);
    expected!(pool.apply(|n: u8| -> u8 { panic!("{n}") }, 3), Err(TaskFailed::Panicked { .. }));
    expected!(pool.apply(|()| -> u8 { signal_self(Signal::KILL) }, ()), Err(TaskFailed::WorkerDied { .. }));
    match pool.apply(|n: NotSeven| n.0, NotSeven(7)) {
        Err(TaskFailed::Argument { task, .. }) => assert_eq!(task.number, 4),
        other => panic!("{other:?}"),
    }
    pool.close();
    expected!(pool.apply(|n: u8| n, 1), Err(TaskFailed::Closed { .. }));
}

/// What becomes of an item that ends in each way there is.
fn end(n: u32) -> NotSeven {
    match n % 20 {
        3 => panic!("three"),
        5 => signal_self(Signal::KILL),
        9 => std::process::exit(9),
        11 => NotSeven(7),
        13 => std::process::abort(),
        _ => NotSeven(n),
    }
}

fn check(n: u32, outcome: Result<NotSeven, TaskFailed>) {
    match outcome {
        Ok(value) => assert!(value.0 == n && ![3, 5, 9, 11, 13].contains(&(n % 20)), "item {n}"),
        Err(failure) => {
            assert_eq!(failure.task().number, u64::from(n) + 1);
            match failure {
                TaskFailed::Panicked { .. } => assert_eq!(n % 20, 3),
                TaskFailed::WorkerDied { .. } => assert!([5, 9, 13].contains(&(n % 20)), "item {n}"),
                TaskFailed::ResultNotEncoded { .. } => assert!(n % 20 == 11 || n == 7, "item {n}"),
                other => panic!("item {n}: {other}"),
            }
        }
    }
}

pub(crate) fn each_outcome_in_its_place(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let outcomes = pool.map_each(end, 0..100);
    assert_eq!(outcomes.len(), 100);
    (0..).zip(outcomes).for_each(|(n, outcome)| check(n, outcome));
    pool.close();
    for outcome in pool.map_each(end, 0..3) {
        expected!(outcome, Err(TaskFailed::Closed { .. }));
    }
}

pub(crate) fn as_they_are_done(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (ours, theirs) = gate();
    let items = [(0, Some(theirs)), (1, None), (2, None)];
    let mut values = pool.map_unordered(|(n, gate)| (n, gate.map(hold)).0, items);
    let first: BTreeSet<_> = values.by_ref().take(2).map(Result::unwrap).collect();
    assert_eq!(first, [1, 2].into());
    await_start(&ours);
    ours.send(&1).unwrap();
    assert_eq!(values.map(Result::unwrap).collect::<Vec<_>>(), [0]);
}

pub(crate) fn a_whole_map(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (ours, theirs) = gate();
    let hold_one = |(n, gate): (u32, Option<_>)| n + u32::from(gate.map_or(0, hold));
    let mut gates = [Some(theirs)].into_iter();
    let mut map = pool
        .map_async(hold_one, (0..1000).map(|n| (n, (n == 600).then(|| gates.next().flatten()).flatten())));
    await_start(&ours);
    assert!(!map.is_ready() && map.try_get().unwrap().is_none());
    assert!(map.get_timeout(Duration::from_millis(1)).unwrap().is_none());
    // Others have their turn meanwhile.
    assert_eq!(pool.apply(|n: u8| n, 7).unwrap(), 7);
    assert!(map.get_until(Instant::now()).unwrap().is_none() && map.n_done() < map.n_items());
    ours.send(&0).unwrap();
    let values = map.get_timeout(PATIENCE).unwrap().expect("all of them");
    assert!(values.into_iter().eq(0..1000));
    assert!(map.is_ready() && map.try_get().unwrap().is_none());
    expected!(map.get(), Err(TaskFailed::AlreadyTaken { .. }));
    let nothing = pool.map_async(hold_one, []);
    assert!(nothing.is_ready() && nothing.get().unwrap().is_empty());
}

pub(crate) fn a_whole_map_that_fails(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(100));
    let (ours, theirs) = gate();
    let task = |(tally, n, gate): (_, usize, Option<_>)| {
        Tally::strike(tally, n);
        gate.map(hold);
        assert_ne!(n, 40);
    };
    let mut theirs = Some(theirs);
    // In four chunks: the second one fails, and the third comes no further than to its middle before we have seen that.
    let items = (0..100).map(|n| (tally.handle(), n, if n == 60 { theirs.take() } else { None }));
    let mut map = pool.map_async(task, items);
    let behind = pool.submit(|n: u8| n, 7).unwrap();
    match map.get_timeout(PATIENCE) {
        Err(TaskFailed::Panicked { task, .. }) => assert_eq!(task.number, 41),
        other => panic!("{other:?}"),
    }
    assert!(map.try_get().unwrap().is_none());
    // It may never have begun.
    let _ = ours.send(&0);
    assert_eq!(behind.get().unwrap(), 7);
    pool.join();
    assert!((0..50).all(|n| tally.count(n) == 1) && (61..100).all(|n| tally.count(n) == 0));

    let pool = build().workers(2).build().unwrap();
    let map = pool.map_async(|n: NotSeven| n.0, (0..30).map(NotSeven));
    match map.get() {
        Err(TaskFailed::Argument { task, .. }) => assert_eq!(task.pool, "pool".into()),
        other => panic!("{other:?}"),
    }
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let items = (0..30).inspect(|n| assert!(*n < 20));
        pool.map_async(|n: u32| n, items)
    }));
    assert!(caught.is_err());
    assert_eq!(pool.submit(|n: u8| n, 7).unwrap().id().number, 31, "nothing of it was handed out");
    pool.close();
    expected!(pool.map_async(|n: u8| n, 0..9).get(), Err(TaskFailed::Closed { .. }));
}

/// Giving up what a join waits for ends the join.
pub(crate) fn a_whole_map_given_up(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(100));
    let (ours, theirs) = gate();
    let task = |(tally, n, gate): (_, usize, Option<_>)| {
        Tally::strike(tally, n);
        gate.map(hold);
    };
    let mut theirs = Some(theirs);
    let map = pool.map_async(task, (0..100).map(|n| (tally.handle(), n, theirs.take())));
    await_start(&ours);
    let dropped = pool.map_async(|(tally, n)| Tally::strike(tally, n), [(tally.handle(), 99)]);
    drop(dropped);
    map.cancel();
    ours.send(&0).unwrap();
    pool.join();
    assert!((0..100).all(|n| tally.count(n) == u64::from(n == 0 || n == 99)));
}
