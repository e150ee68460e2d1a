//! What lies where in the memory of a queue.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 64 | [`Layout`], written once before anybody else has the queue |
//! | [`MARKS_AT`] | 16 | how many bytes of slots and of the ring have memory: [`Mark`] |
//! | [`RECEIVED_AT`] | 16 | the sums up to some message that is received, as the producers know them |
//! | [`LUGGAGE_AT`] | 16 | the number of the last message with descriptors, and of the last when there were none: `luggage.rs` |
//! | [`PAGES_AT`] | 8 × [`N_EXTENTS`] | how many bytes of each extent have memory |
//! | [`SLOTS_AT`] | 64 × `n_slots` | a slot for each message: `slot.rs` |
//! | `ring_at()` | `ring_len` | bytes of messages that do not fit into a slot |
//! | `extents_at()` | [`N_EXTENTS`] × `extent_len` | pieces for large messages, filled and read without a lock |
//!
//! Invariants: whatever a peer stores, places computed here lie within the arena; the layout is read once and checked.
//! Address space costs nothing: memory is taken where a message needs it for the first time.

use procession_shm::{Plain, Refusal};

/// Pieces for large messages.
pub(crate) const N_EXTENTS: usize = 128;
/// Where the marks are.
pub(crate) const MARKS_AT: usize = 64;
/// Where it is noted up to which message everything is received; behind the marks.
pub(crate) const RECEIVED_AT: usize = MARKS_AT + 16;
/// Where the numbers of luggage are.
pub(crate) const LUGGAGE_AT: usize = RECEIVED_AT + 16;
/// Where the lengths of the extents are.
pub(crate) const PAGES_AT: usize = 128;
/// Where the slots begin.
pub(crate) const SLOTS_AT: usize = PAGES_AT + 8 * N_EXTENTS;
/// The length of a slot.
pub(crate) const SLOT: usize = 64;
const PAGE: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"pqueue02");

/// The numbers that all users of a queue must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Plain)]
pub(crate) struct Layout {
    magic: u64,
    /// How many messages it holds at most.
    pub(crate) capacity: u32,
    /// A power of two, so that positions wrap in step with the slots.
    pub(crate) n_slots: u32,
    /// How many bytes of messages it holds at most.
    pub(crate) budget: u64,
    /// A power of two.
    pub(crate) ring_len: u64,
    /// How long a message in an extent can be.
    pub(crate) extent_len: u64,
    /// Whether a sender who finds no room is told so, and does not wait.
    pub(crate) never_waits: u64,
}

/// Memory that is taken as it is needed for the first time, and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Slots = 0,
    Ring = 8,
}

impl Layout {
    /// For so many messages of so many bytes together.
    pub(crate) fn new(capacity: u32, budget: u64, never_waits: bool) -> Self {
        // One more than can be filled: the slot before the first message says what is received, and is not written over.
        let n_slots = (capacity + 1).next_power_of_two();
        // A message is in one piece. With four times the room there is always a piece, wherever the others lie.
        let ring_len = budget.max(1 << 16).next_power_of_two() * 4;
        let extent_len = budget.next_multiple_of(PAGE as u64);
        Self {
            magic: MAGIC,
            capacity,
            n_slots,
            budget,
            ring_len,
            extent_len,
            never_waits: u64::from(never_waits),
        }
    }

    /// What another process has written, in an arena of `len` bytes.
    pub(crate) fn check(self, len: usize) -> Result<Self, Refusal> {
        let is_sound = self.magic == MAGIC
            && (1..=MAX_CAPACITY).contains(&self.capacity)
            && (1..=MAX_BUDGET).contains(&self.budget)
            && self == Self::new(self.capacity, self.budget, self.never_waits != 0)
            && self.len() == len;
        if is_sound { Ok(self) } else { Err(Refusal::Damaged) }
    }

    /// How many bytes all of it takes.
    pub(crate) fn len(&self) -> usize {
        self.extents_at() + N_EXTENTS * self.extent_len as usize
    }

    /// How many bytes must have memory from the beginning.
    pub(crate) fn reserved(&self) -> usize {
        SLOTS_AT
    }

    /// The place of the slot of a position.
    #[inline]
    pub(crate) fn slot_at(&self, position: u32) -> usize {
        SLOTS_AT + self.slot_offset(position)
    }

    /// How far behind the first slot that is.
    #[inline]
    pub(crate) fn slot_offset(&self, position: u32) -> usize {
        (position & (self.n_slots - 1)) as usize * SLOT
    }

    /// Where the ring of bytes begins.
    pub(crate) fn ring_at(&self) -> usize {
        (SLOTS_AT + self.n_slots as usize * SLOT).next_multiple_of(PAGE)
    }

    fn extents_at(&self) -> usize {
        self.ring_at() + self.ring_len as usize
    }

    /// Where an extent begins.
    pub(crate) fn extent_at(&self, index: usize) -> usize {
        self.extents_at() + index * self.extent_len as usize
    }

    /// The place and the room of what a mark is for.
    pub(crate) fn region(&self, mark: Mark) -> (usize, usize) {
        match mark {
            Mark::Slots => (SLOTS_AT, self.n_slots as usize * SLOT),
            Mark::Ring => (self.ring_at(), self.ring_len as usize),
        }
    }
}

/// The most messages of a queue.
pub(crate) const MAX_CAPACITY: u32 = 1 << 24;
/// The most bytes of a queue: so that all of its extents fit into the address space.
pub(crate) const MAX_BUDGET: u64 = 1 << 38;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_follow_each_other() {
        for (capacity, budget) in [(1, 1), (3, 100_000), (1000, 64 << 20), (MAX_CAPACITY, MAX_BUDGET)] {
            let layout = Layout::new(capacity, budget, false);
            assert!(layout.slot_at(layout.n_slots - 1) + SLOT <= layout.ring_at());
            assert_eq!(layout.slot_at(layout.n_slots), SLOTS_AT);
            assert_eq!(layout.ring_at() + layout.ring_len as usize, layout.extent_at(0));
            assert_eq!(layout.extent_at(N_EXTENTS), layout.len());
            assert!(layout.extent_len >= budget && layout.len() < 1 << 46);
            assert_eq!(layout.check(layout.len()), Ok(layout));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = Layout::new(10, 1 << 20, false);
        let bad = [
            Layout { magic: 0, ..good },
            Layout { capacity: 0, ..good },
            Layout { capacity: u32::MAX, ..good },
            Layout { n_slots: 15, ..good },
            Layout { budget: 0, ..good },
            Layout { budget: u64::MAX, ..good },
            Layout { ring_len: 1 << 20, ..good },
            Layout { extent_len: 0, ..good },
        ];
        assert!(bad.iter().all(|layout| layout.check(good.len()).is_err()));
        assert!(good.check(good.len() + 1).is_err());
    }
}
