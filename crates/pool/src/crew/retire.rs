//! Workers that are told to end, with nothing wrong about them.
//!
//! One that was told gets no more work, and is waited for like one that is lost, but not killed before its grace is over.

use std::time::{Duration, Instant};

use super::{Crew, NOTHING};
use crate::wire::Job;

/// How long a worker that was told to end may take before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

impl Crew {
    /// Asks the worker at `place` to end, at the end of the crew: in order if it is idle and has something to put in
    /// order, else by a signal.
    pub(super) fn dismiss(&mut self, place: usize) {
        let is_idle = self.places[place].is_idle() && self.settings.setup.is_some();
        let Some(worker) = &self.places[place].worker else { return };
        let is_told = is_idle && worker.journal.is_ready() && worker.post(&Job::farewell()).is_ok();
        if !is_told && self.places[place].retired.is_none() {
            let _ = worker.process.terminate();
        }
    }

    /// Tells the idle worker at `place` to end. Another takes its place then.
    pub(super) fn retire(&mut self, place: usize) {
        let told = self.places[place].worker.as_ref().map(|worker| worker.post(&Job::farewell()));
        if !matches!(told, Some(Ok(()))) {
            return self.lose(place, NOTHING);
        }
        self.version += 1;
        self.places[place].lost = Some(NOTHING);
        self.places[place].retired = Some(Instant::now() + GRACE);
    }
}
