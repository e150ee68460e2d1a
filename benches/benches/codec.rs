//! Values to bytes and back in each codec: a small message, and a mebibyte with and without the type made for it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use procession_codec::{Bytes, Codec, Json, Message, MessagePack, Postcard};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Task {
    Resize { name: String, width: u32, height: u32, quality: f32, tags: Vec<String> },
    Stop,
}

fn small() -> Task {
    let tags = vec!["holiday".to_owned(), "sea".to_owned()];
    Task::Resize { name: "picture-1234".to_owned(), width: 640, height: 480, quality: 0.8, tags }
}

const LARGE: usize = 1 << 20;

fn both_ways<C: Codec, M: Message>(c: &mut Criterion, what: &str, value: &M) {
    let mut bytes = Vec::new();
    C::encode_into(value, &mut bytes).expect("encoding");
    let mut group = c.benchmark_group(format!("codec/{what}"));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut out = Vec::with_capacity(bytes.len());
    group.bench_function(BenchmarkId::new("encode", C::NAME), |b| {
        b.iter(|| {
            out.clear();
            C::encode_into(black_box(value), &mut out).expect("encoding");
        });
    });
    group.bench_function(BenchmarkId::new("decode", C::NAME), |b| {
        b.iter(|| C::decode::<M>(black_box(&bytes)).expect("decoding"));
    });
    group.finish();
}

fn all_values<C: Codec>(c: &mut Criterion) {
    both_ways::<C, _>(c, "small", &small());
    both_ways::<C, _>(c, "bytes_1_mib", &Bytes::from(vec![7; LARGE]));
    both_ways::<C, _>(c, "vec_u8_1_mib", &vec![7_u8; LARGE]);
}

fn codecs(c: &mut Criterion) {
    all_values::<Postcard>(c);
    all_values::<MessagePack>(c);
    all_values::<Json>(c);
}

criterion_group!(benches, codecs);
criterion_main!(benches);
