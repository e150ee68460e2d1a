//! The bars of pools: ours against two bare processes with a ring each way, rayon's threads, and a queue.
//!
//! `cargo bench --package procession-benches --bench pool_bars` measures all; the arguments and the verdicts are those of
//! the bench `bars`. Both contenders live as long as a bar is measured. The bare processes are forked before ours has any
//! thread; they have no pool's duties: nobody may die, nothing is encoded, a task is a number.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "bars/report.rs"]
mod report;

use std::hint::black_box;
use std::time::Instant;

use procession_benches::busy::{spin, turns};
use procession_codec::Bytes;
use procession_floor::cpu::{self, Placement, Side};
use procession_floor::hybrid_ring::Hybrid;
use procession_floor::judge::Bar::{AtLeast, AtMost};
use procession_floor::ring::echo;
use procession_floor::ring_pool::RingPool;
use procession_floor::scenario::{Effort, round_trip};
use procession_pool::{ParProcs, Pool};
use procession_queue::{AsPlain, Receiver, Sender, bounded_as};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use report::Report;

const WORKERS: usize = 2;
/// The room of a bare ring.
const ROOM: usize = 4 << 20;
fn main() {
    let mut report = Report::from_args();
    tiny_tasks(&mut report, "one a message", Some(1), 1, 0.4);
    tiny_tasks(&mut report, "chunks by themselves", None, 1000, 0.3);
    large_values(&mut report);
    busy_tasks(&mut report);
    one_task(&mut report);
    report.end();
}

fn pool() -> Pool {
    let pool = Pool::new(WORKERS).expect("a pool");
    // From here on its workers run.
    assert_eq!(pool.map(square, 0..1000).expect("values").len(), 1000);
    pool
}

fn square(n: u64) -> u64 {
    n.wrapping_mul(n)
}

/// As many as make a batch of some milliseconds.
fn n_items(effort: &Effort, many: u64) -> u64 {
    if effort.batches == 1 { 100 } else { many }
}

/// Squares of numbers: at least so many times the rate of the bare rings, with as many in a message there.
fn tiny_tasks(report: &mut Report, how: &str, chunk: Option<usize>, per_message: u64, bar: f64) {
    let name = format!("pool, tiny tasks, {how} / rings");
    if !report.wants(&name) {
        return;
    }
    let n_items = n_items(&report.effort(), if chunk.is_some() { 3000 } else { 100_000 });
    let expected = (0..n_items).map(square).fold(0, u64::wrapping_add);
    let mut rings = RingPool::new(WORKERS);
    let pool = pool();
    let rate = |began: Instant, sum: u64| {
        assert_eq!(sum, expected);
        n_items as f64 / began.elapsed().as_secs_f64() / 1e6
    };
    let mut ours = || {
        let began = Instant::now();
        let items = (0..n_items).par_procs(&pool);
        let items = if let Some(chunk) = chunk { items.chunk(chunk).in_flight(64 * WORKERS) } else { items };
        rate(began, items.map(square).map(|value| value.expect("a value")).fold(0, u64::wrapping_add))
    };
    let mut floor = || {
        let began = Instant::now();
        rate(began, rings.sum_of_squares(n_items, per_message))
    };
    report.judge(&name, "M/s", AtLeast(bar), &mut ours, &mut floor);
}

/// 1 MiB in and out, two under way in each worker: at least 0.65 times the rate of the bare rings.
fn large_values(report: &mut Report) {
    const LEN: usize = 1 << 20;
    let name = "pool, 1 MiB in and out / rings";
    if !report.wants(name) {
        return;
    }
    let n_items = n_items(&report.effort(), 50) as usize;
    cpu::pin(Placement::Anywhere, Side::Near);
    let mut rings = [(); WORKERS].map(|()| echo::<Hybrid>(ROOM, Placement::Anywhere));
    let (pool, message) = (pool(), vec![7; LEN]);
    let rate = |began: Instant| n_items as f64 / began.elapsed().as_secs_f64();
    let mut ours = || {
        let began = Instant::now();
        let items = std::iter::repeat_with(|| Bytes::from(message.clone())).take(n_items);
        let values = items.par_procs(&pool).chunk(1).in_flight(2 * WORKERS).map(|bytes: Bytes| bytes);
        assert!(values.map(|value| value.expect("a value")).all(|value| value.len() == LEN));
        rate(began)
    };
    let mut floor = || {
        let began = Instant::now();
        let window = 2 * WORKERS;
        for n in 0..n_items + window {
            if let Some(oldest) = n.checked_sub(window) {
                // Out of the ring, as a value is.
                let value = rings[oldest % WORKERS].from.recv(<[u8]>::to_vec);
                assert_eq!(value.len(), LEN);
            }
            if n < n_items {
                rings[n % WORKERS].to.send(&message);
            }
        }
        rate(began)
    };
    report.judge(name, "/s", AtLeast(0.65), &mut ours, &mut floor);
}

/// 64 tasks of 10 ms each: at most 1.03 times as long as with as many threads of rayon.
fn busy_tasks(report: &mut Report) {
    let name = "pool, 64 tasks of 10 ms / rayon";
    if !report.wants(name) {
        return;
    }
    cpu::pin(Placement::Anywhere, Side::Near);
    let (n_tasks, turns) = if report.effort().batches == 1 { (4, 1000) } else { (64_u64, turns()) };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads");
    let pool = pool();
    let milliseconds = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let mut ours = || {
        let began = Instant::now();
        assert_eq!(pool.map(spin, (0..n_tasks).map(|_| turns)).expect("values").len() as u64, n_tasks);
        milliseconds(began)
    };
    let mut floor = || {
        let began = Instant::now();
        let values: Vec<u64> =
            threads.install(|| (0..n_tasks).into_par_iter().map(|_| spin(turns)).collect());
        assert_eq!(values.len() as u64, n_tasks);
        milliseconds(began)
    };
    report.judge(name, "ms", AtMost(1.03), &mut ours, &mut floor);
}

/// From `submit` to its value, everybody awake: at most 3 times eight bytes there and back through queues.
fn one_task(report: &mut Report) {
    type Numbers = (Sender<u64, AsPlain>, Receiver<u64, AsPlain>);
    let name = "pool, submit to value / queues, cross";
    if !report.wants(name) {
        return;
    }
    let effort = report.effort();
    cpu::pin(Placement::Anywhere, Side::Near);
    let pool = Pool::new(1).expect("a pool");
    assert_eq!(pool.map(square, 0..1000).expect("values").len(), 1000);
    let mut ours = || {
        cpu::pin(Placement::Anywhere, Side::Near);
        let mut times: Vec<f64> = (0..effort.batches)
            .map(|_| {
                let began = Instant::now();
                for n in 0..u64::from(effort.trips) {
                    let value = pool.submit(square, black_box(n)).expect("taken").get().expect("a value");
                    assert_eq!(value, n * n);
                }
                began.elapsed().as_secs_f64() * 1e6 / f64::from(effort.trips)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let mut floor = || {
        let queue = || -> Numbers { bounded_as(1024, 64 << 20).expect("a queue") };
        let (there, back) = (queue(), queue());
        let ping = || {
            there.0.send(7).expect("room");
            assert_eq!(back.1.recv().expect("a number"), 7);
        };
        let pong = || back.0.send(there.1.recv().expect("a number")).expect("room");
        round_trip(&effort, Placement::Cross, ping, pong)
    };
    report.judge(name, "µs", AtMost(3.0), &mut ours, &mut floor);
}
