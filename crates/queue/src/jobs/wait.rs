//! Waiting for the end of a job.

use std::sync::atomic::AtomicU32;

use procession_raw::{Job, Limit, Park, Stage, Waited};
use procession_shm::Wait;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

/// Sleeps until the job at this stage ends, a word of `also` has changed since it was read, or for a tick. Counts the ticks
/// in which nothing happened.
#[cold]
pub(super) fn rest(
    (job, stage): (&Job, Stage),
    also: [(&AtomicU32, u32); 2],
    deadline: Deadline,
    ticks: &mut u32,
) {
    let Some(end) = job.await_end(stage) else { return };
    let wait = Wait(deadline);
    let tick = wait.tick(*ticks);
    let nap = wait.left().map_or(tick, |left| left.min(tick));
    let waited = SharedPark.wait_any(&[end, also[0], also[1]], Some(nap));
    *ticks = if waited == Waited::TimedOut { *ticks + 1 } else { 0 };
}
