//! What is told of the progress of a map: what is finished, each once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_pool::{ParProcs, Pool, Progress};
use procession_testkit::guarded;

/// What was told is in order, and ends with all of `n`.
fn check(told: &[Progress], n: usize, failed: usize) {
    assert!(told.is_sorted_by_key(|progress| (progress.done, progress.failed, progress.elapsed)), "{told:?}");
    assert!(told.iter().all(|progress| progress.done <= n && progress.failed <= progress.done), "{told:?}");
    let last = told.last().expect("something");
    assert!(last.is_over(), "{last:?}");
    assert_eq!((last.done, last.failed, last.total), (n, failed, Some(n)));
}

#[test]
fn all_are_told_ordered_or_not() {
    guarded(|| {
        let pool = Pool::new(2).unwrap();
        for is_ordered in [true, false] {
            for n in [0, 1, 7, 5000] {
                let mut told = Vec::new();
                let maps = (0..n).par_procs(&pool).on_progress(|progress| told.push(progress));
                let maps = if is_ordered { maps.ordered() } else { maps.unordered() };
                let sum: usize = maps.map(|n: usize| n).map(Result::unwrap).sum();
                assert_eq!(sum, (0..n).sum::<usize>());
                check(&told, n, 0);
            }
        }
    });
}

#[test]
fn never_less_than_was_given_and_failures_count() {
    guarded(|| {
        let pool = Pool::new(2).unwrap();
        let (done, mut given) = (AtomicUsize::new(0), 0);
        let mut told = Vec::new();
        let results = (0..400_u32).par_procs(&pool).map(|n| {
            if n % 100 == 3 {
                std::process::abort();
            }
        });
        let results = results.on_progress(|progress| done.store(progress.done, Ordering::Relaxed));
        for _ in results.on_progress(|progress| told.push(progress)) {
            given += 1;
            assert!(done.load(Ordering::Relaxed) >= given);
        }
        check(&told, 400, 4);
    });
}

#[test]
fn the_length_is_told_when_it_is_known() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        let mut told = Vec::new();
        let items = (0..100).filter(|n| n % 2 == 0);
        let results = items.par_procs(&pool).in_flight(1).on_progress(|progress| told.push(progress));
        assert_eq!(results.map(|n: u32| n).count(), 50);
        check(&told, 50, 0);
        assert!(told[..49].iter().all(|progress| progress.total.is_none()), "{told:?}");
    });
}

type Gate = Duplex<u8, u8>;

/// Says that it runs, and waits to go on.
fn hold(gate: Option<Gate>) {
    if let Some(gate) = gate {
        gate.send(&1).unwrap();
        gate.recv().unwrap();
    }
}

/// The first holds up the results of all others, and the last of its chunk those before it.
#[test]
fn what_is_finished_counts_before_its_turn() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        // A chunk of four: three are finished, the last one waits for us. We wait for the first result.
        let items = [None, None, None, Some(theirs)];
        let mut told = Vec::new();
        let go_on = |progress: Progress| {
            told.push(progress.done);
            if progress.done == 3 {
                ours.send(&1).unwrap();
            }
        };
        assert_eq!(
            items.into_iter().par_procs(&pool).in_flight(4).chunk(4).on_progress(go_on).map(hold).count(),
            4
        );
        assert!(told.contains(&3) && told.last() == Some(&4), "{told:?}");

        let pool = Pool::new(2).unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let items = [Some(theirs), None, None, None];
        let go_on = |progress: Progress| {
            if progress.done == 3 {
                ours.send(&1).unwrap();
            }
        };
        assert_eq!(
            items.into_iter().par_procs(&pool).in_flight(4).chunk(1).on_progress(go_on).map(hold).count(),
            4
        );
    });
}

#[test]
fn who_stops_asking_hears_nothing_more() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        let n_told = AtomicUsize::new(0);
        let mut results =
            (0..1000).par_procs(&pool).chunk(1).in_flight(10).map(|n: u32| n).on_progress(|_| {
                n_told.fetch_add(1, Ordering::Relaxed);
            });
        results.next().unwrap().unwrap();
        let before = n_told.load(Ordering::Relaxed);
        assert!(before > 0);
        // The others go on meanwhile; nobody asks.
        assert_eq!(pool.submit(|n: u32| n, 7).unwrap().get().unwrap(), 7);
        assert_eq!(n_told.load(Ordering::Relaxed), before);
        drop(results);
        assert_eq!(n_told.load(Ordering::Relaxed), before);
    });
}

#[test]
fn a_hook_that_panics_loses_no_result() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        let results = (0..10).par_procs(&pool).in_flight(1).map(|n: u32| n);
        let mut results = results.on_progress(|progress| assert!(progress.done != 5, "on purpose"));
        let mut given = Vec::new();
        let mut n_panics = 0;
        loop {
            match catch_unwind(AssertUnwindSafe(|| results.next())) {
                Ok(Some(result)) => given.push(result.unwrap()),
                Ok(None) => break,
                Err(_) => n_panics += 1,
            }
        }
        assert_eq!((given, n_panics), ((0..10).collect(), 1));
    });
}

#[test]
fn asked_without_waiting_and_in_time() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let mut last = None;
        let mut results =
            [Some(theirs)].par_procs(&pool).on_progress(|progress| last = Some(progress)).map(hold);
        assert!(results.try_next().is_err());
        ours.recv().unwrap();
        assert!(results.next_timeout(Duration::from_millis(1)).is_err());
        ours.send(&1).unwrap();
        results.next().unwrap().unwrap();
        drop(results);
        assert!(last.unwrap().is_over());
    });
}

fn sends<T: Send + Sync>(_: &T) {}

#[test]
fn results_stay_send_and_sync() {
    guarded(|| {
        let pool = Pool::new(1).unwrap();
        sends(&(0..3).par_procs(&pool).on_progress(|_| {}));
        sends(&(0..3).par_procs(&pool).on_progress(|_| {}).map(|n: u32| n));
    });
}
