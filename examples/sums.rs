//! The sum of squares of many numbers, in two ways: as a map over parts, and as a queue from which whoever is idle takes.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;
use procession::queue::bounded;

fn sum_of((from, to): (u64, u64)) -> u64 {
    (from..to).map(|n| n * n).sum()
}

/// Takes parts until there are none.
fn work((parts, sums): (Receiver<(u64, u64)>, Sender<u64>)) {
    for part in parts {
        if sums.send(sum_of(part)).is_err() {
            return;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let parts = (0..1000).map(|n| (n * 100, (n + 1) * 100));

    let pool = Pool::new(2)?;
    println!("by map: {}", pool.map(sum_of, parts.clone())?.into_iter().sum::<u64>());

    let (tx, rx) = bounded(64)?;
    let (sums, results) = bounded(64)?;
    let total = procession::scope(|s| {
        for _ in 0..2 {
            s.spawn(work, (rx.clone(), sums.clone()))?;
        }
        // Now the workers alone have these ends, so both loops end when the workers do.
        drop((rx, sums));
        let feeder = std::thread::spawn(move || parts.map(|part| tx.send(part)).all(|sent| sent.is_ok()));
        let total: u64 = results.into_iter().sum();
        let _ = feeder.join();
        Ok::<_, SpawnError>(total)
    })??;
    println!("by a queue: {total}");
    Ok(())
}
