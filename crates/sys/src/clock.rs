//! Deadlines: absolute, monotonic, so that an interrupted wait that is retried does not grow.

use std::time::{Duration, Instant};

/// The instant at which a wait gives up, or never. Monotonic: setting the wall clock changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits as long as it takes.
    pub const NEVER: Self = Self(None);

    /// Gives up at `instant`; in the past: looks once and does not wait.
    pub fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// Gives up when `timeout` has passed from now. A timeout too long for the clock is [`Deadline::NEVER`].
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Looks once and does not wait: what `try_` forms use.
    pub fn now() -> Self {
        Self(Some(Instant::now()))
    }

    /// The time left: `None` without a limit, zero once it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the instant has passed.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    /// Whether there is no limit.
    pub fn is_never(self) -> bool {
        self.0.is_none()
    }

    /// The earlier of two deadlines.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// The instant itself, where there is one.
    pub fn instant(self) -> Option<Instant> {
        self.0
    }
}

impl From<Duration> for Deadline {
    /// [`after`](Self::after) so much time.
    fn from(timeout: Duration) -> Self {
        Self::after(timeout)
    }
}

impl From<Instant> for Deadline {
    /// [`at`](Self::at) this instant.
    fn from(instant: Instant) -> Self {
        Self::at(instant)
    }
}

impl From<Option<Duration>> for Deadline {
    /// [`after`](Self::after) so much time; `None` is [`NEVER`](Self::NEVER).
    fn from(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::NEVER, Self::after)
    }
}

impl procession_raw::Limit for Deadline {
    fn left(&self) -> Option<Duration> {
        self.remaining()
    }
}

/// What the monotonic clock shows: the same in all processes of this machine that share a time namespace.
pub fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The monotonic clock as it was at the kernel's last tick, some milliseconds ago at most: a fifth of the cost.
pub fn ticks() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use procession_raw::Limit;

    use super::*;

    #[test]
    fn passed_never_and_far() {
        assert!(Deadline::now().has_passed());
        assert_eq!(Deadline::now().remaining(), Some(Duration::ZERO));
        assert!(Deadline::after(Duration::MAX).is_never());
        assert!(!Deadline::NEVER.has_passed());
        let soon = Deadline::after(Duration::from_secs(9));
        assert_eq!(soon.min(Deadline::NEVER), soon);
        assert!(Deadline::now().min(soon).has_passed());
    }

    #[test]
    fn a_deadline_is_a_limit() {
        assert_eq!((Deadline::NEVER.left(), Deadline::now().left()), (None, Some(Duration::ZERO)));
        let left = Deadline::after(Duration::from_secs(9)).left().unwrap();
        assert!(!left.is_zero() && left <= Duration::from_secs(9));
    }
}
