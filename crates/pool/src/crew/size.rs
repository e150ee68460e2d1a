//! How many workers there are: as many as the pool is to have, or, if it may have fewer, as the work needs.
//!
//! | | workers |
//! |---|---|
//! | at most | `wanted`: what was asked for last |
//! | at least | the floor: `wanted` too, unless the pool starts workers on demand or lets idle ones go |
//! | between them | one for each order that runs or waits; more only until they have been idle for long enough |
//!
//! A worker that is too many is told to end when it has nothing to do, so nothing is lost with it. Places stay where they
//! are, filled or not. Held by the contract (`sizes`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::{Deadline, OsError};

use super::{Crew, ENOUGH, Place, TRY_AGAIN};
use crate::error::BuildError;

/// Pools that need not have all their workers all the time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flexible {
    /// Workers that stay.
    pub(crate) min: usize,
    /// How long others may be idle.
    pub(crate) idle_after: Option<Duration>,
    /// Whether none but those that stay are started before they are needed.
    pub(crate) is_lazy: bool,
}

impl Crew {
    /// How many workers to start with.
    pub(super) fn n_at_start(&self) -> usize {
        if self.settings.flexible.is_some_and(|flexible| flexible.is_lazy) {
            self.floor()
        } else {
            self.wanted
        }
    }

    /// Starts workers until there are enough, unless they keep dying. Where that fails, those that live go on, and it is
    /// tried again after a while; also where workers keep dying, one at a time.
    pub(super) fn fill_places(&mut self) {
        if self.is_being_built && self.broken.is_some() {
            return;
        }
        let (now, goal) = (Instant::now(), self.goal());
        while self.n_workers() < goal {
            let (is_deserted, keep_dying) = (self.is_deserted(), self.failed_starts >= ENOUGH);
            let is_early = if is_deserted { keep_dying } else { self.next_try.is_some_and(|at| at > now) };
            if is_early {
                return;
            }
            if keep_dying && self.next_try.is_none() {
                self.next_try = Some(now + TRY_AGAIN);
                return;
            }
            if let Err(error) = self.fill_place() {
                self.next_try = Some(now + TRY_AGAIN);
                if is_deserted {
                    self.fail_waiting(&error.to_string());
                }
                return;
            }
            self.next_try = keep_dying.then_some(now + TRY_AGAIN);
        }
        self.next_try = None;
    }

    /// The pool is to have `n` workers.
    pub(crate) fn resize(&mut self, n: usize) -> Result<(), BuildError> {
        self.wanted = n;
        for place in (0..self.places.len()).rev() {
            if self.is_crowded() && self.places[place].is_idle() {
                self.retire(place);
            }
        }
        self.fill_to(self.goal())
    }

    /// Whether there are too many workers. Then whoever has nothing to do ends.
    pub(super) fn is_crowded(&self) -> bool {
        self.n_staying() > self.wanted
    }

    /// Starts all the workers that the pool may have; whether each has asked for work.
    pub(crate) fn warm_up(&mut self) -> Result<bool, BuildError> {
        self.fill_to(self.wanted)?;
        if self.failed_starts >= ENOUGH {
            return Err(match &self.broken {
                Some((worker, failure)) => {
                    BuildError::Initializer { worker: worker.clone(), failure: failure.clone() }
                }
                None => OsError::new("warming up a pool", std::io::Error::other(&*self.last_failure)).into(),
            });
        }
        Ok(self.places.iter().filter(|place| place.is_staying() && place.is_ready()).count() >= self.wanted)
    }

    /// Whether every worker has asked for a job. One that could not be started yet is not waited for.
    pub(crate) fn is_ready(&self) -> bool {
        self.places.iter().filter(|place| place.worker.is_some()).all(Place::is_ready)
    }

    /// When the next worker has been idle for long enough to end.
    pub(crate) fn next_idle(&self) -> Deadline {
        let Some(after) = self.settings.flexible.and_then(|flexible| flexible.idle_after) else {
            return Deadline::NEVER;
        };
        // Who warms up waits for all at once.
        if self.n_warming > 0 || self.places.iter().filter(|place| place.is_staying()).count() <= self.floor()
        {
            return Deadline::NEVER;
        }
        let since = self.places.iter().filter_map(Place::idle_since).min();
        since.and_then(|since| since.checked_add(after)).map_or(Deadline::NEVER, Deadline::at)
    }

    /// Ends workers that have been idle for so long that they may.
    pub(crate) fn retire_idle(&mut self) {
        while self.next_idle().has_passed() {
            let idle = (0..self.places.len()).filter_map(|at| Some((self.places[at].idle_since()?, at)));
            let Some((_, longest)) = idle.min() else { return };
            self.retire(longest);
        }
    }

    fn floor(&self) -> usize {
        self.settings.flexible.map_or(self.wanted, |flexible| flexible.min.min(self.wanted))
    }

    /// How many workers there should be now.
    fn goal(&self) -> usize {
        let n_running = self.places.iter().filter(|place| place.running.is_some()).count();
        (n_running + self.waiting.len()).clamp(self.floor(), self.wanted)
    }

    fn n_staying(&self) -> usize {
        self.places.iter().filter(|place| place.is_staying()).count()
    }

    fn n_workers(&self) -> usize {
        self.places.iter().filter(|place| place.worker.is_some()).count()
    }

    /// Starts workers until there are so many; at the first that cannot be started this ends.
    pub(super) fn fill_to(&mut self, goal: usize) -> Result<(), BuildError> {
        while self.n_workers() < goal && self.failed_starts < ENOUGH {
            self.fill_place()?;
        }
        Ok(())
    }

    fn fill_place(&mut self) -> Result<(), BuildError> {
        let worker = Arc::new(self.start_worker()?);
        let at = self.places.iter().position(|place| place.worker.is_none()).unwrap_or(self.places.len());
        if at == self.places.len() {
            self.places.push(Place::default());
        }
        self.places[at].worker = Some(worker);
        self.places[at].idle_since = Some(Instant::now());
        self.version += 1;
        Ok(())
    }
}

impl Place {
    /// Whether the worker, if there is one, is meant to go on.
    fn is_staying(&self) -> bool {
        self.worker.is_some() && self.lost.is_none()
    }

    fn is_ready(&self) -> bool {
        self.worker.as_ref().is_some_and(|worker| worker.journal.is_ready())
    }

    /// Since when the worker could have worked, if it does not.
    fn idle_since(&self) -> Option<Instant> {
        self.idle_since.filter(|_| self.is_idle() && self.is_ready())
    }
}
