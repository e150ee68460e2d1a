//! What a pool costs: items in long chunks, one task alone, processor time spread over workers, large values.
//!
//! Measured from the caller's side. The pool is built once for each group: starting workers is no part of it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use procession_benches::busy::{spin, turns};
use procession_codec::Bytes;
use procession_pool::{ParProcs, Pool};

const WORKERS: usize = 2;
fn pool() -> Pool {
    let pool = Pool::new(WORKERS).expect("a pool");
    // From here on its workers run.
    pool.map(square, 0..1000).expect("values");
    pool
}

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

fn tiny_items(c: &mut Criterion) {
    const ITEMS: u64 = 100_000;
    let pool = pool();
    let mut group = c.benchmark_group("pool/map");
    group.sample_size(10).throughput(Throughput::Elements(ITEMS));
    group.bench_function("100k trivial items", |b| {
        b.iter(|| pool.map(square, 0..ITEMS).expect("values"));
    });
    group.bench_function("100k trivial items, 1000 in flight", |b| {
        b.iter(|| {
            let results = (0..ITEMS).par_procs(&pool).in_flight(1000).map(square);
            results.map(|value| value.expect("a value")).fold(0, u64::wrapping_add)
        });
    });
    group.finish();
}

fn one_task(c: &mut Criterion) {
    let pool = pool();
    c.bench_function("pool/submit and get", |b| {
        b.iter(|| pool.submit(square, black_box(7)).expect("taken").get().expect("a value"));
    });
}

fn processor_time(c: &mut Criterion) {
    const TASKS: u64 = 64;
    let (pool, turns) = (pool(), turns());
    let mut group = c.benchmark_group("pool/64 tasks of 10 ms");
    group.sample_size(10);
    // Half of the serial time is what two workers could do at best.
    group.bench_function("serial", |b| b.iter(|| (0..TASKS).map(|_| spin(turns)).fold(0, u64::wrapping_add)));
    group.bench_function("two workers", |b| {
        b.iter(|| pool.map(spin, (0..TASKS).map(|_| turns)).expect("values"));
    });
    group.finish();
}

fn large_values(c: &mut Criterion) {
    const LEN: usize = 1 << 20;
    let pool = pool();
    let mut group = c.benchmark_group("pool/1 MiB");
    group.sample_size(20).throughput(Throughput::Bytes(2 * LEN as u64));
    group.bench_function("in and out", |b| {
        b.iter(|| {
            let bytes = Bytes::from(vec![7; LEN]);
            pool.submit(|bytes: Bytes| bytes, bytes).expect("taken").get().expect("a value")
        });
    });
    group.finish();
}

criterion_group!(benches, tiny_items, one_task, processor_time, large_values);
criterion_main!(benches);
