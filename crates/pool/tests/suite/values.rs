//! What maps and tasks give back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use procession_pool::{ParProcs, Pool};
use procession_process::spawn;

use super::Build;

fn square(n: u64) -> u64 {
    n * n
}

pub(crate) fn values_in_order(build: Build) {
    for workers in [1, 2, 5] {
        let pool = build().workers(workers).build().unwrap();
        let squares: Vec<u64> = (0..3000).map(square).collect();
        assert_eq!(pool.map(square, 0..3000).unwrap(), squares);
        let words = pool.map(|word: String| word.to_uppercase(), ["a", "b", "c"].map(String::from)).unwrap();
        assert_eq!(words, ["A", "B", "C"]);
    }
}

pub(crate) fn nothing_to_do(build: Build) {
    let pool = build().workers(2).build().unwrap();
    assert!(pool.map(square, []).unwrap().is_empty());
    assert_eq!(Vec::<u64>::new().par_procs(&pool).map(square).count(), 0);
    assert_eq!(pool.map(|()| (), [(), ()]).unwrap(), [(), ()]);
    pool.join();
}

pub(crate) fn one_item(build: Build) {
    let pool = build().workers(3).build().unwrap();
    assert_eq!(pool.map(square, [12]).unwrap(), [144]);
    assert_eq!(pool.submit(square, 12).unwrap().get().unwrap(), 144);
}

pub(crate) fn a_hundred_thousand_tiny_items(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let mut expected = 0;
    for value in (0..100_000_u64).par_procs(&pool).map(square) {
        assert_eq!(value.unwrap(), square(expected));
        expected += 1;
    }
    assert_eq!(expected, 100_000);
}

pub(crate) fn maps_from_many_threads(build: Build) {
    let pool = build().workers(2).build().unwrap();
    thread::scope(|scope| {
        for start in 0..6 {
            let pool = &pool;
            scope.spawn(move || {
                let items = start * 1000..start * 1000 + 500;
                let squares: Vec<u64> = items.clone().map(square).collect();
                assert_eq!(pool.map(square, items).unwrap(), squares);
            });
        }
    });
}

fn pid_of(_: u64) -> u32 {
    std::process::id()
}

pub(crate) fn two_pools_at_once(build: Build) {
    let (one, two) = (build().workers(1).build().unwrap(), build().workers(1).build().unwrap());
    let mut pids = (0..50).par_procs(&one).map(pid_of).zip((0..50).par_procs(&two).map(pid_of));
    let (of_one, of_two) = (one.pids()[0], two.pids()[0]);
    assert!(of_one != of_two && pids.all(|(a, b)| (a.unwrap(), b.unwrap()) == (of_one, of_two)));
    drop(pids);
    drop(one);
    assert_eq!(two.map(square, [3]).unwrap(), [9]);
}

fn in_a_pool_of_its_own(n: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..n).unwrap().iter().sum()
}

pub(crate) fn a_pool_inside_a_task(build: Build) {
    let pool = build().workers(2).build().unwrap();
    assert_eq!(pool.map(in_a_pool_of_its_own, [3, 0, 4]).unwrap(), [5, 0, 14]);
}

pub(crate) fn a_task_that_spawns(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let by_child = |n: u64| spawn(square, n).unwrap().join().unwrap();
    assert_eq!(pool.map(by_child, 0..6).unwrap(), [0, 1, 4, 9, 16, 25]);
}

pub(crate) fn statics_are_the_worker_s_own(build: Build) {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let pool = build().workers(1).build().unwrap();
    let count = |()| CALLS.fetch_add(1, Ordering::Relaxed);
    assert_eq!(pool.map(count, [(); 100]).unwrap(), Vec::from_iter(0..100));
    assert_eq!(CALLS.load(Ordering::Relaxed), 0);
}

pub(crate) fn numbers_pids_and_names(build: Build) {
    let pool = build().workers(3).name("render").build().unwrap();
    assert_eq!(pool.workers(), 3);
    let pids = BTreeSet::from_iter(pool.pids());
    assert_eq!(pids.len(), 3);
    assert!(pool.map(pid_of, 0..100).unwrap().iter().all(|pid| pids.contains(pid)));
    let name = |()| thread::current().name().map(String::from);
    assert!(pool.submit(name, ()).unwrap().get().unwrap().unwrap().starts_with("render-"));
    assert!(build().build().unwrap().workers() > 0);
}
