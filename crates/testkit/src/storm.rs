//! Storms: random choices that can be repeated.
//!
//! Invariant: equal seeds give equal choices in equal order, on every machine. The generator is the
//! public-domain splitmix64; it is good enough to choose victims and for nothing else.

use std::env;
use std::io::Write;
use std::thread;

use crate::path::test_path;

/// The variable that sets the seed.
pub const SEED: &str = "PROCESSION_SEED";

/// A source of choices. A test that fails while it holds one says how to repeat the storm.
///
/// ```
/// use procession_testkit::Storm;
///
/// let (mut one, mut two) = (Storm::from_seed(7), Storm::from_seed(7));
/// assert_eq!(one.pick(&["kill", "stop", "spare"]), two.pick(&["kill", "stop", "spare"]));
/// assert!(one.below(10) < 10);
/// ```
#[derive(Debug)]
pub struct Storm {
    seed: u64,
    state: u64,
}

impl Storm {
    /// The storm of the seed in [`SEED`], or of a fixed one.
    ///
    /// # Panics
    /// When the variable is set to something that is not a number.
    #[must_use]
    pub fn seeded() -> Self {
        let seed = match env::var(SEED) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{SEED}={text}: {error}")),
            Err(_) => 1,
        };
        Self::from_seed(seed)
    }

    /// The storm of one seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// The seed it began with.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `end`, which is not among them.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below zero");
        // The high half of the product: no remainder, and a bias of at most end / 2^64.
        let product = u128::from(self.bits()) * u128::from(end);
        u64::try_from(product >> 64).expect("the high half has 64 bits")
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).expect("an index of a slice")]
    }

    /// True in `part` of `whole` cases.
    ///
    /// # Panics
    /// When `whole` is 0.
    pub fn chance(&mut self, part: u64, whole: u64) -> bool {
        self.below(whole) < part
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = format!("storm of `{}`: repeat with {SEED}={}\n", test_path(), self.seed);
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut storm = Storm::from_seed(1_234_567);
        let first = [storm.bits(), storm.bits(), storm.bits()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn every_item_is_picked_some_time() {
        let mut storm = Storm::from_seed(3);
        let mut seen = [0_u32; 5];
        for _ in 0..1000 {
            seen[*storm.pick(&[0_usize, 1, 2, 3, 4])] += 1;
        }
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
    }
}
