//! Workers with a ring each way: the floor of pools. The task is `x * x`, on as many numbers as a message has.

use crate::cpu::Placement;
use crate::hybrid_ring::Hybrid;
use crate::ring::{Peer, Receiver, Sender, peer};

/// The workers and the ends of their rings.
#[derive(Debug)]
pub struct RingPool {
    workers: Vec<Peer<Hybrid>>,
}

/// Messages that may wait at a worker.
const IN_FLIGHT: usize = 64;
/// Of each ring: room for that many messages of a thousand numbers.
const CAPACITY: usize = 1 << 20;

impl RingPool {
    /// Forks `n` workers.
    ///
    /// # Panics
    /// If there is no memory or no process to be had.
    pub fn new(n: usize) -> Self {
        Self { workers: (0..n).map(|_| peer(CAPACITY, Placement::Anywhere, work)).collect() }
    }

    /// Squares all of `0..n_items` in the workers, `per_message` in a message (1000 at most); the sum of the squares.
    pub fn sum_of_squares(&mut self, n_items: u64, per_message: u64) -> u64 {
        assert!((1..=1000).contains(&per_message));
        let n_messages = n_items.div_ceil(per_message);
        let n_workers = self.workers.len() as u64;
        let window = IN_FLIGHT as u64 * n_workers;
        let mut items = Vec::new();
        let mut sum = 0_u64;
        // Answers are taken in the order of the questions, so the next one comes from where the oldest went.
        for number in 0..n_messages + window {
            if let Some(oldest) = number.checked_sub(window)
                && oldest < n_messages
            {
                let worker = &mut self.workers[(oldest % n_workers) as usize];
                sum = sum.wrapping_add(worker.from.recv(|bytes| numbers(bytes).fold(0, u64::wrapping_add)));
            }
            if number < n_messages {
                let first = number * per_message;
                items.clear();
                (first..n_items.min(first + per_message))
                    .for_each(|n| items.extend_from_slice(&n.to_ne_bytes()));
                self.workers[(number % n_workers) as usize].to.send(&items);
            }
        }
        sum
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks().0.iter().map(|number| u64::from_ne_bytes(*number))
}

fn work(mut to: Sender<Hybrid>, mut from: Receiver<Hybrid>) {
    let mut squares = Vec::new();
    loop {
        squares.clear();
        from.recv(|bytes| {
            numbers(bytes).for_each(|n| squares.extend_from_slice(&n.wrapping_mul(n).to_ne_bytes()));
        });
        to.send(&squares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procession_testkit::counted;

    #[test]
    fn every_item_is_squared_once() {
        counted(|| {
            let mut pool = RingPool::new(2);
            let expected = |n: u64| (0..n).map(|n| n * n).sum::<u64>();
            for (n_items, per_message) in [(0, 1), (1, 1), (1000, 1), (10_001, 1000), (300, 7)] {
                assert_eq!(pool.sum_of_squares(n_items, per_message), expected(n_items));
            }
        });
    }
}
