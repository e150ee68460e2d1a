//! The handles of jobs, on their way: sent as those of messages, and kept in the [`Depot`](super::depot::Depot) from the
//! lease to the end of the job.
//!
//! Invariants: a number has its cell in it, so that one look says whether a packet belongs to a job; and numbers only grow, as
//! those of messages. The cell has the number as long as the job lives.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_codec::handles::Outgoing;
use procession_raw::{Side, Stage};
use procession_shm::{Party, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use super::cells::Owned;
use super::layout::{EXTRA, MAX_CAPACITY};
use super::memory::Memory;
use crate::error::{RecvError, SendFault};
use crate::link::{Link, Place};
use crate::luggage::{self, Luggage, Numbered, Packet, Unsent};

/// So many bits of a number say the cell.
const CELL_BITS: u32 = 20;

/// How long who takes a dead letter lets others finish.
const MOMENT: Duration = Duration::from_micros(50);

const _: () = assert!(MAX_CAPACITY + EXTRA <= 1 << CELL_BITS);

impl Link<Memory> {
    /// Sends a job with its descriptors, waiting for room for both. If this succeeds, the handles have moved.
    #[cold]
    pub(super) fn send_laden(
        &self,
        bytes: &[u8],
        outgoing: Outgoing,
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        let luggage = Luggage::pack(&outgoing)?;
        self.send_job(bytes, Some(&luggage), deadline)?;
        drop(luggage);
        outgoing.commit();
        Ok(())
    }

    /// Sends the packet of a job that is to be queued. Only for the holder of the producers' lock.
    pub(super) fn send_luggage(&self, luggage: &Luggage<'_>, owned: &Owned<'_>) -> Result<(), Unsent> {
        let next = |last: u64| (last >> CELL_BITS).wrapping_add(1) << CELL_BITS | u64::from(owned.cell);
        let number = luggage.send(self.end(), self.memory(), next)?;
        owned.lade(number).map_err(|error| Unsent::Fault(SendFault::Memory(error)))
    }

    /// Lets the handles of a job go that has ended, unless somebody is receiving right now: then the next one does it.
    #[cold]
    pub(super) fn retire(&self, number: u64) {
        let (memory, party) = (self.memory(), self.party());
        let now = Wait(Deadline::now());
        if let Ok(_turn) = memory.ring().enter(Side::Consumers, &SharedPark, &party, &now) {
            let _ = memory.depot.retire(number, |number| memory.has_luggage(number));
        }
    }

    /// A copy of the luggage of a dead letter.
    #[cold]
    pub(super) fn luggage_of_the_dead(&self, number: u64) -> Result<Option<Packet>, RecvError> {
        let (party, moment) = (self.party(), Deadline::after(MOMENT));
        let ring = self.memory().ring();
        let turn = ring.enter(Side::Consumers, &SharedPark, &party, &Wait(moment));
        let _turn = turn.map_err(|_| RecvError::Contended { by: None })?;
        self.memory().find_luggage(number)
    }

    /// Takes away what belongs to no job, if nobody is in the middle: for who finds nothing to receive.
    #[inline]
    pub(super) fn sweep_all(&self, party: &Party<'_>) {
        self.sweep(party);
        if self.memory().numbers().is_ok_and(|[sent, _]| sent.load(Relaxed) != 0) {
            self.sweep_depot(party);
        }
    }

    #[cold]
    fn sweep_depot(&self, party: &Party<'_>) {
        let memory = self.memory();
        if let Ok(_turn) = memory.ring().enter(Side::Consumers, &SharedPark, party, &Wait(Deadline::now())) {
            let _ = memory.depot.sweep(|number| memory.has_luggage(number));
        }
    }
}

impl Memory {
    /// Whether a packet belongs to a job.
    fn has_luggage(&self, number: u64) -> bool {
        let cell = (number & ((1 << CELL_BITS) - 1)) as u32;
        cell < self.top()
            && self.job(cell).is_ok_and(|job| !matches!(job.current(), Stage::Free | Stage::Owned(_)))
            && self.luggage_of(cell) == Some(number)
    }

    /// The luggage of the first job in the ring, which is kept in the depot from now on, too. Only for the holder of the
    /// consumers' lock.
    ///
    /// # Errors
    /// The job can be leased another time.
    #[cold]
    pub(super) fn claim(&self, end: BorrowedFd<'_>, number: u64) -> Result<Option<Packet>, RecvError> {
        let failed = |error| RecvError::Memory(procession_shm::ShmError::from(error));
        let packet = luggage::find(end, number).map_err(failed)?;
        if let Some(packet) = &packet {
            self.depot.add(number, packet, |number| self.has_luggage(number)).map_err(failed)?;
        }
        Ok(packet)
    }

    /// The luggage of a job that was leased before. Only for the holder of the consumers' lock.
    #[cold]
    pub(super) fn find_luggage(&self, number: u64) -> Result<Option<Packet>, RecvError> {
        let found = self.depot.find(number, |number| self.has_luggage(number));
        found.map_err(|error| RecvError::Memory(error.into()))
    }
}
