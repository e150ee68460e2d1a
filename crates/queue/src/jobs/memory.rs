//! The memory of a queue of jobs: its words, its slots, and what the process that mapped it knows of it.
//!
//! Invariants: nothing outside of the arena is touched, whatever a peer stores. How many cells there are is said by the
//! holder of the producers' lock only, after the memory was taken.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use procession_raw::{Both, Job, Obituary, Ring, Side, Stage, Turn};
use procession_shm::domain::Domain;
use procession_shm::plain::{bytes_of, from_bytes};
use procession_shm::{Arena, Fingerprint, Party, Plain, Refusal, ShmError};
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::depot::Depot;
use super::layout::{CELL, LUGGAGE_AT, Layout, TOP_AT};
use super::seats::OwnSeat;
use crate::link::Place;
use crate::luggage::Numbered;

/// The ring; how often a side may have lost its last user, or a job came back.
pub(crate) type Words = Both<Ring, Obituary>;

/// A queue of jobs as one process has mapped it.
#[derive(Debug)]
pub(crate) struct Memory {
    arena: Arena<Words>,
    layout: Layout,
    /// The handles of jobs that were leased.
    pub(super) depot: Depot,
    /// Which cell to look at first for a free one.
    pub(super) hint: AtomicU32,
    /// What had been heard of deaths when this process last looked for what the dead left, and found nothing.
    pub(super) looked: AtomicU64,
    /// This process's seat.
    pub(super) seat: OwnSeat,
}

/// What is said of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The cell that its job lies in.
    pub(crate) cell: u32,
    /// The bytes of all jobs up to this one, modulo 2^64.
    pub(crate) charged: u64,
}

/// Words that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Senseless;

impl Memory {
    pub(crate) fn create(layout: Layout) -> Result<Self, ShmError> {
        let arena = Arena::create(kind(), layout.len(), layout.reserved())?;
        arena.write(0, bytes_of(&layout))?;
        Ok(Self::new(arena, layout, Depot::create()?))
    }

    fn new(arena: Arena<Words>, layout: Layout, depot: Depot) -> Self {
        let (hint, looked) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { arena, layout, depot, hint, looked, seat: OwnSeat::default() }
    }

    fn layout_in(arena: &Arena<Words>) -> Result<Layout, ShmError> {
        let mut bytes = [0; size_of::<Layout>()];
        arena.read(0, &mut bytes)?;
        let layout: Layout = from_bytes(&bytes).ok_or(Refusal::Damaged)?;
        Ok(layout.check(arena.len())?)
    }

    #[inline]
    pub(crate) fn arena(&self) -> &Arena<Words> {
        &self.arena
    }

    #[inline]
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many jobs are queued.
    pub(crate) fn n_queued(&self) -> u32 {
        self.ring().len().min(self.layout.capacity)
    }

    /// How many cells can be in use.
    #[inline]
    pub(super) fn top(&self) -> u32 {
        self.word(TOP_AT).map_or(0, |word| word.load(Acquire)).min(self.layout.n_cells.into()) as u32
    }

    /// Takes memory for more cells; whether there are more now. Only for the holder of the producers' lock.
    #[cold]
    pub(super) fn grow(&self, known: u32) -> Result<bool, ShmError> {
        let top = self.top();
        let next = top.max(32).saturating_mul(2).min(self.layout.n_cells);
        if top > known || next == top {
            return Ok(top > known);
        }
        self.arena.reserve(self.layout.cell_at(top), (next - top) as usize * CELL)?;
        self.word(TOP_AT)?.store(next.into(), Release);
        Ok(true)
    }

    /// Where the job in a cell is. `cell` is less than [`top`](Self::top), or comes from a slot.
    #[inline]
    pub(super) fn job(&self, cell: u32) -> Result<&Job, ShmError> {
        self.arena.words_at(self.layout.cell_at(cell))
    }

    /// All cells that can be in use.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (u32, &Job)> {
        (0..self.top()).filter_map(|cell| Some((cell, self.job(cell).ok()?)))
    }

    /// As [`Job::count_unfinished`].
    pub(crate) fn n_unfinished(&self) -> usize {
        Job::count_unfinished(self.ring(), || self.jobs().map(|(_, job)| job))
    }

    #[inline]
    pub(super) fn slot(&self, position: u32) -> Result<Slot, Senseless> {
        let words = self.arena.atomics(self.layout.slot_at(position), 2).map_err(|_| Senseless)?;
        let (cell, charged) = (words[0].load(Relaxed), words[1].load(Relaxed));
        let is_one = cell < self.layout.n_cells.into();
        is_one.then_some(Slot { cell: cell as u32, charged }).ok_or(Senseless)
    }

    /// Only for the holder of the producers' lock.
    #[inline]
    pub(super) fn set_slot(&self, position: u32, slot: Slot) -> Result<(), ShmError> {
        let words = self.arena.atomics(self.layout.slot_at(position), 2)?;
        words[0].store(slot.cell.into(), Relaxed);
        words[1].store(slot.charged, Relaxed);
        Ok(())
    }

    /// A word, so that it is whole.
    pub(super) fn word(&self, at: usize) -> Result<&AtomicU64, ShmError> {
        Ok(&self.arena.atomics(at, 1)?[0])
    }

    /// Frees the cells of jobs that were marked as queued from this position on and never committed.
    fn take_back_uncommitted(&self, at: u32) {
        for position in (0..self.layout.capacity).map(|n| at.wrapping_add(n)) {
            let Ok(slot) = self.slot(position) else { return };
            let Ok(job) = self.job(slot.cell) else { return };
            if !job.finish(&SharedPark, Stage::queued(position)) {
                return;
            }
        }
    }
}

impl Place for Memory {
    fn share(&self) -> Self {
        Self::new(self.arena.clone(), self.layout, self.depot.clone())
    }

    #[inline]
    fn ring(&self) -> &Ring {
        &self.arena.words().0
    }

    #[inline]
    fn bell(&self) -> &Obituary {
        &self.arena.words().1
    }

    #[inline]
    fn domain(&self) -> &Domain {
        self.arena.domain()
    }

    #[inline]
    fn obituary(&self) -> &AtomicU32 {
        self.arena.obituary()
    }

    #[inline]
    fn party(&self) -> Party<'_> {
        self.arena.party()
    }

    /// A dead consumer left nothing to mend: what it leased and did not commit is still the first job, for whoever comes.
    fn tidy(&self, side: Side, _: &Party<'_>, turn: &Turn<'_, SharedPark>) {
        if side == Side::Producers {
            self.take_back_uncommitted(turn.at());
        }
    }

    fn send<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (AsSent(&self.arena), &self.depot).serialize(serializer)
    }

    fn receive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (Received(arena), depot) = Deserialize::deserialize(deserializer)?;
        let layout = Self::layout_in(&arena).map_err(de::Error::custom)?;
        Ok(Self::new(arena, layout, depot))
    }
}

struct AsSent<'a>(&'a Arena<Words>);

impl Serialize for AsSent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.send(serializer)
    }
}

struct Received(Arena<Words>);

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arena::receive(deserializer, kind()).map(Self)
    }
}

impl Numbered for Memory {
    #[inline]
    fn numbers(&self) -> Result<[&AtomicU64; 2], ShmError> {
        let words = self.arena.atomics(LUGGAGE_AT, 2)?;
        Ok([&words[0], &words[1]])
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.leave_seat();
    }
}

fn kind() -> Fingerprint {
    Fingerprint::new("procession-jobs", 0, 1).field("layout", 0, Layout::FINGERPRINT)
}
