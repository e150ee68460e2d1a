//! The usual case of a small message: nobody is in the way, nobody sleeps, and there is room, or a message.
//!
//! Invariant: what is done here is what `sender.rs`, `receiver.rs` and `traffic.rs` would do; where anything is unusual,
//! nothing is done, and they do it. Here is nothing that waits, calls the system or can fail.

use std::hint;

use procession_raw::Side;
use procession_sys::futex::SharedPark;

use crate::layout::{Mark, SLOT};
use crate::link::Link;
use crate::slot::{INLINE, Kind, Slot, Sums};

/// How often to look for the other side before doing anything that takes longer.
const LOOKS: u32 = 32;

impl Link {
    /// [`send_at_once`](Self::send_at_once), also if there is room a moment later.
    #[inline]
    pub(crate) fn send_soon(&self, bytes: &[u8]) -> bool {
        let is_full = || self.memory().ring().len() >= self.memory().layout().capacity;
        self.send_at_once(bytes)
            || bytes.len() <= INLINE && is_full() && self.soon(Side::Consumers, || self.send_at_once(bytes))
    }

    /// [`recv_at_once`](Self::recv_at_once), also if there is a message a moment later.
    #[inline]
    pub(crate) fn recv_soon(&self, into: &mut Vec<u8>) -> bool {
        let is_empty = || self.memory().ring().is_empty();
        self.recv_at_once(into) || is_empty() && self.soon(Side::Producers, || self.recv_at_once(into))
    }

    /// One more attempt when the counter of the other side moves, if that is soon.
    #[inline(never)]
    fn soon(&self, other: Side, mut attempt: impl FnMut() -> bool) -> bool {
        let ring = self.memory().ring();
        let seen = ring.counter(other);
        for _ in 0..LOOKS {
            if ring.counter(other) != seen {
                return attempt();
            }
            hint::spin_loop();
        }
        false
    }

    /// Sends a message that fits into its slot.
    #[inline]
    fn send_at_once(&self, bytes: &[u8]) -> bool {
        let memory = self.memory();
        let (ring, layout, arena) = (memory.ring(), memory.layout(), memory.arena());
        let Some(me) = arena.id_at_hand() else { return false };
        if bytes.len() > INLINE {
            return false;
        }
        let Some(mut turn) = ring.enter_at_once(Side::Producers, &SharedPark, me) else { return false };
        let at = turn.at();
        let (before, offset) = (layout.slot_offset(at.wrapping_sub(1)), layout.slot_offset(at));
        let has_memory = memory.is_known(Mark::Slots, before.max(offset) + SLOT);
        if !has_memory
            || ring.is_closed()
            || self.has_news(at)
            || !matches!(turn.ready(layout.capacity, 1), Ok(1..))
        {
            return false;
        }
        let (Ok(last), Ok(received)) =
            (Slot::sums_at(arena, layout.slot_at(at.wrapping_sub(1))), memory.received())
        else {
            return false;
        };
        let charged = last.charged.wrapping_add(bytes.len() as u64);
        if charged.wrapping_sub(received.charged) > layout.budget {
            return false;
        }
        let slot = Slot { sums: Sums { charged, ..last }, len: bytes.len() as u64, kind: Kind::Inline };
        if slot.store(arena, layout.slot_at(at), bytes).is_err() {
            return false;
        }
        turn.commit(1);
        true
    }

    /// Receives a message that lies in its slot, to the end of `into`.
    #[inline]
    fn recv_at_once(&self, into: &mut Vec<u8>) -> bool {
        let memory = self.memory();
        let (ring, layout, arena) = (memory.ring(), memory.layout(), memory.arena());
        let Some(me) = arena.id_at_hand() else { return false };
        let Some(mut turn) = ring.enter_at_once(Side::Consumers, &SharedPark, me) else { return false };
        if !matches!(turn.ready(layout.capacity, 1), Ok(1..)) {
            return false;
        }
        match Slot::load(arena, layout, layout.slot_at(turn.at()), into) {
            Ok(Slot { kind: Kind::Inline, .. }) => {
                turn.commit(1);
                true
            }
            _ => false,
        }
    }
}
