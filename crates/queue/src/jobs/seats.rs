//! Who receives jobs: a table of processes, because a job is leased by a process and not by a thread.
//!
//! A thread that received a job may end while another one works on it, so the death of a thread proves nothing. A process
//! that receives takes a *seat* with its full name, and the id of the thread that took it. As long as that thread lives, the
//! process does, which is three loads; once it has ended, or was killed with all of its process, the process's pidfd and
//! start time decide ([`process_has_ended`]), which is a few system calls. Both are certain when they say "dead". Not
//! proved, as for every name: a process of another pid namespace, and an `execve`, which gives its jobs back only when the
//! process ends.
//!
//! | words of a seat | who writes them |
//! |---|---|
//! | 0: 0, free; or `USED`, and the id of the thread | the holder of the consumers' lock, after the others; its process, leaving without jobs, to 0 |
//! | 1 to 3: process number and time namespace, start time, pid namespace | the holder of the consumers' lock, while word 0 is 0 |
//!
//! Invariants: a seat is given again only if its process has left it, or is dead and nothing is leased by it; so a lease
//! says whose it is by the seat's number alone. A forked child has a seat of its own.

use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use procession_raw::{Id, Owners, Stage};
use procession_shm::{Party, ShmError};
use procession_sys::fork::epoch;
use procession_sys::identity::ProcessIdentity;
use procession_sys::life::{SlotOwner, process_has_ended};

use super::layout::{N_SEATS, N_SEATS_AT, SEAT};
use super::memory::Memory;

const USED: u64 = 1 << 32;

/// The seat of the process, as it knows it itself. Words and no lock, which a fork could copy while it is held.
#[derive(Debug, Default)]
pub(super) struct OwnSeat {
    seat: AtomicU32,
    /// The time between two forks in which that was taken; 0 is never.
    epoch: AtomicU64,
}

impl OwnSeat {
    fn get(&self) -> Option<u32> {
        (self.epoch.load(Acquire) == this_epoch()).then(|| self.seat.load(Relaxed))
    }

    /// Only for the holder of the consumers' lock.
    fn set(&self, seat: u32) {
        self.seat.store(seat, Relaxed);
        self.epoch.store(this_epoch(), Release);
    }
}

/// The number of the epoch, which is never 0.
fn this_epoch() -> u64 {
    struct Number(u64);
    impl Hasher for Number {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |number, byte| number << 8 | u64::from(*byte));
        }
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }
    let mut number = Number(0);
    epoch().hash(&mut number);
    number.finish()
}

/// No seat was to be had.
#[derive(Debug)]
pub(super) enum NoSeat {
    /// So many processes receive.
    Full,
    Memory(ShmError),
}

impl From<ShmError> for NoSeat {
    fn from(error: ShmError) -> Self {
        Self::Memory(error)
    }
}

impl Memory {
    /// This process's seat, if it has one.
    #[inline]
    pub(super) fn own_seat(&self) -> Option<u32> {
        self.seat.get()
    }

    /// This process's seat; takes one the first time. `me` is the holder of the consumers' lock.
    pub(super) fn sit(&self, party: &Party<'_>, me: Id) -> Result<u32, NoSeat> {
        match self.own_seat() {
            Some(seat) => Ok(seat),
            None => self.take_seat(party, me),
        }
    }

    #[cold]
    fn take_seat(&self, party: &Party<'_>, me: Id) -> Result<u32, NoSeat> {
        let used = self.n_seats();
        let mut free = (0..used).find(|seat| self.occupant(*seat).is_none());
        if free.is_none() && used < N_SEATS {
            self.arena().reserve(self.layout().seat_at(used), SEAT)?;
            self.word(N_SEATS_AT)?.store(u64::from(used) + 1, Release);
            free = Some(used);
        }
        if free.is_none() {
            // What the dead had leased first, so that it is not taken for the next one's.
            self.settle(party);
            free = (0..used).find(|seat| self.is_dead(party, *seat) && !self.has_leases(*seat));
        }
        let seat = free.ok_or(NoSeat::Full)?;
        let words = self.arena().atomics(self.layout().seat_at(seat), 4)?;
        let who = SlotOwner::current();
        words[0].store(0, Release);
        words[1].store(u64::from(who.pid) | who.time_namespace << 32, Release);
        words[2].store(who.process_started, Release);
        words[3].store(who.namespace, Release);
        words[0].store(USED | u64::from(me.to_bits()), Release);
        self.seat.set(seat);
        Ok(seat)
    }

    /// This process has no job of this queue any more, and will not receive one.
    pub(super) fn leave_seat(&mut self) {
        if let Some(seat) = self.own_seat()
            && let Ok(word) = self.word(self.layout().seat_at(seat))
        {
            word.store(0, Release);
        }
    }

    /// Puts the calling thread, which is `me`, in the place of one that has ended, so that others have less to prove. Only
    /// for the holder of the consumers' lock.
    pub(super) fn renew(&self, party: &Party<'_>, me: Id) {
        if let Some(seat) = self.own_seat()
            && self.occupant(seat).is_none_or(|id| party.is_dead(id))
            && let Ok(word) = self.word(self.layout().seat_at(seat))
        {
            word.store(USED | u64::from(me.to_bits()), Release);
        }
    }

    fn n_seats(&self) -> u32 {
        self.word(N_SEATS_AT).map_or(0, |word| word.load(Acquire)).min(N_SEATS.into()) as u32
    }

    fn occupant(&self, seat: u32) -> Option<Id> {
        let word = self.word(self.layout().seat_at(seat)).ok()?.load(Acquire);
        (word & USED != 0).then(|| Id::from_bits(word as u32))
    }

    fn has_leases(&self, seat: u32) -> bool {
        self.jobs().any(|(_, job)| matches!(job.current(), Stage::Leased { seat: of, .. } if of == seat))
    }

    /// Whether the process in a seat has certainly ended. Only for the holder of the consumers' lock.
    pub(super) fn is_dead(&self, party: &Party<'_>, seat: u32) -> bool {
        if seat >= self.n_seats() {
            return true;
        }
        let Some(id) = self.occupant(seat) else { return true };
        if self.own_seat() == Some(seat) || !party.is_dead(id) {
            return false;
        }
        let Ok(words) = self.arena().atomics(self.layout().seat_at(seat), 4) else { return false };
        let [who, started, namespace] = [1, 2, 3].map(|at: usize| words[at].load(Relaxed));
        let known = who as u32 != 0 && started != 0 && namespace != 0;
        // Start times are shown by the clock of a time namespace.
        let is_of_our_time = who >> 32 == SlotOwner::current().time_namespace & u64::from(u32::MAX);
        let process = ProcessIdentity { pid: who as u32, started, namespace };
        known && is_of_our_time && process_has_ended(&process)
    }

    /// Who sits there, or sat there last.
    pub(super) fn worker(&self, seat: u32) -> Option<Worker> {
        let words = self.arena().atomics(self.layout().seat_at(seat.min(N_SEATS - 1)), 4).ok()?;
        let [who, started, namespace] = [1, 2, 3].map(|at: usize| words[at].load(Relaxed));
        (who as u32 != 0).then_some(Worker { pid: who as u32, started, namespace })
    }

    /// This process.
    pub(super) fn this_worker() -> Worker {
        let SlotOwner { pid, process_started: started, namespace, .. } = SlotOwner::current();
        Worker { pid, started, namespace }
    }
}

/// A process that had a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// Its number, in its own pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since boot; 0 if that could not be known.
    pub started: u64,
    /// The inode of its pid namespace, as in `/proc/PID/ns/pid`; 0 if that could not be known.
    pub namespace: u64,
}
