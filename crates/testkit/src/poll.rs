//! Waiting on descriptors with an absolute deadline.
//!
//! Invariant: an interrupted wait that is retried does not grow, because each turn counts from the same
//! deadline.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// How often a condition is looked at again for which the kernel has no event.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Waits until one of `fds` is ready; returns whether one is, `false` when the deadline passed first.
///
/// An empty list waits for the deadline.
pub(crate) fn until(fds: &mut [PollFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(fds, Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {} // Retried: the time left is computed anew.
            Err(error) => panic!("polling {} descriptors: {error}", fds.len()),
        }
    }
}
