//! Callers that wait and look at the lanes themselves.

use super::Crew;

impl Crew {
    /// A caller begins to look at lanes, or ends it. Whoever ends it looks [once more](Self::hear) then: workers ring only
    /// for what they are done with later.
    pub(crate) fn attend(&mut self, is_attended: bool) {
        self.is_attended = is_attended;
        for place in &self.places {
            if let (Some(worker), Some(order)) = (&place.worker, &place.running) {
                worker.lane().arm(if is_attended { 0 } else { order.job.number });
            }
        }
    }

    /// Takes in what is done, as lanes say; whether anything is.
    pub(crate) fn hear(&mut self) -> bool {
        let mut has_heard = false;
        for at in 0..self.places.len() {
            let place = &self.places[at];
            let (Some(worker), Some(order), None) = (&place.worker, &place.running, place.lost) else {
                continue;
            };
            if worker.lane().done() == order.job.number {
                self.listen(at);
                has_heard = true;
            }
        }
        has_heard
    }
}
