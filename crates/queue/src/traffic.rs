//! Putting messages into the memory of a queue, and taking them out, by who holds the lock of its side.
//!
//! Invariants: a message is written outside of what is committed; so who is killed here has done nothing. What is taken is
//! copied out, or leased, before it is given back to the producers.

use procession_raw::{Owners, Side, Turn};
use procession_shm::ShmError;
use procession_sys::futex::SharedPark;

use crate::extents::{Leased, Owned};
use crate::layout::Mark;
use crate::memory::Memory;
use crate::slot::{INLINE, Kind, Senseless, Slot, Sums};

/// The bytes of a message that is to be sent.
#[derive(Debug)]
pub(crate) enum Parcel<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// Written already.
    Extent(Owned<'a>),
}

/// Why nothing was put.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No room, in items or bytes.
    Full,
    Memory(ShmError),
    Senseless,
}

/// Why nothing was taken.
#[derive(Debug)]
pub(crate) enum Missing {
    Empty,
    Memory(ShmError),
    Senseless,
}

/// Messages that one holder of the producers' lock puts and commits together.
#[derive(Debug)]
pub(crate) struct Load<'a, 't> {
    memory: &'a Memory,
    turn: &'t mut Turn<'a, SharedPark>,
    /// Up to the last message that was put.
    last: Sums,
    /// Up to the last message that was received, as far as we know.
    received: Sums,
    /// Put and not committed.
    n: u32,
}

impl<'a, 't> Load<'a, 't> {
    #[inline]
    pub(crate) fn begin(memory: &'a Memory, turn: &'t mut Turn<'a, SharedPark>) -> Result<Self, Refused> {
        let mut load = Self { last: Sums::default(), received: Sums::default(), memory, turn, n: 0 };
        load.last = load.sums_before(load.turn.at())?;
        load.look(1)?;
        Ok(load)
    }

    /// Puts a message behind the last; it is not seen before [`commit`](Self::commit).
    #[inline]
    pub(crate) fn put(&mut self, parcel: &Parcel<'_>) -> Result<(), Refused> {
        match self.try_put(parcel) {
            // What was known may be old.
            Err(Refused::Full) if self.look(u32::MAX)? => self.try_put(parcel),
            answer => answer,
        }
    }

    /// Gives all that was put to the consumers.
    #[inline]
    pub(crate) fn commit(self) {
        self.turn.commit(self.n);
    }

    /// How many were put.
    pub(crate) fn n(&self) -> u32 {
        self.n
    }

    fn try_put(&mut self, parcel: &Parcel<'_>) -> Result<(), Refused> {
        let layout = self.memory.layout();
        let position = self.turn.at().wrapping_add(self.n);
        let len = parcel.len() as u64;
        let charged = self.last.charged.wrapping_add(len);
        let is_full = position.wrapping_sub(self.turn.other()) >= layout.capacity
            || charged.wrapping_sub(self.received.charged) > layout.budget;
        if is_full {
            return Err(Refused::Full);
        }
        let sums = Sums { charged, end: self.last.end };
        let slot = match parcel {
            Parcel::Bytes(bytes) if bytes.len() <= INLINE => Slot::inline(sums, bytes),
            Parcel::Bytes(bytes) => self.put_into_ring(sums, bytes)?,
            Parcel::Extent(owned) => {
                owned.enqueue(position);
                Slot::outside(sums, len, Kind::Extent(owned.index()))
            }
        };
        self.memory.need(Mark::Slots, layout.slot_offset(position) + crate::layout::SLOT).map_err(Refused::Memory)?;
        slot.store(self.memory.arena(), layout.slot_at(position)).map_err(Refused::Memory)?;
        self.last = slot.sums;
        self.n += 1;
        Ok(())
    }

    fn put_into_ring(&mut self, sums: Sums, bytes: &[u8]) -> Result<Slot, Refused> {
        let end = self.room(bytes.len() as u64).ok_or(Refused::Full)?;
        let slot = Slot::outside(Sums { end, ..sums }, bytes.len() as u64, Kind::Ring);
        let layout = self.memory.layout();
        let offset = slot.offset_in(layout.ring_len).ok_or(Refused::Senseless)?;
        self.memory.need(Mark::Ring, offset + bytes.len()).map_err(Refused::Memory)?;
        self.memory.arena().write(layout.ring_at() + offset, bytes).map_err(Refused::Memory)?;
        Ok(slot)
    }

    /// Where a message would end in the ring, in one piece: in memory that is there already if it can be.
    fn room(&self, len: u64) -> Option<u64> {
        let all = self.memory.layout().ring_len;
        let offset = self.last.end & (all - 1);
        let on = self.last.end.wrapping_add(len);
        let over = self.last.end.wrapping_add(all - offset).wrapping_add(len);
        let fits = |end: u64| end.wrapping_sub(self.received.end) <= all;
        let is_empty = self.last.end == self.received.end;
        let stays = (offset + len <= all && fits(on)).then_some(on);
        let wraps = fits(over).then_some(over);
        let has_memory = self.memory.is_known(Mark::Ring, (offset + len) as usize);
        // Over what nobody needs any more the caches know best.
        if is_empty && offset > 0 || !has_memory { wraps.or(stays) } else { stays.or(wraps) }
    }

    /// Looks how far the consumers are, if at least so many slots are not known to be free. Says whether that is news.
    fn look(&mut self, wanted: u32) -> Result<bool, Refused> {
        let before = self.turn.other();
        let n = self.n;
        self.turn.ready(self.memory.layout().capacity, wanted).map_err(|_| Refused::Senseless)?;
        let now = self.turn.other();
        let is_news = now != before;
        if is_news || n == 0 {
            // Nothing is queued: then the last message put is the last received. In a full ring there is no such slot
            // any more, and no room either.
            self.received = match self.turn.at().wrapping_sub(now) {
                0 => self.sums_before(now)?,
                queued if queued >= self.memory.layout().n_slots => self.last,
                _ => self.sums_before(now)?,
            };
        }
        Ok(is_news)
    }

    fn sums_before(&self, position: u32) -> Result<Sums, Refused> {
        let (memory, layout) = (self.memory, self.memory.layout());
        let before = position.wrapping_sub(1);
        let end = layout.slot_offset(before) + crate::layout::SLOT;
        // No message was ever there.
        if !memory.is_known(Mark::Slots, end) && memory.marked(Mark::Slots).map_err(Refused::Memory)? < end {
            return Ok(Sums::default());
        }
        Slot::sums_at(memory.arena(), layout.slot_at(before)).map_err(Refused::Memory)
    }
}

impl Parcel<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Extent(owned) => owned.len(),
        }
    }
}

/// A message that was taken.
#[derive(Debug)]
pub(crate) enum Taken<'a> {
    /// Its bytes were copied out.
    Copied,
    /// Its bytes are still where they were written.
    Leased(Leased<'a>),
}

/// Takes the first message: copies it to the end of `into`, or leases where it is. It is given back to the producers by
/// the commit of the caller.
#[inline]
pub(crate) fn take<'a>(
    memory: &'a Memory,
    turn: &mut Turn<'a, SharedPark>,
    owners: &impl Owners,
    n_before: u32,
    into: &mut Vec<u8>,
) -> Result<Taken<'a>, Missing> {
    let layout = memory.layout();
    let ready = turn.ready(layout.capacity, n_before + 1).map_err(|_| Missing::Senseless)?;
    if ready <= n_before {
        return Err(Missing::Empty);
    }
    let position = turn.at().wrapping_add(n_before);
    let slot = Slot::load(memory.arena(), layout, layout.slot_at(position)).map_err(|Senseless| Missing::Senseless)?;
    match slot.kind {
        Kind::Inline => {
            into.extend_from_slice(slot.bytes());
            Ok(Taken::Copied)
        }
        Kind::Ring => {
            let offset = slot.offset_in(layout.ring_len).ok_or(Missing::Senseless)?;
            copy(memory, layout.ring_at() + offset, slot.len as usize, into)?;
            Ok(Taken::Copied)
        }
        Kind::Extent(_) => {
            Leased::lease(memory, owners, turn.me(), position, &slot).map(Taken::Leased).ok_or(Missing::Senseless)
        }
    }
}

/// Appends a copy of bytes of the queue to `into`.
pub(crate) fn copy(memory: &Memory, at: usize, len: usize, into: &mut Vec<u8>) -> Result<(), Missing> {
    let old = into.len();
    into.try_reserve(len).map_err(|_| Missing::Memory(ShmError::from(procession_sys::OsError::new(
        format!("receiving {len} bytes"),
        std::io::ErrorKind::OutOfMemory,
    ))))?;
    into.resize(old + len, 0);
    memory.arena().read(at, &mut into[old..]).map_err(Missing::Memory)
}

/// The side that puts.
pub(crate) const SENDERS: Side = Side::Producers;
