//! Putting messages into the memory of a queue, and taking them out, by who holds the lock of its side.
//!
//! Invariants: a message is written outside of what is committed; so who is killed here has done nothing. What is taken is
//! copied out, or leased, before it is given back to the producers.

use std::io::ErrorKind;
use std::ops::Range;

use procession_raw::{Corrupt, Owners, Turn};
use procession_shm::ShmError;
use procession_sys::OsError;
use procession_sys::futex::SharedPark;

use crate::extents::{Leased, Owned};
use crate::layout::{Mark, SLOT};
use crate::luggage::Laden;
use crate::memory::Memory;
use crate::sender::LARGE;
use crate::slot::{INLINE, Kind, Senseless, Slot, Small, Sums};

/// The bytes of a message that is to be sent.
#[derive(Debug)]
pub(crate) enum Parcel<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// To be copied, of a message with luggage.
    Laden(&'a [u8]),
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
        let received = memory.received()?;
        let mut load = Self { last: Sums::default(), received, memory, turn, n: 0 };
        load.last = load.sums_before(load.turn.at())?;
        load.last.end = later(load.last.end, received.end);
        load.turn.ready(memory.layout().capacity, 1)?;
        Ok(load)
    }

    /// Puts a message behind the last; it is not seen before [`commit`](Self::commit).
    #[inline]
    pub(crate) fn put(&mut self, parcel: &Parcel<'_>) -> Result<(), Refused> {
        match self.try_put(parcel, Growth::No) {
            Err(Refused::Full) => self.put_after_a_look(parcel),
            answer => answer,
        }
    }

    /// What was known may be old, and memory can be taken.
    #[cold]
    fn put_after_a_look(&mut self, parcel: &Parcel<'_>) -> Result<(), Refused> {
        self.look()?;
        match self.try_put(parcel, Growth::No) {
            Err(Refused::Full) => self.try_put(parcel, Growth::Yes),
            answer => answer,
        }
    }

    /// Puts messages behind the last while there is room for them as far as known; says how many. No code of users may run
    /// in `messages`.
    #[inline]
    pub(crate) fn put_small(&mut self, messages: impl Iterator<Item = Small>) -> usize {
        let (memory, layout) = (self.memory, self.memory.layout());
        let (first, mut sums, n_before) = (self.turn.at().wrapping_add(self.n), self.last, self.n);
        let room = layout.capacity.saturating_sub(first.wrapping_sub(self.turn.other()));
        for (small, nth) in messages.zip(0..room) {
            let charged = sums.charged.wrapping_add(small.len() as u64);
            let Some(slot) = memory.slot(first.wrapping_add(nth)) else { break };
            if charged.wrapping_sub(self.received.charged) > layout.budget {
                break;
            }
            sums.charged = charged;
            small.store(sums, slot);
            self.n += 1;
        }
        self.last = sums;
        (self.n - n_before) as usize
    }

    /// Puts a message behind the last, and has its luggage sent, which has the number that `send` says. If that fails, the
    /// message is not put: the answer says why, and where the consumers were before.
    #[cold]
    pub(crate) fn put_with<E>(
        &mut self,
        parcel: &Parcel<'_>,
        send: impl FnOnce(&Memory) -> Result<u64, E>,
    ) -> Result<Option<(u32, E)>, Refused> {
        self.look()?;
        let seen = self.turn.other();
        let (last, n) = (self.last, self.n);
        self.put(parcel)?;
        let position = self.turn.at().wrapping_add(n);
        match send(self.memory) {
            Ok(number) => {
                Slot::lade(self.memory.arena(), self.memory.layout().slot_at(position), number)?;
                Ok(None)
            }
            Err(error) => {
                (self.last, self.n) = (last, n);
                if let Parcel::Extent(owned) = parcel {
                    owned.dequeue(position);
                }
                Ok(Some((seen, error)))
            }
        }
    }

    /// Gives all that was put to the consumers.
    #[inline]
    pub(crate) fn commit(self) {
        self.turn.commit(self.n);
    }

    fn try_put(&mut self, parcel: &Parcel<'_>, growth: Growth) -> Result<(), Refused> {
        let layout = self.memory.layout();
        let position = self.turn.at().wrapping_add(self.n);
        let len = parcel.len() as u64;
        let charged = self.last.charged.wrapping_add(len);
        if position.wrapping_sub(self.turn.other()) >= layout.capacity
            || charged.wrapping_sub(self.received.charged) > layout.budget
        {
            return Err(Refused::Full);
        }
        self.memory.need(Mark::Slots, layout.slot_offset(position) + SLOT)?;
        let sums = Sums { charged, end: self.last.end };
        let mut inline: &[u8] = &[];
        let slot = match parcel {
            Parcel::Bytes(bytes) if bytes.len() <= INLINE => {
                inline = bytes;
                Slot { sums, len, kind: Kind::Inline }
            }
            Parcel::Bytes(bytes) | Parcel::Laden(bytes) => self.put_into_ring(sums, bytes, growth)?,
            Parcel::Extent(owned) => {
                owned.enqueue(position);
                Slot { sums, len, kind: Kind::Extent(owned.index()) }
            }
        };
        slot.store(self.memory.arena(), layout.slot_at(position), inline)?;
        self.last = slot.sums;
        self.n += 1;
        Ok(())
    }

    fn put_into_ring(&mut self, sums: Sums, bytes: &[u8], growth: Growth) -> Result<Slot, Refused> {
        self.begin_anew()?;
        let end = self.room(sums.charged, bytes.len() as u64, growth).ok_or(Refused::Full)?;
        let slot = Slot { sums: Sums { end, ..sums }, len: bytes.len() as u64, kind: Kind::Ring };
        let layout = self.memory.layout();
        let offset = slot.offset_in(layout.ring_len).ok_or(Refused::Senseless)?;
        self.memory.need(Mark::Ring, offset + bytes.len())?;
        self.memory.arena().write(layout.ring_at() + offset, bytes)?;
        Ok(slot)
    }

    /// Where nothing is queued in the ring, its beginning is best, which the caches know. Up to there all is received.
    fn begin_anew(&mut self) -> Result<(), Refused> {
        let offset = self.last.end & (self.memory.layout().ring_len - 1);
        if offset > 0 && self.last.end == self.received.end {
            self.last.end = self.last.end.wrapping_add(self.memory.layout().ring_len - offset);
            self.received.end = self.last.end;
            self.memory.set_received(self.received)?;
        }
        Ok(())
    }

    /// Where a message would end in the ring, in one piece, after which so much is charged.
    fn room(&self, charged: u64, len: u64, growth: Growth) -> Option<u64> {
        let layout = self.memory.layout();
        let all = layout.ring_len;
        let offset = self.last.end & (all - 1);
        let on = self.last.end.wrapping_add(len);
        let over = self.last.end.wrapping_add(all - offset).wrapping_add(len);
        let has_memory = |end: u64| growth == Growth::Yes || self.memory.is_known(Mark::Ring, end as usize);
        let left = |end: u64| all.checked_sub(end.wrapping_sub(self.received.end));
        let is_in_one_piece = offset + len <= all;
        if is_in_one_piece && has_memory(offset + len) && left(on).is_some() {
            return Some(on);
        }
        // What is passed over is lost until it is received: the rest of the budget must find room all the same. Where it
        // has to be, it does, because the ring is four times the budget.
        let to_come = layout.budget.saturating_sub(charged.wrapping_sub(self.received.charged));
        let wanted = if is_in_one_piece { to_come } else { 0 };
        (has_memory(len) && left(over).is_some_and(|left| left >= wanted)).then_some(over)
    }

    /// Looks how far the consumers are.
    fn look(&mut self) -> Result<(), Refused> {
        let layout = self.memory.layout();
        self.memory.marked(Mark::Ring)?;
        self.turn.ready(layout.capacity, u32::MAX)?;
        let Sums { charged, end } = self.sums_before(self.turn.other())?;
        self.received = Sums { charged, end: later(end, self.received.end) };
        // Else it would be full for ever, with nothing in it.
        let is_sound = self.last.charged.wrapping_sub(charged) <= layout.budget
            && self.last.end.wrapping_sub(self.received.end) <= layout.ring_len;
        if !is_sound {
            return Err(Refused::Senseless);
        }
        Ok(self.memory.set_received(self.received)?)
    }

    fn sums_before(&self, position: u32) -> Result<Sums, Refused> {
        let (memory, layout) = (self.memory, self.memory.layout());
        let before = position.wrapping_sub(1);
        let end = layout.slot_offset(before) + SLOT;
        // No message was ever there.
        if !memory.is_known(Mark::Slots, end) && memory.marked(Mark::Slots)? < end {
            return Ok(Sums::default());
        }
        Ok(Slot::sums_at(memory.arena(), layout.slot_at(before))?)
    }
}

/// The one of two places in the ring that is further on, modulo 2^64.
#[inline]
fn later(a: u64, b: u64) -> u64 {
    if (b.wrapping_sub(a) as i64) > 0 { b } else { a }
}

/// Whether memory may be taken for a message that fits nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    No,
    Yes,
}

impl From<ShmError> for Refused {
    fn from(error: ShmError) -> Self {
        Self::Memory(error)
    }
}

impl From<Corrupt> for Refused {
    fn from(_: Corrupt) -> Self {
        Self::Senseless
    }
}

impl Parcel<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) | Self::Laden(bytes) => bytes.len(),
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
    /// It has luggage, which is to be claimed before the commit.
    Laden(Laden<'a>),
}

/// Takes the message behind the first `n_before`: copies it to the end of `into`, or, if it is the first, leases where it
/// is. One with luggage has to be the first, too. It is given back to the producers by the commit of the caller.
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
    let at = layout.slot_at(position);
    let slot = Slot::load(memory.arena(), layout, at, into).map_err(|Senseless| Missing::Senseless)?;
    if slot.kind == Kind::Inline {
        return Ok(Taken::Copied);
    }
    let luggage = Slot::luggage_at(memory.arena(), at);
    if n_before > 0 && (luggage.is_some() || slot.kind != Kind::Ring) {
        // Only the first message's extent stays with who dies before the commit, and its luggage: it has to be alone.
        return Err(Missing::Empty);
    }
    let leased = match slot.offset_in(layout.ring_len) {
        _ if slot.kind != Kind::Ring => {
            // Now, while the message is still queued.
            reserve(slot.len as usize, into)?;
            let leased = Leased::lease(memory, owners, turn.me(), position, &slot);
            Some(leased.ok_or(Missing::Senseless)?)
        }
        Some(offset) => {
            copy(memory, layout.ring_at() + offset, slot.len as usize, into)?;
            None
        }
        None => return Err(Missing::Senseless),
    };
    Ok(match (luggage, leased) {
        (Some(number), leased) => Taken::Laden(Laden::new(number, leased)),
        (None, Some(leased)) => Taken::Leased(leased),
        (None, None) => Taken::Copied,
    })
}

/// Takes messages that lie in their slots, from the first of `which` on, and gives them to `add`, of each the first
/// `bytes` bytes at least; says how many. No code of users may run in `add`.
#[inline]
pub(crate) fn take_small(
    memory: &Memory,
    turn: &mut Turn<'_, SharedPark>,
    bytes: usize,
    which: Range<u32>,
    mut add: impl FnMut(Small),
) -> Result<u32, Missing> {
    let (arena, layout, at) = (memory.arena(), memory.layout(), turn.at());
    let ready = turn.ready(layout.capacity, which.end).map_err(|_| Missing::Senseless)?;
    let mut n = 0;
    for nth in which.start..which.end.min(ready) {
        let slot = arena.group(layout.slot_at(at.wrapping_add(nth)));
        let Some(small) = slot.and_then(|slot| Small::load(slot, bytes)) else { break };
        add(small);
        n += 1;
    }
    Ok(n)
}

fn reserve(len: usize, into: &mut Vec<u8>) -> Result<(), Missing> {
    into.try_reserve(len).map_err(|_| {
        Missing::Memory(OsError::new(format!("receiving {len} bytes"), ErrorKind::OutOfMemory).into())
    })
}

/// Appends a copy of bytes of the queue to `into`.
pub(crate) fn copy(memory: &Memory, at: usize, len: usize, into: &mut Vec<u8>) -> Result<(), Missing> {
    let old = into.len();
    reserve(len, into)?;
    if len > LARGE {
        return copy_by_pieces(memory, at, len, into).map_err(Missing::Memory);
    }
    into.resize(old + len, 0);
    memory.arena().read(at, &mut into[old..]).map_err(Missing::Memory)
}

/// The same for many bytes, with room reserved: fresh memory is then written once, and not made zero before.
pub(crate) fn copy_by_pieces(
    memory: &Memory,
    at: usize,
    len: usize,
    into: &mut Vec<u8>,
) -> Result<(), ShmError> {
    // It stays in the nearest cache.
    let mut piece = [0; 2048];
    for start in (0..len).step_by(piece.len()) {
        let piece = &mut piece[..(len - start).min(2048)];
        memory.arena().read(at + start, piece)?;
        into.extend_from_slice(piece);
    }
    Ok(())
}
