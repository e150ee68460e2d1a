//! Lazy maps: what is pulled from the iterator, and when.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession_pipe::RecvError;
use procession_pool::{NotYet, ParProcs};

use super::{Build, PATIENCE, Tally, await_start, gate, hold};

fn double(n: usize) -> usize {
    2 * n
}

pub(crate) fn ordered_results(build: Build) {
    let pool = build().workers(2).build().unwrap();
    for in_flight in [1, 2, 3, 7, 100, 5000] {
        let doubles = (0..1000).par_procs(&pool).in_flight(in_flight).ordered().map(double);
        assert!(doubles.map(Result::unwrap).eq((0..1000).map(double)), "{in_flight} in flight");
    }
}

pub(crate) fn unordered_results(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (ours, theirs) = gate();
    let first_waits = |(n, gate)| {
        if let Some(gate) = gate {
            hold(gate);
        }
        n
    };
    let items = [(0, Some(theirs)), (1, None), (2, None), (3, None)];
    let mut results = items.into_iter().par_procs(&pool).unordered().map(first_waits);
    // The first task cannot be done before the others: it waits for us.
    let mut others = BTreeSet::from_iter(results.by_ref().take(1).map(Result::unwrap));
    await_start(&ours);
    others.extend(results.by_ref().take(2).map(Result::unwrap));
    assert_eq!(others, BTreeSet::from([1, 2, 3]));
    ours.send(&1).unwrap();
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert!(results.next().is_none());
    let all = (0..5000).par_procs(&pool).unordered().map(double).map(Result::unwrap);
    assert_eq!(BTreeSet::from_iter(all), BTreeSet::from_iter((0..5000).map(double)));
}

pub(crate) fn pulls_no_more_than_in_flight(build: Build) {
    let pool = build().workers(3).build().unwrap();
    for bound in [1, 2, 5, 64, 1000] {
        let (pulled, given) = (Cell::new(0), Cell::new(0));
        let items = (0..3000).inspect(|_| {
            pulled.set(pulled.get() + 1);
            assert!(pulled.get() - given.get() <= bound, "{pulled:?} pulled, {given:?} given, bound {bound}");
        });
        let results = items.par_procs(&pool).in_flight(bound).map(double);
        assert_eq!(pulled.get(), 0, "nothing is pulled before a result is asked for");
        for result in results {
            result.unwrap();
            given.set(given.get() + 1);
        }
        assert_eq!((pulled.get(), given.get()), (3000, 3000));
    }
}

pub(crate) fn an_endless_iterator_is_not_drained(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let pulled = Cell::new(0);
    let items = (0..).inspect(|_| pulled.set(pulled.get() + 1));
    let three = items.par_procs(&pool).in_flight(10).map(double).take(3).map(Result::unwrap);
    assert_eq!(Vec::from_iter(three), [0, 2, 4]);
    assert!(pulled.get() <= 12, "{pulled:?}");
    // Without a bound of ours: two chunks for each worker, of at most 4096 items each.
    let items = (0..).inspect(|_| pulled.set(pulled.get() + 1));
    assert!((0..).zip(items.par_procs(&pool).map(double).take(3)).all(|(n, d)| d.unwrap() == 2 * n));
    assert!(pulled.get() <= 12 + 2 * 2 * 4096 + 3, "{pulled:?}");
    pool.join();
}

pub(crate) fn dropped_early_nothing_more_begins(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(50));
    let (ours, theirs) = gate();
    let mut gates = [None, Some(theirs)].into_iter();
    let items = (0..50).map(|i| (tally.handle(), i, gates.next().flatten()));
    let mut results = items.par_procs(&pool).in_flight(50).map(|(tally, index, gate)| {
        Tally::strike(tally, index);
        gate.map(hold);
    });
    results.next().unwrap().unwrap();
    await_start(&ours);
    drop(results);
    ours.send(&1).unwrap();
    assert_eq!(pool.submit(double, 5).unwrap().get().unwrap(), 10);
    pool.join();
    assert!((0..50).map(|i| tally.count(i)).eq((0..50).map(|i| u64::from(i < 2))));
}

/// The rest of a chunk that is being run does not begin either.
pub(crate) fn dropped_inside_a_chunk(build: Build) {
    let (pool, tally) = (build().workers(1).build().unwrap(), Tally::new(2000));
    let (ours, theirs) = gate();
    let mut gate = Some(theirs);
    let items = (0..2000).map(|i| (tally.handle(), i, if i == 500 { gate.take() } else { None }));
    let mut results = items.par_procs(&pool).in_flight(200).map(|(tally, index, gate)| {
        Tally::strike(tally, index);
        gate.map(hold);
    });
    assert!(results.by_ref().take(450).all(|result| result.is_ok()));
    await_start(&ours);
    drop(results);
    ours.send(&1).unwrap();
    assert_eq!(pool.submit(double, 5).unwrap().get().unwrap(), 10);
    assert!((0..2000).map(|i| tally.count(i)).eq((0..2000).map(|i| u64::from(i <= 500))));
}

/// Dropping a map gives up the handles in its waiting items at once, not when a worker has time for them.
pub(crate) fn what_waits_is_let_go_at_the_drop(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let ((running, at_work), (waiting, in_line)) = (gate(), gate());
    let items = [None, Some(at_work), Some(in_line)];
    let mut results = items.into_iter().par_procs(&pool).in_flight(3).map(|gate| gate.map(hold));
    assert_eq!(results.next().unwrap().unwrap(), None);
    await_start(&running);
    drop(results);
    assert!(matches!(waiting.recv_timeout(PATIENCE), Err(RecvError::Closed)));
    running.send(&1).unwrap();
    pool.join();
}

pub(crate) fn a_panic_in_the_iterator(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let items = (0..).inspect(|n| assert!(*n < 20, "the iterator gives up"));
    let caught = catch_unwind(AssertUnwindSafe(|| items.par_procs(&pool).map(double).count()));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "the iterator gives up");
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    pool.join();
}

/// Whoever catches the panic and asks on gets what was handed out before it, and then the end.
pub(crate) fn a_panic_in_the_iterator_and_on(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let items = (0..).inspect(|n| assert!(*n != 30, "the iterator gives up"));
    let mut results = items.par_procs(&pool).map(double);
    let (mut next, mut panics) = (0, 0);
    loop {
        match catch_unwind(AssertUnwindSafe(|| results.next())) {
            Ok(Some(result)) => {
                assert_eq!(result.unwrap(), 2 * next);
                next += 1;
            }
            Ok(None) => break,
            Err(_) => panics += 1,
        }
    }
    assert!(panics == 1 && next <= 30, "{panics} panics, {next} results");
}

pub(crate) fn size_hints(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let mut results = (0..5).par_procs(&pool).in_flight(2).map(double);
    assert_eq!(results.size_hint(), (5, Some(5)));
    results.next();
    assert_eq!(results.size_hint(), (4, Some(4)));
    assert_eq!(results.count(), 4);
}

pub(crate) fn results_in_time(build: Build) {
    let pool = build().workers(1).build().unwrap();
    for ordered in [true, false] {
        let (ours, theirs) = gate();
        let results = [theirs].into_iter().par_procs(&pool);
        let mut results = if ordered { results } else { results.unordered() }.map(hold);
        assert!(matches!(results.try_next(), Err(NotYet)));
        await_start(&ours);
        assert!(matches!(results.next_timeout(Duration::from_millis(1)), Err(NotYet)));
        assert!(matches!(results.next_until(Instant::now()), Err(NotYet)));
        ours.send(&7).unwrap();
        assert_eq!(results.next_timeout(PATIENCE).unwrap().unwrap().unwrap(), 7);
        assert!(matches!(results.try_next(), Ok(None)) && results.next().is_none());
    }
}

pub(crate) fn fixed_chunks(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let pulled = Cell::new(0_usize);
    let items = (0..500).inspect(|_| pulled.set(pulled.get() + 1));
    for (n, result) in items.par_procs(&pool).chunk(10).map(double).enumerate() {
        assert_eq!(result.unwrap(), 2 * n);
        assert!(pulled.get().is_multiple_of(10) && pulled.get() <= n + 20, "{pulled:?} pulled, {n} given");
    }
    for (chunk, in_flight) in [(0, 5), (100, 7), (usize::MAX, 4)] {
        let results = (0..100).par_procs(&pool).chunk(chunk).in_flight(in_flight).map(double);
        assert!(results.map(Result::unwrap).eq((0..100).map(double)));
    }
    assert_eq!((0..9000).par_procs(&pool).chunk(usize::MAX).map(double).count(), 9000);
}

pub(crate) fn several_at_once_on_one_pool(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let one = (0..500).par_procs(&pool).in_flight(3).map(double);
    let two = (500..1000).par_procs(&pool).map(double);
    assert!(one.zip(two).all(|(a, b)| a.unwrap() + 1000 == b.unwrap()));
}
