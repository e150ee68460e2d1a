//! What the environment says about domains: for tests of what happens when a fast path is missing.
//!
//! Invariant: read once per process, so an answer does not change.

use std::sync::OnceLock;
use std::time::Duration;

use procession_sys::futex;

/// The environment variable that sets the tick, in milliseconds: `PROCESSION_TICK=10000`.
pub const TICK: &str = "PROCESSION_TICK";

/// The environment variable that keeps this process from telling deaths: `PROCESSION_OBITUARY=off`.
pub const OBITUARY: &str = "PROCESSION_OBITUARY";

#[derive(Debug)]
struct Options {
    tick: Duration,
    obituary: bool,
}

/// See [`Domain::tick`](super::Domain::tick).
pub(crate) fn tick() -> Duration {
    options().tick
}

/// Whether this process tells deaths.
pub(super) fn obituary() -> bool {
    options().obituary
}

fn options() -> &'static Options {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    OPTIONS.get_or_init(|| Options {
        tick: parse_tick(std::env::var(TICK).ok().as_deref()),
        obituary: std::env::var(OBITUARY).as_deref() != Ok("off"),
    })
}

/// A tick of nothing would be a busy loop.
fn parse_tick(text: Option<&str>) -> Duration {
    let millis = text.and_then(|text| text.parse().ok()).filter(|millis| *millis > 0);
    millis.map_or(futex::TICK, Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_that_makes_no_sense_is_the_usual_one() {
        assert_eq!(parse_tick(Some("10000")), Duration::from_secs(10));
        for text in [None, Some(""), Some("0"), Some("-1"), Some("soon")] {
            assert_eq!(parse_tick(text), futex::TICK, "{text:?}");
        }
    }
}
