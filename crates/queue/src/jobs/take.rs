//! How a process waits for a job.
//!
//! Invariant: "nothing more comes" is said only when nothing is queued, nothing came back, and no other process has a job
//! that would come back with its death.

use std::sync::atomic::Ordering::Relaxed;

use procession_raw::{Job, Stage};
use procession_sys::Deadline;

use super::leases::Delivery;
use super::memory::Memory;
use super::wait;
use crate::error::RecvError;
use crate::link::{Link, News, Place};

/// Jobs between two looks for the dead that nobody has spoken of; more if there are more cells to look at, so that the
/// looks cost little.
const EVERY: u32 = 256;

impl Link<Memory> {
    /// Leases a job, waiting for it, and makes room for it in `bytes`.
    pub(super) fn recv_job(&self, bytes: &mut Vec<u8>, deadline: Deadline) -> Result<Delivery, RecvError> {
        let (mut ticks, mut has_slept, mut look) = (0, false, false);
        let (mut is_alone, mut knew) = (false, false);
        let error = loop {
            let watched = self.watch();
            let seen = match self.take(bytes, deadline, look) {
                Ok(Ok(delivery)) => return Ok(delivery),
                Ok(Err(seen)) => seen,
                Err(error) => break error,
            };
            self.sweep_all(&self.party());
            let is_closed = self.memory().ring().is_closed();
            match if is_closed { self.drained(&self.party(), deadline) } else { Ok(true) } {
                Ok(true) => {}
                Ok(false) => continue,
                Err(barred) => break barred.into(),
            }
            let asks = deadline.has_passed() && self.asks_without_a_reason();
            is_alone = is_alone || self.seems_alone(seen) || asks && self.is_alone();
            if is_closed || is_alone {
                if !knew {
                    // What was sent before it was known, and what the dead left.
                    (knew, look) = (true, true);
                    continue;
                }
                let Some(other) = self.leased_by_others() else {
                    break if is_closed { RecvError::Closed } else { RecvError::Disconnected };
                };
                if deadline.has_passed() {
                    break RecvError::TimedOut;
                }
                wait::rest(other, watched, deadline, &mut ticks);
                continue;
            }
            if deadline.has_passed() && (look || !asks) {
                break RecvError::TimedOut;
            }
            if !has_slept && !look {
                // Before sleeping, or now and then: who died may have left what nobody will tell of.
                look = true;
                continue;
            }
            has_slept = true;
            let news = self.wait(seen, deadline, &mut ticks);
            is_alone = news == News::Disconnected;
            look = ticks > 0;
        };
        if has_slept {
            self.pass_on();
        }
        Err(error)
    }

    /// One turn; the producers' counter, if there was nothing.
    fn take(
        &self,
        bytes: &mut Vec<u8>,
        deadline: Deadline,
        look: bool,
    ) -> Result<Result<Delivery, u32>, RecvError> {
        let party = self.party();
        let mut turn = self.enter(&party, deadline)?;
        let news = self.news();
        let looked = self.memory().looked.load(Relaxed);
        let every = EVERY.max(self.memory().top().next_power_of_two());
        let due = look || news != looked || turn.at() % every == every - 1 || turn.heir_of().is_some();
        let delivery = self.memory().lease(&mut turn, &party, due.then_some(news), self.end(), bytes)?;
        if let Some(Delivery { is_new: true, packet: Some(_), lease }) = &delivery {
            self.discard(lease.luggage.unwrap_or_default());
            drop(turn);
            self.tell_of_room();
            return Ok(delivery.ok_or(0));
        }
        Ok(delivery.ok_or(turn.other()))
    }

    /// A job that may come back. What is queued now is none: it was never committed, by a sender that is dead.
    pub(super) fn leased_by_others(&self) -> Option<(&Job, Stage)> {
        let own = self.memory().own_seat();
        self.memory().find(|stage| match stage {
            Stage::Leased { seat, .. } => Some(seat) != own,
            Stage::Left(_) => true,
            _ => false,
        })
    }
}
