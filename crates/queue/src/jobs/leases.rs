//! How a process comes to have a job, and what becomes of it when the process dies.
//!
//! Invariants: a job that is queued belongs to the first one who commits its position; whoever leased it before that, and
//! died, never had it. A job that is leased belongs to its process until that process is proved dead. Both steps are made
//! under the consumers' lock.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

use procession_raw::{Ring, Stage, Turn};
use procession_shm::{Party, ShmError};
use procession_sys::futex::SharedPark;

use super::cells;
use super::memory::{Memory, Senseless};
use super::seats::{NoSeat, Worker};
use crate::error::RecvError;
use crate::link::Place;
use crate::packet::Packet;

/// A job that this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) cell: u32,
    pub(super) stage: Stage,
    pub(super) len: usize,
    /// The number of its luggage, if it has any.
    pub(super) luggage: Option<u64>,
}

/// A job that was leased right now.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) lease: Lease,
    /// A copy of its luggage, if it has any.
    pub(super) packet: Option<Packet>,
    /// Whether nobody had it before, so that its packet is still in the sockets of the sides.
    pub(super) is_new: bool,
}

impl From<NoSeat> for RecvError {
    fn from(no_seat: NoSeat) -> Self {
        match no_seat {
            NoSeat::Full => Self::NoSlot,
            NoSeat::Memory(error) => Self::Memory(error),
        }
    }
}

impl From<Senseless> for RecvError {
    fn from(_: Senseless) -> Self {
        Self::Corrupt
    }
}

impl Memory {
    /// Leases the next job, if there is one, and makes room for it in `into`. Looks first, if `look`, whether the dead left
    /// any, which come first.
    pub(super) fn lease(
        &self,
        turn: &mut Turn<'_, SharedPark>,
        party: &Party<'_>,
        look: Option<u64>,
        end: BorrowedFd<'_>,
        into: &mut Vec<u8>,
    ) -> Result<Option<Delivery>, RecvError> {
        let seat = self.sit(party, turn.me())?;
        if let Some(news) = look {
            self.renew(party, turn.me());
            self.settle(party);
            if let Some(delivery) = self.adopt(seat, into)? {
                return Ok(Some(delivery));
            }
            self.looked.store(news, Relaxed);
        }
        if turn.ready(self.layout().capacity, 1).map_err(|_| RecvError::Corrupt)? == 0 {
            return Ok(None);
        }
        let position = turn.at();
        let cell = self.slot(position)?.cell;
        let now = self.job(cell).map_err(RecvError::Memory)?.current();
        let is_its = match now {
            Stage::Queued(_) => now == Stage::queued(position),
            // By somebody who died before the commit.
            Stage::Leased { .. } => true,
            _ => false,
        };
        let packet = match self.luggage_of(cell) {
            Some(number) if is_its => self.claim(end, number)?,
            _ => None,
        };
        let lease = if is_its { self.move_to(seat, cell, now, 0, into)? } else { None };
        let lease = lease.ok_or(RecvError::Corrupt)?;
        turn.commit(1);
        Ok(Some(Delivery { lease, packet, is_new: true }))
    }

    /// Leases one that came back.
    fn adopt(&self, seat: u32, into: &mut Vec<u8>) -> Result<Option<Delivery>, RecvError> {
        for (cell, job) in self.jobs() {
            let now @ Stage::Left(n) = job.current() else { continue };
            let luggage = self.luggage_of(cell);
            let packet = luggage.map(|number| self.find_luggage(number)).transpose()?.flatten();
            if let Some(lease) = self.move_to(seat, cell, now, n, into)? {
                return Ok(Some(Delivery { lease, packet, is_new: false }));
            }
        }
        Ok(None)
    }

    fn move_to(
        &self,
        seat: u32,
        cell: u32,
        now: Stage,
        n: u32,
        into: &mut Vec<u8>,
    ) -> Result<Option<Lease>, RecvError> {
        let len = self.len_of(cell).ok_or(RecvError::Corrupt)?;
        // Now, while it is nobody's.
        cells::reserve(len, into).map_err(RecvError::Memory)?;
        let stage = Stage::leased_after(n, seat);
        let moved = self.job(cell).is_ok_and(|job| job.change(now, stage));
        Ok(moved.then_some(Lease { cell, stage, len, luggage: self.luggage_of(cell) }))
    }

    /// Takes their jobs from the dead: each comes back, or is given up. Only for the holder of the consumers' lock.
    #[cold]
    pub(super) fn settle(&self, party: &Party<'_>) {
        let first = self.first();
        // Each is asked about once.
        let mut known: Vec<(u32, bool)> = Vec::new();
        let mut came_back = false;
        for (cell, job) in self.jobs().filter(|(cell, _)| Some(*cell) != first) {
            let now @ Stage::Leased { seat, n } = job.current() else { continue };
            let found = known.iter().find(|(of, _)| *of == seat).map(|(_, is_dead)| *is_dead);
            let is_dead = found.unwrap_or_else(|| {
                let is_dead = self.is_dead(party, seat);
                known.push((seat, is_dead));
                is_dead
            });
            if !is_dead {
                continue;
            }
            if self.layout().fails != 0 || self.is_last(n) {
                self.give_up(cell, now, self.worker(seat));
            } else {
                came_back |= job.change(now, Stage::Left(n));
            }
        }
        if came_back {
            // There may be more of them than who looks takes.
            self.bell().ring(&SharedPark);
        }
    }

    /// The cell of the first job in the ring, which nobody has, whatever its word says.
    fn first(&self) -> Option<u32> {
        let ring: &Ring = self.ring();
        let head = ring.counter(procession_raw::Side::Consumers);
        let is_there = !ring.is_empty();
        is_there.then(|| self.slot(head).ok()).flatten().map(|slot| slot.cell)
    }

    /// Whether a job that was delivered so often is not delivered again.
    pub(super) fn is_last(&self, n: u32) -> bool {
        let most = self.layout().max_deliveries;
        most != 0 && n >= most
    }

    /// Makes a dead letter of a job.
    pub(super) fn give_up(&self, cell: u32, now: Stage, by: Option<Worker>) {
        self.set_worker(cell, by.unwrap_or_default());
        let _ = self.job(cell).is_ok_and(|job| job.bury(&SharedPark, now));
    }

    /// Gives a job back that this process has leased, for another delivery if there is one left.
    pub(super) fn put_back(&self, Lease { cell, stage, .. }: Lease) {
        let Stage::Leased { n, .. } = stage else { return };
        if self.is_last(n) {
            self.give_up(cell, stage, Some(Self::this_worker()));
        } else if self.job(cell).is_ok_and(|job| job.change(stage, Stage::Left(n))) {
            // Who receives looks at the bell.
            self.bell().ring(&SharedPark);
        }
    }

    /// The bytes of a job that this process has leased.
    pub(super) fn bytes(&self, lease: Lease, into: &mut Vec<u8>) -> Result<(), ShmError> {
        self.read(lease.cell, lease.len, into)
    }
}
