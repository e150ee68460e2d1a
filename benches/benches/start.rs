//! What it costs to start a process, run a function in it, and have its value: against a thread, and a bare program.

use std::hint::black_box;
use std::process::Command;
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};

fn increment(n: u64) -> u64 {
    n + 1
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("start");
    group.bench_function("procession", |b| {
        b.iter(|| procession::spawn(increment, black_box(1)).unwrap().join().unwrap());
    });
    group.bench_function("thread", |b| {
        b.iter(|| thread::spawn(|| increment(black_box(1))).join().unwrap());
    });
    // No value comes back, only a code.
    group.bench_function("program", |b| {
        b.iter(|| Command::new("true").status().unwrap());
    });
    group.finish();
}

criterion_group!(benches, start);
criterion_main!(benches);
