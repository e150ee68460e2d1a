//! What can be seen of a crew's work while it is done.

use std::sync::Arc;

use super::Crew;
use crate::sink::Sink;

impl Crew {
    /// The number that the next task gets.
    pub(crate) fn n_tasks(&self) -> u64 {
        self.next_task
    }

    /// Tasks of `sink` that are finished, and whose outcomes stand in journals still.
    pub(crate) fn n_finished(&self, sink: &Arc<Sink>) -> usize {
        let running =
            self.places.iter().filter_map(|place| Some((place.worker.as_ref()?, place.running.as_ref()?)));
        let of_sink = running.filter(|(_, order)| Arc::ptr_eq(&order.sink, sink));
        of_sink
            .map(|(worker, order)| {
                let finished = worker.journal.n_finished(order.job.number);
                finished.saturating_sub(order.n_settled).min(order.job.items.len())
            })
            .sum()
    }
}
