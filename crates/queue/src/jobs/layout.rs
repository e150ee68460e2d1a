//! What lies where in the memory of a queue of jobs.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 64 | [`Layout`], written once before anybody else has the queue |
//! | [`TOP_AT`] | 8 | how many cells have memory, and so can be in use |
//! | [`N_SEATS_AT`] | 8 | how many seats were ever taken |
//! | [`LUGGAGE_AT`] | 16 | the number of the last packet of handles, and of the last when there were none: `luggage.rs` |
//! | [`SLOTS_AT`] | 16 × `n_slots` | for each position the number of a cell, and the bytes of all jobs up to it |
//! | `seats_at()` | 32 × [`N_SEATS`] | who receives: `seats.rs` |
//! | `cells_at()` | 128 × `n_cells` | what is said of each job: `cells.rs` |
//! | `rooms_at()` | `room` × `n_cells` | the bytes of jobs that do not fit into their cells |
//!
//! Invariants: as of the layout of a queue of messages: whatever a peer stores, places computed here lie within the arena,
//! and address space costs nothing.

use procession_raw::Stage;
use procession_shm::{Plain, Refusal};

/// Cells beside those that can be queued: for jobs that are leased, being written, or dead letters.
pub(crate) const EXTRA: u32 = 1024;
/// Processes that can receive at once.
pub(crate) const N_SEATS: u32 = Stage::SEATS;
pub(crate) const TOP_AT: usize = 64;
pub(crate) const N_SEATS_AT: usize = 72;
pub(crate) const LUGGAGE_AT: usize = 80;
pub(crate) const SLOTS_AT: usize = 128;
pub(crate) const SEAT: usize = 32;
pub(crate) const CELL: usize = 128;
const SLOT: usize = 16;
const PAGE: usize = 4096;
/// The address space of all rooms together.
const ROOMS: u64 = 1 << 45;

/// The most jobs that can be queued.
pub(crate) const MAX_CAPACITY: u32 = 1 << 19;

const MAGIC: u64 = u64::from_le_bytes(*b"pqjobs02");

/// The numbers that all users of a queue of jobs must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Plain)]
pub(crate) struct Layout {
    magic: u64,
    /// How many jobs are queued at most.
    pub(crate) capacity: u32,
    /// A power of two, so that positions wrap in step with the slots.
    pub(crate) n_slots: u32,
    /// How many bytes of jobs are queued at most.
    pub(crate) budget: u64,
    /// How long one job can be.
    pub(crate) limit: u64,
    /// The address space for the bytes of one job.
    pub(crate) room: u64,
    pub(crate) n_cells: u32,
    /// How often a job is delivered at most; 0 is no limit.
    pub(crate) max_deliveries: u32,
    /// Whether the job of a worker that died is given up at once.
    pub(crate) fails: u64,
}

impl Layout {
    /// For so many queued jobs of so many bytes together.
    pub(crate) fn new(capacity: u32, budget: u64, max_deliveries: u32, fails: bool) -> Self {
        let n_cells = capacity + EXTRA;
        let limit = budget.min((ROOMS / u64::from(n_cells)) & !(PAGE as u64 - 1));
        Self {
            magic: MAGIC,
            capacity,
            // One more than can be filled: the slot before the first job is not written over.
            n_slots: (capacity + 1).next_power_of_two(),
            budget,
            limit,
            room: limit.next_multiple_of(PAGE as u64),
            n_cells,
            max_deliveries,
            fails: u64::from(fails),
        }
    }

    /// What another process has written, in an arena of `len` bytes.
    pub(crate) fn check(self, len: usize) -> Result<Self, Refusal> {
        let is_sound = self.magic == MAGIC
            && (1..=MAX_CAPACITY).contains(&self.capacity)
            && (1..=crate::layout::MAX_BUDGET).contains(&self.budget)
            && self.max_deliveries <= Stage::MOST
            && self == Self::new(self.capacity, self.budget, self.max_deliveries, self.fails != 0)
            && self.len() == len;
        if is_sound { Ok(self) } else { Err(Refusal::Damaged) }
    }

    /// How many bytes all of it takes.
    pub(crate) fn len(&self) -> usize {
        self.room_at(self.n_cells)
    }

    /// How many bytes must have memory from the beginning.
    pub(crate) fn reserved(&self) -> usize {
        self.seats_at()
    }

    /// The place of the slot of a position.
    #[inline]
    pub(crate) fn slot_at(&self, position: u32) -> usize {
        SLOTS_AT + (position & (self.n_slots - 1)) as usize * SLOT
    }

    fn seats_at(&self) -> usize {
        SLOTS_AT + self.n_slots as usize * SLOT
    }

    /// The place of a seat.
    pub(crate) fn seat_at(&self, seat: u32) -> usize {
        self.seats_at() + seat as usize * SEAT
    }

    fn cells_at(&self) -> usize {
        self.seat_at(N_SEATS).next_multiple_of(PAGE)
    }

    /// The place of a cell.
    #[inline]
    pub(crate) fn cell_at(&self, cell: u32) -> usize {
        self.cells_at() + cell as usize * CELL
    }

    fn rooms_at(&self) -> usize {
        self.cell_at(self.n_cells).next_multiple_of(PAGE)
    }

    /// Where the bytes of a cell's job lie, if they are many.
    pub(crate) fn room_at(&self, cell: u32) -> usize {
        self.rooms_at() + cell as usize * self.room as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::MAX_BUDGET;

    #[test]
    fn regions_follow_each_other() {
        for (capacity, budget) in [(1, 1), (64, 64 << 20), (1000, MAX_BUDGET), (MAX_CAPACITY, MAX_BUDGET)] {
            let layout = Layout::new(capacity, budget, 3, false);
            assert!(size_of::<Layout>() <= TOP_AT && layout.n_slots > capacity);
            assert_eq!(layout.slot_at(layout.n_slots), SLOTS_AT);
            assert!(layout.slot_at(layout.n_slots - 1) + SLOT <= layout.seat_at(0));
            assert!(
                layout.seat_at(N_SEATS) <= layout.cell_at(0)
                    && layout.cell_at(layout.n_cells) <= layout.room_at(0)
            );
            assert!((1..=budget).contains(&layout.limit) && layout.room >= layout.limit);
            assert!(layout.len() < 1 << 46);
            assert_eq!(layout.check(layout.len()), Ok(layout));
        }
        assert_eq!(Layout::new(64, 64 << 20, 3, false).limit, 64 << 20);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = Layout::new(10, 1 << 20, 3, true);
        let bad = [
            Layout { magic: 0, ..good },
            Layout { capacity: 0, ..good },
            Layout { capacity: u32::MAX, ..good },
            Layout { n_slots: 15, ..good },
            Layout { budget: 0, ..good },
            Layout { budget: u64::MAX, ..good },
            Layout { limit: 1 << 21, ..good },
            Layout { room: 0, ..good },
            Layout { n_cells: 11, ..good },
            Layout { max_deliveries: u32::MAX, ..good },
        ];
        assert!(bad.iter().all(|layout| layout.check(good.len()).is_err()));
        assert!(good.check(good.len() + 1).is_err());
    }
}
