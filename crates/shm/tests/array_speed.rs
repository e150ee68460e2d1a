//! How fast items are reached. Bounds nothing: the numbers go to the log. `cargo test --release -p procession-shm --test
//! array_speed -- --nocapture`.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use procession_shm::Array;
use procession_testkit::guarded;

const LEN: usize = 1_000_000;

/// The second of two passes, so that who was last finds no better caches.
fn negate(items: &mut [f64]) -> Duration {
    let mut pass = || {
        let begin = Instant::now();
        items.iter_mut().for_each(|item| *item = -*item);
        black_box(&mut *items);
        begin.elapsed()
    };
    pass();
    pass()
}

/// The same through the type's own indexing, item by item.
macro_rules! by_index {
    ($items:ident) => {{
        let mut pass = || {
            let begin = Instant::now();
            for at in 0..LEN {
                $items[at] = -$items[at];
            }
            black_box(&mut $items[0]);
            begin.elapsed()
        };
        pass();
        pass()
    }};
}

#[test]
fn negating_a_million_items() {
    guarded(|| {
        let array = Array::<f64>::zeroed(LEN).unwrap();
        let mut plain = vec![0.0; LEN];
        let n = if cfg!(debug_assertions) { 2 } else { 300 };
        let mut best = [Duration::MAX; 6];
        for _ in 0..n {
            let mut part = array.split(1).next().unwrap();
            let times = [negate(&mut plain), negate(&mut part), by_index!(plain), by_index!(part)];
            drop(part);
            let mut items = array.write();
            let all = [times[0], times[1], negate(&mut items), times[2], times[3], by_index!(items)];
            best.iter_mut().zip(all).for_each(|(best, time)| *best = time.min(*best));
        }
        let [plain, part, whole, plain_index, part_index, whole_index] =
            best.map(|time| time.as_nanos() as f64);
        let text = format!(
            "negating {LEN} f64, best of {n}: plain slice {:.0} µs, part {:.3} of that, array {:.3}; \
             by index {:.0} µs, part {:.3}, array {:.3}",
            plain / 1000.0,
            part / plain,
            whole / plain,
            plain_index / 1000.0,
            part_index / plain_index,
            whole_index / plain_index
        );
        let _ = writeln!(std::io::stderr(), "{text}");
    });
}

#[test]
fn taking_and_giving_back() {
    guarded(|| {
        let array = Array::<f64>::zeroed(1000).unwrap();
        let n = if cfg!(debug_assertions) { 100 } else { 100_000 };
        let time = |what: &dyn Fn()| {
            let begin = Instant::now();
            (0..n).for_each(|_| what());
            begin.elapsed() / n
        };
        let (read, write) = (time(&|| drop(array.read())), time(&|| drop(array.write())));
        let split = time(&|| drop(array.split(4)));
        let text = format!("read {read:?}, write {write:?}, split in 4 and back {split:?}");
        let _ = writeln!(std::io::stderr(), "{text}");
    });
}
