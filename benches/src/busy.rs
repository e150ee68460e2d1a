//! Work that takes a known time: as many turns of a loop as this machine makes in it.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long a busy task takes, about.
pub const BUSY: Duration = Duration::from_millis(10);

/// As many turns as take about [`BUSY`] on this machine, so that all measure the same work.
#[must_use]
pub fn turns() -> u64 {
    let mut turns = 1 << 16;
    loop {
        let began = Instant::now();
        black_box(spin(turns));
        let elapsed = began.elapsed();
        if elapsed >= BUSY / 2 {
            return turns * BUSY.as_nanos() as u64 / elapsed.as_nanos() as u64;
        }
        turns *= 2;
    }
}

/// Makes so many turns.
#[must_use]
pub fn spin(turns: u64) -> u64 {
    (0..turns).fold(1, |x, i| black_box(x ^ (x << 5) ^ i))
}
