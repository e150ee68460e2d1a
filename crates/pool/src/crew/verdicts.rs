//! Tasks that we end while a worker has them.
//!
//! A worker that runs what is to end is killed; the order stays with it, marked, until it has ended, so that the outcome
//! comes after the last thing the task could do. Deaths of this kind say nothing against starting workers.
//!
//! A task that runs into its limit may end just then. Its worker is killed only after the journal proves that it begins
//! no further item, so nobody else pays; an answer that was given after all counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::{Deadline, clock};

use super::{BY_ITSELF, Crew, NOTHING, Place};
use crate::error::TaskFailed;
use crate::job::{Order, Verdict};
use crate::sink::Sink;

/// Whether the next item has begun is not looked at more often.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl Crew {
    /// When to look after the time limits of running tasks next.
    pub(crate) fn next_limit(&mut self) -> Deadline {
        let (start, now) = (self.settings.start_timeout, Instant::now());
        let due = self.places.iter_mut().filter_map(|place| place.look(start, now));
        due.min().map_or(Deadline::NEVER, Deadline::at).min(self.next_sample())
    }

    /// Whether a task that was given out is due before the collector looks again.
    pub(crate) fn wants_earlier(&mut self) -> bool {
        let until = self.watched.1;
        let limit = self.next_limit().min(self.next_idle());
        limit.min(until) != until
    }

    /// Ends workers whose task took too long, or that do not begin what they were given.
    pub(crate) fn end_slow(&mut self) {
        let now = Instant::now();
        for place in 0..self.places.len() {
            if self.places[place].look(self.settings.start_timeout, now).is_none_or(|at| at > now) {
                continue;
            }
            let Place { worker: Some(worker), running: Some(order), .. } = &mut self.places[place] else {
                continue;
            };
            // Looked at once more: what began or ended since then has a time of its own.
            let progress = worker.journal.progress(order.job.number);
            let is_same = order.seen.is_some_and(|(mark, _)| mark == progress.mark);
            if is_same && worker.journal.condemn(progress) {
                order.verdict = Some(Verdict::TooSlow);
                self.lose(place, if progress.since.is_some() { NOTHING } else { BY_ITSELF });
            }
        }
    }

    /// Cancels the one task of `sink`: whether it has, or will have, the outcome `Cancelled`.
    pub(crate) fn cancel(&mut self, sink: &Arc<Sink>) -> bool {
        let is_it = |order: &Order| Arc::ptr_eq(&order.sink, sink);
        if let Some(order) = self.waiting.take_first(is_it) {
            sink.cancel();
            order.fail(&self.name, |task| TaskFailed::Cancelled { task });
        }
        let has_it = |crew: &Self, place: usize| crew.places[place].running.as_ref().is_some_and(is_it);
        if let Some(place) = (0..self.places.len()).find(|place| has_it(self, *place)) {
            // It may have said already that it is done.
            self.listen(place);
            if let Some(order) = self.places[place].running.as_mut().filter(|order| is_it(order)) {
                sink.cancel();
                order.verdict = Some(Verdict::Cancelled);
                if self.places[place].lost.is_none() {
                    self.lose(place, NOTHING);
                }
            }
        }
        sink.is_cancelled()
    }
}

impl Place {
    /// When to look after what the worker does, if it has a limit: not after `now` if it has taken too long.
    fn look(&mut self, start_timeout: Duration, now: Instant) -> Option<Instant> {
        let (Some(worker), Some(order), None) = (&self.worker, &mut self.running, self.lost) else {
            return None;
        };
        let limit = order.rules.timeout?;
        let progress = worker.journal.progress(order.job.number);
        if order.seen.is_none_or(|(mark, _)| mark != progress.mark) {
            order.seen = Some((progress.mark, now));
        }
        let (_, seen) = order.seen?;
        let Some(since) = progress.since else {
            // Nobody tells when the next item begins.
            let again = now.checked_add(limit.max(LOOK_AGAIN));
            let over = seen.checked_add(limit.max(start_timeout));
            return again.into_iter().chain(over).min();
        };
        // What the worker says counts only where it is to its disadvantage.
        let age = clock::uptime().saturating_sub(Duration::from_nanos(since));
        seen.min(now.checked_sub(age).unwrap_or(seen)).checked_add(limit)
    }
}
