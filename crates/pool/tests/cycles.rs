//! Pools made, used and dropped many times over: no descriptor, no mapping, no child more, and no growth of memory.

use procession_codec::Bytes;
use procession_pool::{ParProcs, Pool};
use procession_testkit::resident::a_thousand_cycles;

/// A pool that does a little of everything.
fn cycle(n: usize) {
    let pool = Pool::builder().workers(2).name(format!("cycle-{n}")).build().unwrap();
    assert_eq!(pool.map(|n: usize| n + 1, n..n + 10).unwrap().len(), 10);
    let long = pool.submit(|n: usize| Bytes::from(vec![7; n]), 100_000).unwrap();
    let limited = pool.submit(|n: usize| n, n).unwrap();
    let mut results = (0..).par_procs(&pool).in_flight(4).map(|n: usize| n);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    drop(results);
    assert_eq!((long.get().unwrap().len(), limited.get().unwrap()), (100_000, n));
    if n.is_multiple_of(2) {
        pool.join();
    }
}

#[test]
fn a_thousand_cycles_leave_nothing() {
    a_thousand_cycles("pool", cycle);
}
