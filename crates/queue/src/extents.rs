//! Pieces of memory for large messages: filled before anybody else has to wait, and read after.
//!
//! Invariants: a piece is touched only by who owns or leases it; which of the two that is says [`Extent`]. What the dead
//! leave comes back: what they were filling, to the next who looks for a piece; what they were reading, to whoever holds
//! the consumers' lock and looks; what they had queued and not committed, to whoever follows them.

use std::ops::RangeInclusive;

use procession_raw::{Id, Owners, Park, Turn, Use};
use procession_shm::ShmError;

use crate::layout::N_EXTENTS;
use crate::memory::Memory;
use crate::slot::{Kind, Slot};

/// Messages of these lengths go into two extents by turns: one alone is in the caches of the receiver still when it is written
/// again, and every line of it has to be asked back from there, which takes twice as long as all the rest. Shorter ones
/// gain nothing, and longer ones push themselves out.
const ALTERNATING: RangeInclusive<usize> = 256 << 10..=4 << 20;

/// An extent that the calling thread is filling. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Owned<'a> {
    memory: &'a Memory,
    me: Id,
    index: usize,
    len: usize,
}

/// An extent that the calling thread is reading. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Leased<'a> {
    memory: &'a Memory,
    me: Id,
    index: usize,
    len: usize,
}

impl<'a> Owned<'a> {
    /// One with memory for `len` bytes; `None` if all are in use.
    pub(crate) fn take(
        memory: &'a Memory,
        owners: &impl Owners,
        me: Id,
        len: usize,
    ) -> Result<Option<Self>, ShmError> {
        let has_enough = |index: &usize| memory.extent_memory(*index).is_ok_and(|has| has >= len as u64);
        let take = |index: &usize| memory.extents()[*index].take(owners, me);
        let owned = |index| {
            memory.set_last_extent(index);
            Self { memory, me, index, len }
        };
        // The first that has enough memory, which may still be in the caches. Not the last, if the caches of who read it have
        // all of it, too.
        let shunned = memory.last_extent().filter(|_| ALTERNATING.contains(&len));
        let is_liked = |index: &usize| has_enough(index) && Some(*index) != shunned;
        if let Some(index) = (0..N_EXTENTS).filter(is_liked).find(take) {
            return Ok(Some(owned(index)));
        }
        // Else one that needs more memory; and if there is none, the last.
        let grown = (0..N_EXTENTS).filter(|index| Some(*index) != shunned).find(take).map(owned);
        match grown.map(|grown| grown.grow().map(|()| grown)) {
            Some(Ok(grown)) => Ok(Some(grown)),
            other => match shunned.filter(has_enough).filter(take) {
                Some(index) => Ok(Some(owned(index))),
                None => other.transpose(),
            },
        }
    }

    fn grow(&self) -> Result<(), ShmError> {
        let has = self.memory.extent_memory(self.index)? as usize;
        // A peer may have stored more there since it was looked at.
        self.memory.arena().reserve(self.at() + has, self.len.saturating_sub(has))?;
        self.memory.set_extent_memory(self.index, self.len as u64)
    }

    /// Where it is.
    pub(crate) fn at(&self) -> usize {
        self.memory.layout().extent_at(self.index)
    }

    /// How many bytes of it were asked for.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Says that no more of it is needed than the first `len` bytes.
    pub(crate) fn shorten(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Says that the message at this position is in it. Only for the holder of the producers' lock.
    pub(crate) fn enqueue(&self, position: u32) {
        // It fails only if a peer has stored over the word.
        self.memory.extents()[self.index].change(Use::Owned(self.me), Use::queued(position));
    }
}

impl Owned<'_> {
    /// Takes that back. Only for the holder of the producers' lock, before the commit.
    pub(crate) fn dequeue(&self, position: u32) {
        self.memory.extents()[self.index].change(Use::queued(position), Use::Owned(self.me));
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // Not if it was queued.
        if self.memory.extents()[self.index].change(Use::Owned(self.me), Use::Free) {
            trim(self.memory, self.index);
        }
    }
}

impl<'a> Leased<'a> {
    /// The extent of the message at this position. Only for the holder of the consumers' lock; `None` if it is not that
    /// message's.
    pub(crate) fn lease(
        memory: &'a Memory,
        owners: &impl Owners,
        me: Id,
        position: u32,
        slot: &Slot,
    ) -> Option<Self> {
        let Kind::Extent(index) = slot.kind else { return None };
        let extent = &memory.extents()[index];
        let now = extent.current();
        let is_ours = match now {
            // Who began to receive this very message, and died.
            Use::Leased(other) => owners.is_dead(other),
            now => now == Use::queued(position),
        };
        let leased = is_ours && extent.change(now, Use::Leased(me));
        leased.then(|| Self { memory, me, index, len: slot.len as usize })
    }

    /// Where it is.
    pub(crate) fn at(&self) -> usize {
        self.memory.layout().extent_at(self.index)
    }

    /// How many bytes the message has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Leased<'_> {
    /// Queues it again as that of the message at this position. Only for the holder of the consumers' lock, before the
    /// commit.
    pub(crate) fn put_back(self, position: u32) {
        self.memory.extents()[self.index].change(Use::Leased(self.me), Use::queued(position));
    }
}

impl Drop for Leased<'_> {
    fn drop(&mut self) {
        if self.memory.extents()[self.index].change(Use::Leased(self.me), Use::Free) {
            trim(self.memory, self.index);
        }
    }
}

/// Gives the memory of a free extent back, if the queue has more of it than it may have messages.
fn trim(memory: &Memory, index: usize) {
    let has = memory.extent_memory(index).unwrap_or(0);
    let all: u64 = (0..N_EXTENTS).filter_map(|index| memory.extent_memory(index).ok()).sum();
    let at = memory.layout().extent_at(index);
    // Nobody else has it meanwhile: it is taken like one to be filled, by a thread that may well be the only one.
    let Ok(me) = memory.arena().party().me() else { return };
    let extent = &memory.extents()[index];
    if has == 0
        || all <= memory.layout().budget.saturating_mul(2)
        || !extent.change(Use::Free, Use::Owned(me))
    {
        return;
    }
    // First the memory: who is killed in between leaves an extent that has less than it says, which is only slow.
    if memory.arena().release(at, has as usize).is_ok() {
        let _ = memory.set_extent_memory(index, 0);
    }
    extent.change(Use::Owned(me), Use::Free);
}

/// Gives back what somebody queued who died before the commit. Only for who holds the producers' lock after the dead.
#[cold]
pub(crate) fn take_back_uncommitted(memory: &Memory, turn: &Turn<'_, impl Park>) {
    for extent in memory.extents() {
        extent.change(Use::queued(turn.at()), Use::Free);
    }
}

/// Gives back what the dead were reading. Only for the holder of the consumers' lock.
#[cold]
pub(crate) fn take_back_leased(memory: &Memory, owners: &impl Owners, turn: &Turn<'_, impl Park>) {
    // The first message may still be received by somebody else: its extent stays with the dead until then.
    let at = memory.layout().slot_at(turn.at());
    // In an empty queue its slot speaks of one that was received long ago.
    let is_there = !memory.ring().is_empty();
    let kept = match Slot::load(memory.arena(), memory.layout(), at, &mut Vec::new()) {
        Ok(Slot { kind: Kind::Extent(index), .. }) if is_there => Some(index),
        _ => None,
    };
    for (index, extent) in memory.extents().iter().enumerate().filter(|(index, _)| Some(*index) != kept) {
        if let now @ Use::Leased(owner) = extent.current()
            && owners.is_dead(owner)
            && extent.change(now, Use::Free)
        {
            trim(memory, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use procession_testkit::counted;

    fn indices(memory: &Memory, len: usize) -> [usize; 3] {
        let party = memory.arena().party();
        let me = party.me().unwrap();
        [(); 3].map(|()| Owned::take(memory, &party, me, len).unwrap().unwrap().index())
    }

    #[test]
    fn messages_that_fill_a_cache_alternate_between_two() {
        counted(|| {
            let memory = Memory::create(Layout::new(10, 64 << 20, false)).unwrap();
            assert_eq!(indices(&memory, 64 << 10), [0, 0, 0]);
            assert_eq!(indices(&memory, 1 << 20), [1, 0, 1]);
            assert_eq!(indices(&memory, 5 << 20), [0, 0, 0]);
            assert_eq!(indices(&memory, 64 << 10), [0, 0, 0]);
        });
    }

    #[test]
    fn the_last_serves_where_all_others_are_in_use() {
        counted(|| {
            let memory = Memory::create(Layout::new(10, 64 << 20, false)).unwrap();
            let party = memory.arena().party();
            let me = party.me().unwrap();
            let take = || Owned::take(&memory, &party, me, 1 << 20).unwrap();
            let mut all: Vec<_> = (0..N_EXTENTS).map(|_| take().unwrap()).collect();
            assert!(take().is_none());
            let last = all.pop().map(|owned| owned.index());
            assert_eq!(take().map(|owned| owned.index()), last);
        });
    }
}
