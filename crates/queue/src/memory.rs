//! The memory of a queue: its words, and the bytes behind them.
//!
//! Invariants: nothing outside of the arena is touched, whatever a peer stores; what is touched has memory, but for what a
//! peer gave back behind our back, which reads as zero. A mark is moved by the holder of the producers' lock only, after
//! the memory was taken.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use procession_raw::{Both, Extent, Obituary, Ring, Side, Turn};
use procession_shm::domain::Domain;
use procession_shm::plain::{bytes_of, from_bytes};
use procession_shm::{Arena, Fingerprint, Party, Plain, Refusal, ShmError};
use procession_sys::futex::SharedPark;
use serde::{Deserializer, Serializer, de};

use crate::extents;
use crate::layout::{Layout, MARKS_AT, Mark, N_EXTENTS, PAGES_AT, RECEIVED_AT, SLOT, SLOTS_AT};
use crate::link::Place;
use crate::sender::LARGE;
use crate::slot::{N_WORDS, Slot, Sums};

/// The ring; how often a side may have lost its last user; whose the extents are.
pub(crate) type Words = Both<Ring, Both<Obituary, [Extent; N_EXTENTS]>>;

/// A queue as one process has mapped it.
#[derive(Debug)]
pub(crate) struct Memory {
    arena: Arena<Words>,
    layout: Layout,
    /// The marks as they were when this process looked last; they only grow.
    marks: [AtomicU64; 2],
    /// The extent that this process filled last; none at first.
    last_extent: AtomicUsize,
    /// See [`expected`](Self::expected).
    expected: AtomicUsize,
}

/// How much memory is taken at a time.
const STEP: usize = 64 << 10;

impl Memory {
    pub(crate) fn create(layout: Layout) -> Result<Self, ShmError> {
        let arena = Arena::create(kind(), layout.len(), layout.reserved())?;
        arena.write(0, bytes_of(&layout))?;
        Ok(Self::of(arena, layout))
    }

    fn of(arena: Arena<Words>, layout: Layout) -> Self {
        Self {
            arena,
            layout,
            marks: Default::default(),
            last_extent: AtomicUsize::new(N_EXTENTS),
            expected: AtomicUsize::new(0),
        }
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

    #[inline]
    pub(crate) fn ring(&self) -> &Ring {
        &self.arena.words().0
    }

    #[inline]
    pub(crate) fn bell(&self) -> &Obituary {
        &self.arena.words().1.0
    }

    /// Whose an extent is.
    pub(crate) fn extents(&self) -> &[Extent; N_EXTENTS] {
        &self.arena.words().1.1
    }

    /// The words of the slot of a position, if it has memory as far as this process knows.
    #[inline(always)]
    pub(crate) fn slot(&self, position: u32) -> Option<&[AtomicU64; N_WORDS]> {
        let offset = self.layout.slot_offset(position);
        if self.is_known(Mark::Slots, offset + SLOT) { self.arena.group(SLOTS_AT + offset) } else { None }
    }

    /// Whether the first `end` bytes of what a mark is for have memory, as far as this process knows.
    #[inline]
    pub(crate) fn is_known(&self, mark: Mark, end: usize) -> bool {
        self.marks[mark as usize / 8].load(Relaxed) >= end as u64
    }

    /// The bytes of what a mark is for that have memory.
    pub(crate) fn marked(&self, mark: Mark) -> Result<usize, ShmError> {
        let (_, len) = self.layout.region(mark);
        // A peer that lies makes us touch what has no memory yet, which then gets some.
        let marked = self.load(MARKS_AT + mark as usize)?.min(len as u64);
        self.marks[mark as usize / 8].store(marked, Relaxed);
        Ok(marked as usize)
    }

    /// Takes memory for the first `end` bytes of what a mark is for. Only for the holder of the producers' lock.
    #[inline]
    pub(crate) fn need(&self, mark: Mark, end: usize) -> Result<(), ShmError> {
        if self.is_known(mark, end) { Ok(()) } else { self.grow(mark, end) }
    }

    #[cold]
    fn grow(&self, mark: Mark, end: usize) -> Result<(), ShmError> {
        let (at, len) = self.layout.region(mark);
        let marked = self.marked(mark)?;
        if marked >= end {
            return Ok(());
        }
        let next = end.next_multiple_of(STEP).min(len);
        self.arena.reserve(at + marked, next - marked)?;
        self.store(MARKS_AT + mark as usize, next as u64)?;
        self.marks[mark as usize / 8].store(next as u64, Relaxed);
        Ok(())
    }

    /// Up to which message everything is received, at least: each of the two numbers was so at some moment.
    #[inline]
    pub(crate) fn received(&self) -> Result<Sums, ShmError> {
        Slot::sums_at(&self.arena, RECEIVED_AT)
    }

    /// Only for the holder of the producers' lock.
    pub(crate) fn set_received(&self, sums: Sums) -> Result<(), ShmError> {
        self.store(RECEIVED_AT, sums.charged)?;
        self.store(RECEIVED_AT + 8, sums.end)
    }

    /// How many bytes of an extent have memory. Only for its owner.
    pub(crate) fn extent_memory(&self, index: usize) -> Result<u64, ShmError> {
        Ok(self.load(PAGES_AT + 8 * index)?.min(self.layout.extent_len))
    }

    /// Says how many bytes of an extent have memory. Only for its owner.
    pub(crate) fn set_extent_memory(&self, index: usize, bytes: u64) -> Result<(), ShmError> {
        self.store(PAGES_AT + 8 * index, bytes)
    }

    /// The extent that this process filled last, as far as it knows.
    pub(crate) fn last_extent(&self) -> Option<usize> {
        Some(self.last_extent.load(Relaxed)).filter(|last| *last < N_EXTENTS)
    }

    /// Says which extent this process fills.
    pub(crate) fn set_last_extent(&self, index: usize) {
        self.last_extent.store(index, Relaxed);
    }

    /// How many bytes the next message may have, judged by those that this process sent; never more than fit into an
    /// extent.
    #[inline]
    pub(crate) fn expected(&self) -> usize {
        self.expected.load(Relaxed)
    }

    /// A message had `len` bytes. Of messages that differ, the longer ones are expected.
    #[inline]
    pub(crate) fn expect(&self, len: usize) {
        let before = self.expected();
        let next = if len > LARGE { len.max(before - before / 8) } else { 0 };
        // Small ones, again and again, write nothing.
        if next != before {
            self.expected.store(next, Relaxed);
        }
    }

    /// A word, so that it is whole.
    fn load(&self, at: usize) -> Result<u64, ShmError> {
        Ok(self.arena.atomics(at, 1)?[0].load(Relaxed))
    }

    fn store(&self, at: usize, word: u64) -> Result<(), ShmError> {
        self.arena.atomics(at, 1)?[0].store(word, Relaxed);
        Ok(())
    }
}

impl Place for Memory {
    fn share(&self) -> Self {
        Self::of(self.arena.clone(), self.layout)
    }

    #[inline]
    fn ring(&self) -> &Ring {
        self.ring()
    }

    #[inline]
    fn bell(&self) -> &Obituary {
        self.bell()
    }

    #[inline]
    fn domain(&self) -> &Domain {
        self.arena.domain()
    }

    #[inline(always)]
    fn obituary(&self) -> &AtomicU32 {
        self.arena.obituary()
    }

    #[inline]
    fn party(&self) -> Party<'_> {
        self.arena.party()
    }

    fn tidy(&self, side: Side, party: &Party<'_>, turn: &Turn<'_, SharedPark>) {
        match side {
            Side::Producers => extents::take_back_uncommitted(self, turn),
            Side::Consumers => extents::take_back_leased(self, party, turn),
        }
    }

    fn send<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.arena.send(serializer)
    }

    fn receive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let arena = Arena::receive(deserializer, kind())?;
        let layout = Self::layout_in(&arena).map_err(de::Error::custom)?;
        Ok(Self::of(arena, layout))
    }
}

fn kind() -> Fingerprint {
    Fingerprint::new("procession-queue", 0, 1).field("layout", 0, Layout::FINGERPRINT)
}
