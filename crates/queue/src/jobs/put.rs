//! How a job gets into the queue: into a cell without a lock, and then, under the producers' lock, to the tail.
//!
//! Invariant: who is killed here has sent the job or not. A cell that was being written goes to the next who looks for
//! one; one that was marked as queued and not committed is freed by who follows the dead.

use procession_raw::Turn;
use procession_shm::Party;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use super::cells::Owned;
use super::memory::{Memory, Senseless, Slot};
use super::wait;
use crate::error::SendFault;
use crate::link::{Link, News, Place};
use crate::luggage::{Crowded, Luggage, Unsent};

/// Where a turn has left a job that is to be sent.
enum Put {
    Sent,
    /// There is no room before the consumers' counter is another than this.
    Full(u32),
    /// The same, because there is no room for its luggage.
    Crowded(u32),
}

impl From<Senseless> for SendFault {
    fn from(_: Senseless) -> Self {
        Self::Corrupt
    }
}

impl Link<Memory> {
    /// Sends a job of these bytes, waiting for room.
    pub(super) fn send_job(
        &self,
        bytes: &[u8],
        luggage: Option<&Luggage<'_>>,
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        let (len, limit) = (bytes.len() as u64, self.memory().layout().limit);
        if len > limit {
            return Err(SendFault::TooLarge { len, limit });
        }
        let party = self.party();
        let mut owned = self.cell(&party, bytes, luggage.is_some(), deadline)?;
        let (mut ticks, mut slept_at, mut crowded) = (0, None, Crowded::default());
        let fault = loop {
            let watched = self.watch();
            let seen = match self.put(&party, deadline, owned.as_ref(), luggage) {
                Ok(Put::Sent) => return Ok(()),
                Ok(Put::Full(seen)) => seen,
                Ok(Put::Crowded(seen)) => {
                    slept_at = Some(seen);
                    match self.wait_for_space(&mut crowded, seen, deadline) {
                        News::Maybe => continue,
                        News::TimedOut => break SendFault::TimedOut,
                        News::Disconnected => break SendFault::Disconnected,
                    }
                }
                Err(fault) => break fault,
            };
            if slept_at.replace(seen).is_some_and(|before| before != seen) {
                // There is room, and less than this job needs: perhaps enough for what another one waits to send.
                self.pass_on();
            }
            let leased =
                if owned.is_none() { self.memory().find(procession_raw::Stage::is_unfinished) } else { None };
            match leased.filter(|_| !deadline.has_passed() && !self.is_alone()) {
                Some(leased) => wait::rest(leased, watched, deadline, &mut ticks),
                None => match self.wait(seen, deadline, &mut ticks) {
                    News::Maybe => {}
                    News::TimedOut => break SendFault::TimedOut,
                    News::Disconnected => break SendFault::Disconnected,
                },
            }
            if owned.is_none() {
                owned = match self.cell(&party, bytes, luggage.is_some(), deadline) {
                    Ok(owned) => owned,
                    Err(fault) => break fault,
                };
            }
        };
        if slept_at.is_some() {
            self.pass_on();
        }
        Err(fault)
    }

    /// A cell with these bytes; `None` if so many jobs are leased, or dead letters, that there is none.
    fn cell<'a>(
        &'a self,
        party: &Party<'_>,
        bytes: &[u8],
        is_laden: bool,
        deadline: Deadline,
    ) -> Result<Option<Owned<'a>>, SendFault> {
        let memory = self.memory();
        let me = procession_raw::Owners::me(party).map_err(|_| SendFault::NoSlot)?;
        loop {
            let known = memory.top();
            let owned = Owned::fill(memory, party, me, bytes, is_laden).map_err(SendFault::Memory)?;
            if owned.is_some() || !self.grow(party, known, deadline)? {
                return Ok(owned);
            }
        }
    }

    #[cold]
    fn grow(&self, party: &Party<'_>, known: u32, deadline: Deadline) -> Result<bool, SendFault> {
        if known == self.memory().layout().n_cells {
            return Ok(false);
        }
        let _turn = self.enter(party, deadline)?;
        self.memory().grow(known).map_err(SendFault::Memory)
    }

    /// One turn.
    fn put(
        &self,
        party: &Party<'_>,
        deadline: Deadline,
        owned: Option<&Owned<'_>>,
        luggage: Option<&Luggage<'_>>,
    ) -> Result<Put, SendFault> {
        let mut turn = self.enter(party, deadline)?;
        if self.memory().ring().is_closed() {
            return Err(SendFault::Closed);
        }
        if self.seems_alone(turn.at()) {
            return Err(SendFault::Disconnected);
        }
        let Some(owned) = owned else { return Ok(Put::Full(turn.other())) };
        let Some(slot) = self.memory().fit(&mut turn, owned)? else { return Ok(Put::Full(turn.other())) };
        if let Some(luggage) = luggage {
            // Known anew, so that who finds no room waits for what comes after.
            turn.ready(self.memory().layout().capacity, u32::MAX).map_err(|_| SendFault::Corrupt)?;
            match self.send_luggage(luggage, owned) {
                Ok(()) => {}
                Err(Unsent::Crowded) => return Ok(Put::Crowded(turn.other())),
                Err(Unsent::Fault(fault)) => return Err(fault),
            }
        }
        self.memory().set_slot(turn.at(), slot).map_err(SendFault::Memory)?;
        owned.enqueue(turn.at());
        turn.commit(1);
        Ok(Put::Sent)
    }
}

impl Memory {
    /// What the slot of the next position has to say, if there is room for the job, in jobs and in bytes.
    fn fit(&self, turn: &mut Turn<'_, SharedPark>, owned: &Owned<'_>) -> Result<Option<Slot>, SendFault> {
        // As the consumers' counter was known, and as it is now.
        for wanted in [1, u32::MAX] {
            let free = turn.ready(self.layout().capacity, wanted).map_err(|_| SendFault::Corrupt)?;
            let before = self.slot(turn.at().wrapping_sub(1))?.charged;
            let received = self.slot(turn.other().wrapping_sub(1))?.charged;
            let charged = before.wrapping_add(owned.len);
            if free > 0 && charged.wrapping_sub(received) <= self.layout().budget {
                return Ok(Some(Slot { cell: owned.cell, charged }));
            }
            // Else it would be full for ever, with nothing in it.
            if wanted > 1 && before.wrapping_sub(received) > self.layout().budget {
                return Err(SendFault::Corrupt);
            }
        }
        Ok(None)
    }
}
