//! Workers that are told to end, with nothing wrong about them.
//!
//! One that was told gets no more work, and is waited for like one that is lost, but not killed before its grace is over.

use std::time::{Duration, Instant};

use super::{Crew, NOTHING};
use crate::wire::Job;

/// How long a worker that was told to end may take before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

impl Crew {
    /// Tells the idle worker at `place` to end. Another takes its place then.
    pub(super) fn retire(&mut self, place: usize) {
        let told = self.places[place].worker.as_ref().map(|worker| worker.jobs.try_send(&Job::farewell()));
        if !matches!(told, Some(Ok(()))) {
            return self.lose(place, NOTHING);
        }
        self.version += 1;
        self.places[place].lost = Some(NOTHING);
        self.places[place].retired = Some(Instant::now() + GRACE);
    }
}
