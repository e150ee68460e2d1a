//! Callers that look at lanes themselves, and those who do not: each outcome comes to whoever waits for it, however.

use std::thread;

use procession_pool::{ParProcs, Pool, Task, wait_all};
use procession_testkit::counted;

const WORKERS: usize = 2;
const ROUNDS: u32 = 300;

fn twice(n: u32) -> u32 {
    2 * n
}

/// One of them looks at a time; the others sleep, and workers ring for them.
#[test]
fn many_callers_at_once() {
    counted(|| {
        let pool = Pool::new(WORKERS).unwrap();
        thread::scope(|scope| {
            for caller in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    for n in (0..ROUNDS).map(|n| n * 4 + caller) {
                        assert_eq!(pool.submit(twice, n).unwrap().get().unwrap(), 2 * n);
                    }
                });
            }
        });
    });
}

/// Nobody waits for one kind of them, one caller for the other; then all for all.
#[test]
fn outcomes_that_nobody_looks_for() {
    counted(|| {
        let pool = Pool::new(WORKERS).unwrap();
        let tasks: Vec<Task<u32>> = (0..ROUNDS)
            .map(|n| {
                let alone = pool.submit(twice, n).unwrap();
                if n % 3 == 0 {
                    assert_eq!(pool.submit(twice, n).unwrap().get().unwrap(), 2 * n);
                }
                alone
            })
            .collect();
        assert!(wait_all(&tasks, None));
        let sum: u32 = tasks.into_iter().map(|task| task.get().unwrap()).sum();
        assert_eq!(sum, ROUNDS * (ROUNDS - 1));
        // Alone, and waited for without looking: the worker rings.
        for n in 0..ROUNDS {
            let task = pool.submit(twice, n).unwrap();
            assert!(wait_all([&task], None) && task.is_ready());
        }
    });
}

/// Workers sleep between two of them, or are about to.
#[test]
fn pauses_of_all_lengths() {
    counted(|| {
        let pool = Pool::new(WORKERS).unwrap();
        for n in 0..ROUNDS {
            (0..n * 20).for_each(|_| std::hint::spin_loop());
            let values = (0..3).par_procs(&pool).chunk(1).map(twice);
            assert_eq!(values.sum::<Result<u32, _>>().unwrap(), 6);
        }
    });
}
