//! How long who waits looks before it sleeps.
//!
//! To wake a sleeper on another processor takes some 50 µs, as long as to copy a megabyte. So who waited that long lately,
//! and not much longer, looks on for a while: twice as long as its waits took. Who waits for longer, or did not wait yet,
//! looks for 12 µs.
//!
//! Where both sides share a processor, looking is in vain, and letting the other side run is all: who saw that once does it
//! first, until it helps no more.
//!
//! Who receives a stream of messages waits for the next ones on purpose: see `gather.rs`.
//!
//! Invariant: between two looks at the clock the other side may run, also where both share a processor.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};
use std::{hint, thread};

use procession_sys::Deadline;

use crate::gather::{self, Gathering};

/// How long to look in any case: waking a sleeper costs more than that.
const LEAST: Duration = Duration::from_micros(12);
/// Waits of more than this are not worth looking.
const LONG: Duration = Duration::from_micros(200);
/// To yield to nobody takes less than this; to another and back takes more.
const SWITCH: Duration = Duration::from_micros(1);
/// Looks between two yields.
const LOOKS: u32 = 32;

/// What the last waits of a side were like.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// How long they took on average, in nanoseconds; 0 if they were long.
    usual: AtomicU32,
    /// Whether the last wait was over when others had run in between.
    yields: AtomicBool,
    /// Whether it receives a stream.
    gathering: Gathering,
}

/// A wait that goes on.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    patience: &'a Patience,
    began: Instant,
}

impl Patience {
    pub(crate) fn begin(&self) -> Waiting<'_> {
        Waiting { patience: self, began: Instant::now() }
    }

    /// Looks for a moment whether what is waited for is there.
    #[inline]
    pub(crate) fn look_for_a_moment(&self, is_there: impl Fn() -> bool) -> bool {
        if self.yields.load(Relaxed) {
            let others_ran = yield_to_others();
            let is_there = is_there();
            // What comes while nobody else runs here comes from another processor.
            self.yields.store(is_there && others_ran, Relaxed);
            if is_there {
                return true;
            }
        }
        (0..LOOKS).any(|_| {
            hint::spin_loop();
            is_there()
        })
    }

    /// Lets messages gather for a moment if that seems to help; whether there are any then.
    #[inline]
    pub(crate) fn gather(&self, n_there: impl Fn() -> u32) -> bool {
        // Of two that share a processor, none comes while the other looks.
        if self.yields.load(Relaxed) || !self.gathering.is_due() {
            return false;
        }
        (0..gather::PAUSES).for_each(|_| hint::spin_loop());
        let n = n_there();
        self.gathering.came(n);
        n > 0
    }

    fn limit(&self) -> Duration {
        LEAST.max(Duration::from_nanos(u64::from(self.usual.load(Relaxed)) * 2))
    }

    /// Of threads that do this at once, one is heard.
    fn learn(&self, took: Duration) {
        let usual = self.usual.load(Relaxed);
        let next = match u32::try_from(took.as_nanos()) {
            // A single long one says little; some of them in a row say it.
            _ if took > LONG => usual / 2,
            Ok(took) => usual - usual / 4 + took / 4,
            Err(_) => 0,
        };
        self.usual.store(next, Relaxed);
    }
}

impl Waiting<'_> {
    /// Looks for a while whether what is waited for is there.
    pub(crate) fn look(&self, deadline: Deadline, is_there: impl Fn() -> bool) -> bool {
        let limit = self.patience.limit();
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    return true;
                }
                hint::spin_loop();
            }
            if self.began.elapsed() >= limit || deadline.has_passed() {
                return false;
            }
            let others_ran = yield_to_others();
            if is_there() {
                self.patience.yields.store(others_ran, Relaxed);
                return true;
            }
        }
    }
}

/// Whether somebody ran meanwhile, as far as the time tells.
fn yield_to_others() -> bool {
    let began = Instant::now();
    thread::yield_now();
    began.elapsed() > SWITCH
}

/// The wait is over.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.patience.learn(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(waits: &[u64]) -> Duration {
        let patience = Patience::default();
        waits.iter().for_each(|us| patience.learn(Duration::from_micros(*us)));
        patience.limit()
    }

    #[test]
    fn who_waits_for_short_looks_longer() {
        assert_eq!(after(&[]), LEAST);
        assert_eq!(after(&[1; 20]), LEAST);
        let limit = after(&[60; 20]);
        assert!(limit > Duration::from_micros(100) && limit <= Duration::from_micros(120), "{limit:?}");
        assert!(after(&[200; 50]) <= LONG * 2);
    }

    #[test]
    fn who_waits_for_long_sleeps() {
        assert_eq!(after(&[1_000_000; 5]), LEAST);
        // Longer than a number of nanoseconds can say.
        assert_eq!(after(&[60, 60, 60, 10_000_000, 10_000_000, 10_000_000]), LEAST);
        // Once is not enough.
        assert!(after(&[60, 60, 60, 60, 60, 60, 1000]) > LEAST);
    }

    #[test]
    fn who_is_not_helped_by_yielding_does_it_once() {
        let patience = Patience::default();
        patience.yields.store(true, Relaxed);
        let looks = AtomicU32::new(0);
        assert!(!patience.look_for_a_moment(|| looks.fetch_add(1, Relaxed) == u32::MAX));
        assert_eq!(looks.into_inner(), LOOKS + 1);
        assert!(!patience.yields.load(Relaxed));
    }

    #[test]
    fn who_shares_a_processor_lets_nothing_gather() {
        let patience = Patience::default();
        let looks = AtomicU32::new(0);
        let gather = |n| {
            (0..5000)
                .filter(|_| {
                    patience.gather(|| {
                        looks.fetch_add(1, Relaxed);
                        n
                    })
                })
                .count()
        };
        assert!(gather(100) > 3900);
        // What does not come is not said to be there.
        assert_eq!(gather(0), 0);
        assert!(gather(100) > 3900);
        patience.yields.store(true, Relaxed);
        let before = looks.load(Relaxed);
        assert_eq!((gather(100), looks.load(Relaxed)), (0, before));
    }

    #[test]
    fn a_deadline_ends_a_look() {
        let patience = Patience::default();
        assert!(!patience.begin().look(Deadline::now(), || false));
        assert!(patience.begin().look(Deadline::now(), || true));
    }
}
