//! The floors themselves: what each costs here, under the names of the scenarios that ours run under.
//!
//! `cross`: the two sides have a processor each; `same`: they share one. Spinners run across only.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use procession_floor::cache_line::CacheLine;
use procession_floor::cpu::{self, Placement, Side};
use procession_floor::fork::fork;
use procession_floor::fork_server::ForkServer;
use procession_floor::futex_lock::FutexLock;
use procession_floor::futex_ping_pong::PingPong;
use procession_floor::hybrid_ring::Hybrid;
use procession_floor::locked_value::LockedValue;
use procession_floor::memory::Placed;
use procession_floor::ring::{self, Wait};
use procession_floor::ring_pool::RingPool;
use procession_floor::robust_mutex::RobustMutex;
use procession_floor::served_dict::ServedDict;
use procession_floor::slice;
use procession_floor::spin_ring::Spin;

/// Of each ring: what is on its way when a mebibyte goes round.
const CAPACITY: usize = 4 << 20;

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn placements() -> Vec<(Placement, &'static str)> {
    let both = [(Placement::Cross, "cross"), (Placement::Same, "same")];
    both[usize::from(!cpu::has_two())..].to_vec()
}

fn alone(c: &mut Criterion) {
    cpu::pin(Placement::Cross, Side::Near);
    let mut group = c.benchmark_group("floor/lock alone");
    let (futex, robust) = (Placed::new(FutexLock::default()), RobustMutex::new());
    group.bench_function("futex lock", |b| {
        b.iter(|| {
            futex.lock();
            futex.unlock();
        });
    });
    group.bench_function("robust mutex", |b| {
        b.iter(|| {
            robust.lock();
            robust.unlock();
        });
    });
    let value = Placed::new(LockedValue::default());
    group.bench_function("increment behind futex lock", |b| b.iter(|| value.add(1)));
    group.finish();
}

fn negate(c: &mut Criterion) {
    let mut numbers = vec![1.5; 1_000_000];
    c.bench_function("floor/negate 10^6 f64/slice", |b| b.iter(|| slice::negate(black_box(&mut numbers))));
}

/// A round trip between this process and a child.
fn sides(group: &mut Group<'_>, id: BenchmarkId, placement: Placement, ping: impl Fn(), pong: impl Fn()) {
    cpu::pin(placement, Side::Near);
    let _child = fork(|| {
        cpu::pin(placement, Side::Far);
        loop {
            pong();
        }
    });
    group.bench_function(id, |b| b.iter(&ping));
}

fn wakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor/round trip");
    if cpu::has_two() {
        let line = Placed::new(CacheLine::default());
        let id = BenchmarkId::new("cache line", "cross");
        sides(&mut group, id, Placement::Cross, || line.ping(), || line.pong());
    }
    for (placement, name) in placements() {
        let words = Placed::new(PingPong::default());
        let id = BenchmarkId::new("futex ping-pong", name);
        sides(&mut group, id, placement, || words.ping(), || words.pong());
    }
    group.finish();
}

fn echo<W: Wait>(group: &mut Group<'_>, name: &str, (placement, place): (Placement, &str), len: usize) {
    let (mut peer, bytes) = (ring::echo::<W>(CAPACITY, placement), vec![7; len]);
    let id = BenchmarkId::new(format!("{name}, {place}"), len);
    group.bench_function(id, |b| b.iter(|| peer.round_trip(&bytes)));
}

fn rings(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor/round trip of bytes");
    for len in [8, 64, 1 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(2 * len as u64));
        for placement in placements() {
            if placement.0 == Placement::Cross {
                echo::<Spin>(&mut group, "spin ring", placement, len);
            }
            echo::<Hybrid>(&mut group, "hybrid ring", placement, len);
        }
    }
    group.finish();
}

/// The time that `n` messages take one way.
fn one_way_time<W: Wait>(len: usize, n: u64) -> Duration {
    let bytes = vec![7; len];
    let serve = |mut to: ring::Sender<W>, mut from: ring::Receiver<W>| {
        for _ in 0..n {
            from.recv(|bytes| black_box(bytes.first().copied()));
        }
        to.send(&[1]);
        loop {
            std::thread::park();
        }
    };
    let mut peer = ring::peer::<W>(CAPACITY, Placement::Cross, serve);
    let began = Instant::now();
    (0..n).for_each(|_| peer.to.send(&bytes));
    peer.from.recv(<[u8]>::len);
    began.elapsed()
}

fn one_way(c: &mut Criterion) {
    if !cpu::has_two() {
        return;
    }
    let mut group = c.benchmark_group("floor/one way, cross");
    for len in [8, 64, 1 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("spin ring", len), |b| {
            b.iter_custom(|n| one_way_time::<Spin>(len, n));
        });
        group.bench_function(BenchmarkId::new("hybrid ring", len), |b| {
            b.iter_custom(|n| one_way_time::<Hybrid>(len, n));
        });
    }
    group.finish();
}

fn starts(c: &mut Criterion) {
    cpu::pin(Placement::Same, Side::Near);
    let server = ForkServer::new(|| ());
    let mut group = c.benchmark_group("floor/start and join");
    group.bench_function("fork", |b| b.iter(|| fork(|| ()).join()));
    group.bench_function("fork server", |b| b.iter(|| server.start_and_join()));
    group.finish();
}

fn pools(c: &mut Criterion) {
    const ITEMS: u64 = 100_000;
    cpu::pin(Placement::Anywhere, Side::Near);
    let mut pool = RingPool::new(2);
    let mut group = c.benchmark_group("floor/100k trivial items");
    group.sample_size(10).throughput(Throughput::Elements(ITEMS));
    for per_message in [1, 1000] {
        group.bench_function(BenchmarkId::new("ring pool of 2, per message", per_message), |b| {
            b.iter(|| pool.sum_of_squares(ITEMS, per_message));
        });
    }
    group.finish();
}

fn dicts(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor/served dictionary");
    for (placement, name) in placements() {
        let mut dict = ServedDict::new(placement);
        group.bench_function(BenchmarkId::new("set", name), |b| b.iter(|| dict.set(black_box(7), 8)));
        group.bench_function(BenchmarkId::new("get", name), |b| b.iter(|| dict.get(black_box(7))));
    }
    group.finish();
}

criterion_group!(benches, alone, negate, wakes, rings, one_way, starts, pools, dicts);
criterion_main!(benches);
