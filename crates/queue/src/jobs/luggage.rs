//! The handles of jobs, on their way: sent as those of messages, and kept in the [`Depot`](super::depot::Depot) from the
//! lease to the end of the job.
//!
//! Invariants: a number has its cell in it, so that one look says whether a packet belongs to a job; and numbers only grow, as
//! those of messages. The cell has the number as long as the job lives.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_codec::handles::Outgoing;
use procession_raw::{Id, Job, Side, Stage};
use procession_shm::{Party, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use super::cells::{self, Owned};
use super::layout::{EXTRA, MAX_CAPACITY};
use super::memory::Memory;
use crate::error::{RecvError, SendFault};
use crate::link::{Link, Place};
use crate::luggage::{Luggage, Numbered, Unsent};
use crate::packet::{self, Packet};

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

    /// Makes a dead letter this thread's and nobody else's, with room for it in `bytes`; and its luggage, if it has any.
    /// `None` if it is not to be had: whoever else took it has it, or it stays where it is.
    pub(super) fn take_letter(
        &self,
        cell: u32,
        job: &Job,
        now: Stage,
        me: Id,
        bytes: &mut Vec<u8>,
    ) -> Option<Option<(u64, Option<Packet>)>> {
        let (memory, party, moment) = (self.memory(), self.party(), Deadline::after(MOMENT));
        // While it is ours its packet seems to be of no job. Who takes those away has the lock.
        let enter = || memory.ring().enter(Side::Consumers, &SharedPark, &party, &Wait(moment));
        let turn = if self.has_sent_luggage() { Some(enter().ok()?) } else { None };
        let number = memory.luggage_of(cell);
        let luggage = match (number, &turn) {
            (None, _) => None,
            (Some(_), None) => return None,
            (Some(number), Some(_)) => Some((number, memory.find_luggage(number).ok()?)),
        };
        if !job.change(now, Stage::Owned(me)) {
            return None;
        }
        // Another may lie there since it was looked at, and as often delivered.
        let is_it = memory.luggage_of(cell) == number;
        let has_room = memory.len_of(cell).is_some_and(|len| cells::reserve(len, bytes).is_ok());
        if !is_it || !has_room {
            job.change(Stage::Owned(me), now);
            return None;
        }
        Some(luggage)
    }

    /// Whether there ever was a job with luggage.
    fn has_sent_luggage(&self) -> bool {
        self.memory().numbers().is_ok_and(|[sent, _]| sent.load(Relaxed) != 0)
    }

    /// Takes away what belongs to no job, if nobody is in the middle: for who finds nothing to receive.
    #[inline]
    pub(super) fn sweep_all(&self, party: &Party<'_>) {
        self.sweep(party);
        if self.has_sent_luggage() {
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
    /// Whether a packet in the depot belongs to a job: not to one that is queued, as whoever leases that adds another.
    fn has_luggage(&self, number: u64) -> bool {
        let cell = (number & ((1 << CELL_BITS) - 1)) as u32;
        cell < self.top()
            && self.job(cell).is_ok_and(|job| {
                matches!(job.current(), Stage::Leased { .. } | Stage::Left(_) | Stage::Buried(_))
            })
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
        let packet = packet::find(end, number).map_err(failed)?;
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
