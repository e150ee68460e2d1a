//! The usual case of a small message: nobody is in the way, nobody sleeps, and there is room, or a message.
//!
//! Invariant: what is done here is what `sender.rs`, `receiver.rs` and `traffic.rs` would do; where anything is unusual,
//! nothing is done, and they do it. Here is nothing that waits, calls the system or can fail.
//!
//! All of it is inlined, so that a message and the turn it is sent in are in registers.

use procession_raw::Side;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use crate::layout::RECEIVED_AT;
use crate::link::Link;
use crate::slot::{Small, Sums};

impl Link {
    /// [`send_at_once`](Self::send_at_once) after there was no room, if there is a moment later.
    #[inline(never)]
    pub(crate) fn send_in_a_moment(&self, small: &Small, deadline: Deadline) -> bool {
        let is_full = self.memory().ring().len() >= self.memory().layout().capacity;
        is_full && !deadline.has_passed() && self.moves_soon(Side::Consumers) && self.send_at_once(small)
    }

    /// [`recv_at_once`](Self::recv_at_once) after there was no message, if there is one a moment later.
    #[inline(never)]
    pub(crate) fn recv_in_a_moment(&self, bytes: usize) -> Option<Small> {
        let ring = self.memory().ring();
        let is_there =
            ring.is_empty() && (self.patience().gather(|| ring.len()) || self.moves_soon(Side::Producers));
        if is_there { self.recv_at_once(bytes) } else { None }
    }

    /// Whether the counter of the other side moves, if that is soon.
    fn moves_soon(&self, other: Side) -> bool {
        let ring = self.memory().ring();
        let seen = ring.counter(other);
        self.patience().look_for_a_moment(|| ring.counter(other) != seen)
    }

    /// Sends a message that fits into its slot.
    #[inline(always)]
    pub(crate) fn send_at_once(&self, small: &Small) -> bool {
        let memory = self.memory();
        let Some(me) = memory.arena().id_at_hand() else { return false };
        let step = memory.ring().step_at_once(Side::Producers, &SharedPark, me, memory.layout().capacity);
        let Some(step) = step else { return false };
        let at = step.at();
        let is_put = self.put_at_once(small, at).is_some();
        if is_put {
            step.end_with(small.len() as u32, small.words());
        } else {
            step.end(false);
        }
        // Who read there long ago has it in its cache. To get it back takes as long as the rest of a message.
        memory.arena().will_write(memory.layout().slot_at(at.wrapping_add(1)));
        is_put
    }

    #[inline(always)]
    fn put_at_once(&self, small: &Small, at: u32) -> Option<()> {
        let memory = self.memory();
        let (before, slot) = (memory.slot(at.wrapping_sub(1))?, memory.slot(at)?);
        let (last, received) = (Sums::load(before), Sums::load(memory.arena().group::<2>(RECEIVED_AT)?));
        let charged = last.charged.wrapping_add(small.len() as u64);
        let has_room = charged.wrapping_sub(received.charged) <= memory.layout().budget;
        if !has_room || memory.ring().is_closed() || self.has_news(at) {
            return None;
        }
        small.store(Sums { charged, ..last }, slot);
        Some(())
    }

    /// Receives a message that lies in its slot, and of it the first `bytes` at least.
    #[inline(always)]
    pub(crate) fn recv_at_once(&self, bytes: usize) -> Option<Small> {
        let memory = self.memory();
        let me = memory.arena().id_at_hand()?;
        let step = memory.ring().step_at_once(Side::Consumers, &SharedPark, me, memory.layout().capacity)?;
        if let Some((len, words)) = step.mail(bytes.div_ceil(8))
            && let Some(small) = Small::from_words(words, len)
        {
            step.end(true);
            return Some(small);
        }
        // It has memory: something was put there.
        let at = step.at();
        let slot = memory.arena().group(memory.layout().slot_at(at));
        let small = slot.and_then(|slot| Small::load(slot, bytes));
        step.end(small.is_some());
        // Of messages that have gathered the next is here: it is fetched while this one is looked at.
        memory.arena().will_read(memory.layout().slot_at(at.wrapping_add(1)));
        small
    }
}
