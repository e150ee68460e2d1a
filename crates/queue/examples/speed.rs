//! Smoke.
#![allow(clippy::print_stdout)]
use procession_queue::*;
use std::time::Instant;
fn main() {
    let (tx, rx) = bounded_as::<u64, AsPlain>(1024, 64 << 20).unwrap();
    for _ in 0..5 {
        let t = Instant::now();
        for i in 0..1_000_000u64 {
            tx.send(i).unwrap();
            assert_eq!(rx.recv().unwrap(), i);
        }
        println!("plain put+get {:.1} ns", t.elapsed().as_nanos() as f64 / 1e6);
    }
    let (tx, rx) = bounded::<u64>(1024).unwrap();
    let t = Instant::now();
    for i in 0..1_000_000u64 {
        tx.send(i).unwrap();
        assert_eq!(rx.recv().unwrap(), i);
    }
    println!("postcard put+get {:.1} ns", t.elapsed().as_nanos() as f64 / 1e6);
    let (tx, rx) = bounded_as::<u64, AsPlain>(1024, 64 << 20).unwrap();
    for _ in 0..3 {
        let t = Instant::now();
        std::thread::scope(|s| {
            let tx = &tx;
            s.spawn(move || {
                for i in 0..3_000_000u64 {
                    tx.send(i).unwrap()
                }
            });
            for i in 0..3_000_000u64 {
                assert_eq!(rx.recv().unwrap(), i);
            }
        });
        println!("one way {:.2} M/s", 3e6 / t.elapsed().as_secs_f64() / 1e6);
    }
    let (tx, rx) = bounded_as::<procession_codec::Bytes, AsBytes>(64, 64 << 20).unwrap();
    for size in [1 << 10, 1 << 14, 1 << 16, 1 << 20] {
        let n = (1u64 << 30) / size as u64;
        let t = Instant::now();
        std::thread::scope(|s| {
            let tx = &tx;
            s.spawn(move || {
                for _ in 0..n {
                    tx.send(procession_codec::Bytes::from(vec![1; size])).unwrap()
                }
            });
            for _ in 0..n {
                assert_eq!(rx.recv().unwrap().len(), size);
            }
        });
        println!("bytes {size}: {:.2} GB/s", (n * size as u64) as f64 / t.elapsed().as_secs_f64() / 1e9);
    }
}
