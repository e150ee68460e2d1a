//! How long a call may wait, and how often it looks again meanwhile.
//!
//! There is no clock here, so the caller brings one. Invariant: every sleep of every algorithm ends after a tick, and
//! the algorithm then looks at the words again. A wake that was lost with its killer is thereby late, and never lost.

use core::time::Duration;

use crate::Waited;

/// The time limit of a call.
pub trait Limit {
    /// What is left: `None` without a limit, zero once it has passed.
    fn left(&self) -> Option<Duration>;

    /// The longest that a sleep may last after `n` ticks in which nothing happened.
    ///
    /// 50 ms, doubling to 1 s: the first looks find what a kill left behind soon, the later ones cost little.
    fn tick(&self, n: u32) -> Duration {
        const FIRST: Duration = Duration::from_millis(50);
        const LAST: Duration = Duration::from_secs(1);
        FIRST.saturating_mul(1 << n.min(5)).min(LAST)
    }
}

/// No limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forever;

impl Limit for Forever {
    fn left(&self) -> Option<Duration> {
        None
    }
}

/// The limit has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed;

/// The sleeps of one call.
#[derive(Debug)]
pub(crate) struct Naps<'a, L> {
    limit: &'a L,
    /// Ticks since something happened.
    quiet: u32,
    any: bool,
}

impl<'a, L: Limit> Naps<'a, L> {
    pub(crate) fn new(limit: &'a L) -> Self {
        Self { limit, quiet: 0, any: false }
    }

    /// Whether this call has slept.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Whether the limit has passed.
    pub(crate) fn passed(&self) -> bool {
        self.limit.left() == Some(Duration::ZERO)
    }

    /// Sleeps once, by calling `sleep` with the longest time that it may last.
    pub(crate) fn nap(&mut self, sleep: impl FnOnce(Option<Duration>) -> Waited) -> Result<(), Passed> {
        let tick = self.limit.tick(self.quiet);
        let nap = match self.limit.left() {
            Some(Duration::ZERO) => return Err(Passed),
            Some(left) => left.min(tick),
            None => tick,
        };
        self.any = true;
        self.quiet = match sleep(Some(nap)) {
            Waited::TimedOut => self.quiet.saturating_add(1),
            Waited::Woken | Waited::Changed => 0,
        };
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Left(u64);

    impl Limit for Left {
        fn left(&self) -> Option<Duration> {
            Some(Duration::from_millis(self.0))
        }
    }

    fn length(naps: &mut Naps<'_, impl Limit>, waited: Waited) -> Result<u128, Passed> {
        let mut length = 0;
        let nap = naps.nap(|nap| {
            length = nap.unwrap().as_millis();
            waited
        });
        nap.map(|()| length)
    }

    #[test]
    fn ticks_back_off_and_the_limit_cuts_them() {
        let mut naps = Naps::new(&Forever);
        let mut tick = |waited| length(&mut naps, waited).unwrap();
        let ticks = [(); 8].map(|()| tick(Waited::TimedOut));
        assert_eq!(ticks, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!([(); 2].map(|()| tick(Waited::Woken)), [1000, 50]);
        assert!(naps.any() && !naps.passed());
        assert_eq!(length(&mut Naps::new(&Left(7)), Waited::Changed), Ok(7));
        let mut passed = Naps::new(&Left(0));
        assert_eq!(
            (length(&mut passed, Waited::Woken), passed.any(), passed.passed()),
            (Err(Passed), false, true)
        );
    }
}
