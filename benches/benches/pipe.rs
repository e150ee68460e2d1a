//! Round trips to an echo: a typed pipe to another process, against bare sockets, streams, pipes, a thread, and
//! the floor, a ring in shared memory.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use procession_benches::echo::{Channels, Echo, Packets, Pipes, Stream, Typed};
use procession_codec::Bytes;
use procession_floor::hybrid_ring::Hybrid;
use procession_floor::ring::Peer;

fn contender<E: Echo>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    len: usize,
) {
    let (mut echo, bytes) = (E::new(len), Bytes::from(vec![7; len]));
    group.bench_function(BenchmarkId::new(E::NAME, len), |b| b.iter(|| echo.round_trip(&bytes)));
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipe/round_trip");
    for len in [8, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(2 * len as u64));
        contender::<Typed>(&mut group, len);
        contender::<Packets>(&mut group, len);
        contender::<Stream>(&mut group, len);
        contender::<Pipes>(&mut group, len);
        contender::<Channels>(&mut group, len);
        contender::<Peer<Hybrid>>(&mut group, len);
    }
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
