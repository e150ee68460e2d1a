//! Telling workers which contexts nobody needs any more.
//!
//! Who is idle is told at once, who works with its next job. A worker that does not read is told no more than a few times,
//! so that there is room for a job; the rest goes with that.

use std::sync::PoisonError;

use super::{Crew, Place};
use crate::context::ContextRef;
use crate::job::Order;
use crate::wire::Job;

/// So many messages may lie in the pipe of a worker that should read them.
const MOST_TOLD: u32 = 16;

impl Crew {
    /// Passes on what was released.
    pub(crate) fn let_go(&mut self) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = std::mem::take(&mut *released);
        drop(released);
        if ids.is_empty() {
            return;
        }
        for place in &mut self.places {
            let known = place.known.extract_if(.., |known| ids.contains(known));
            place.forget.extend(known);
            let is_told = !place.forget.is_empty() && place.is_idle() && place.n_told < MOST_TOLD;
            let Some(worker) = place.worker.as_ref().filter(|worker| is_told && worker.journal.is_ready())
            else {
                continue;
            };
            // If it cannot be told it is dead, or told later.
            if worker.post(&Job::forget(place.forget.clone())).is_ok() {
                place.forget.clear();
                place.n_told += 1;
            }
        }
    }
}

impl Place {
    /// The worker gets an order, and with it a context.
    pub(super) fn note_context(&mut self, order: &Order) {
        let given = order.job.extra.context.as_ref().map(ContextRef::id);
        self.known.extend(given.filter(|id| !self.known.contains(id)));
    }
}
