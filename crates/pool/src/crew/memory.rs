//! Looking at the memory of workers that run something.
//!
//! The collector looks at fixed times as long as jobs are given out. A worker above its limit is ended as one whose task
//! takes too long: only after the journal proves that it begins no further item.

use std::time::Instant;

use procession_sys::{Deadline, memory};

use super::{Crew, NOTHING, Place};
use crate::job::Verdict;

impl Crew {
    /// When to look at the memory of workers next.
    pub(crate) fn next_sample(&self) -> Deadline {
        self.sample_due.map_or(Deadline::NEVER, Deadline::at)
    }

    /// A worker was given something: one is to look after it.
    pub(super) fn expect_sample(&mut self) {
        if self.sample_due.is_none() {
            self.sample_due = Instant::now().checked_add(self.settings.memory.period());
        }
    }

    /// Looks at the memory of every worker that runs something, if it is time; ends those that have too much.
    pub(crate) fn sample(&mut self) {
        let now = Instant::now();
        if self.sample_due.take_if(|due| *due <= now).is_none() {
            return;
        }
        for place in 0..self.places.len() {
            let Place { worker: Some(worker), running: Some(order), lost: None, .. } =
                &mut self.places[place]
            else {
                continue;
            };
            self.sample_due = now.checked_add(self.settings.memory.period());
            // In this order: what has so much memory is this item, or the worker begins no other after it.
            let progress = worker.journal.progress(order.job.number);
            let Some(resident) = memory::resident(worker.process.pid()) else { continue };
            worker.care.note(resident);
            let is_over = self.settings.memory.limit.is_some_and(|limit| resident > limit);
            if is_over && progress.since.is_some() && worker.journal.condemn(progress) {
                order.verdict = Some(Verdict::TooLarge(resident));
                self.lose(place, NOTHING);
            }
        }
    }
}
