//! Waiting where no tick mends a lost wake.

use std::thread;
use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::wait::{self, Waitable};
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role};

/// Runs `body` in a process of its own whose tick is an hour.
pub(crate) fn without_ticks(body: fn()) {
    if roles::role().is_some() {
        body();
        return roles::say("done");
    }
    guarded(|| {
        let mut other = Role::new("without ticks").env("PROCESSION_TICK", "3600000").spawn();
        assert_eq!(other.hear(Duration::from_secs(50)).as_deref(), Some("done"));
        other.wait_with_output(Duration::from_secs(10)).expect_success();
    });
}

pub(crate) fn any(things: &[&dyn Waitable]) -> Vec<usize> {
    wait::any(things, Deadline::NEVER).unwrap()
}

pub(crate) fn is_ready(thing: &dyn Waitable) -> bool {
    !wait::any(&[thing], Deadline::now()).unwrap().is_empty()
}

pub(crate) fn yield_often() {
    (0..200).for_each(|_| thread::yield_now());
}
