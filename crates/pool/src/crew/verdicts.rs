//! Tasks that we end while a worker has them.
//!
//! A worker that runs what is to end is killed; the order stays with it, marked, until it has ended, so that the outcome
//! comes after the last thing the task could do. Deaths of this kind say nothing against starting workers.

use std::sync::Arc;

use super::{Crew, NOTHING};
use crate::error::TaskFailed;
use crate::job::{Order, Verdict};
use crate::sink::Sink;

impl Crew {
    /// Cancels the one task of `sink`: whether it has, or will have, the outcome `Cancelled`.
    pub(crate) fn cancel(&mut self, sink: &Arc<Sink>) -> bool {
        let is_it = |order: &Order| Arc::ptr_eq(&order.sink, sink);
        if let Some(order) =
            self.waiting.iter().position(is_it).and_then(|position| self.waiting.remove(position))
        {
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
