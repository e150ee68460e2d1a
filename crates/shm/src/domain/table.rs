//! The participant table: taking a slot, telling its owner's death, proving it.
//!
//! Invariants: an id is in its slot only while the slot's life word is held by the thread it names, or after that
//! thread has died and before the next one holds it; an id is never put into a slot twice before 2^17 joins of that
//! slot. README.md beside this file has the states, the steps and the races. Held by `tests/domain_table.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use procession_raw::Id;
use procession_sys::life::{self, LifeSlot, Membership, SlotOwner, Slots, is_alive};
use procession_sys::memory::{Mapping, Memfd};

use super::header::{self, Header, SLOTS_AT};
use super::{Occupancy, Participant};

/// Set in the id word beside the id, so that no id looks like none.
const USED: u32 = 1 << 29;

/// One domain, as this process has it mapped.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) memory: Memfd,
    pub(super) mapping: Arc<Mapping>,
    pub(super) header: Header,
    slots: Slots,
}

impl Table {
    /// The domain in `memory`, which is mapped and whose header has been checked or just been written.
    pub(super) fn new(memory: Memfd, mapping: Mapping, header: Header) -> Self {
        let mapping = Arc::new(mapping);
        let slots = Slots::new(&mapping, SLOTS_AT, header.n_slots);
        Self { memory, mapping, header, slots }
    }

    /// Takes a slot for the calling thread. `None`: every slot has an owner who is alive, as far as can be known.
    ///
    /// A ticket for each attempt sends threads that join at once to different slots, and each round to all of them.
    #[cold]
    pub(super) fn join(&self) -> Option<(Id, Membership)> {
        let n_slots = self.header.n_slots;
        let me = SlotOwner::current();
        if me.namespace != self.header.namespace || me.namespace == 0 {
            header::mixed(&self.mapping).store(1, Ordering::SeqCst);
        }
        for _ in 0..n_slots {
            let ticket = header::cursor(&self.mapping).fetch_add(1, Ordering::Relaxed);
            if let Some(taken) = self.take(ticket % n_slots) {
                return Some(taken);
            }
        }
        // Others may have drawn the tickets of slots that became free, and died. And the death of some owners is seen
        // by their identity only.
        (0..n_slots).find_map(|number| {
            self.prove(number);
            self.take(number)
        })
    }

    /// Takes this slot, if its owner is dead.
    fn take(&self, number: u32) -> Option<(Id, Membership)> {
        let slot = self.slot(number);
        // The id before the word: a word that is dead after the id was seen says that this id's thread is dead, and the
        // exchange removes no other id ("slow rival").
        let old = slot.id().load(Ordering::Acquire);
        if is_alive(self.word(slot).load(Ordering::Acquire)) {
            return None;
        }
        if old != 0 {
            slot.id().compare_exchange(old, 0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        }
        let membership = Membership::take(self.slots.place(number), &self.header.mutex)?;
        let generation = slot.generation().load(Ordering::Relaxed).wrapping_add(1);
        slot.generation().store(generation, Ordering::Relaxed);
        let id = Id::new(number, generation);
        slot.id().store(in_use(id), Ordering::Release);
        // Whatever this thread stores from now on, wherever, is seen after its id.
        fence(Ordering::SeqCst);
        Some((id, membership))
    }

    /// Whether the thread has executed its last instruction, as far as is known without asking for proof.
    #[inline]
    pub(super) fn is_dead(&self, id: Id) -> bool {
        self.life(id).is_none()
    }

    /// The life word of a thread and its value, unless the thread is dead.
    #[inline]
    pub(super) fn life(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        // Pairs with the fence of `take`: the caller has the id from a word that its owner wrote after joining.
        fence(Ordering::Acquire);
        let slot = self.slot_of(id)?;
        let word = self.word(slot);
        let value = word.load(Ordering::Acquire);
        (is_alive(value) && self.belongs(slot, value, id)).then_some((word, value))
    }

    /// Asks to be woken by the death of a thread: its life word, and the value to sleep on.
    pub(super) fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        self.life(id)?;
        let slot = self.slot_of(id)?;
        let value = slot.watch(&self.header.mutex)?;
        self.belongs(slot, value, id).then_some((self.word(slot), value))
    }

    /// Whether a life word with this value, seen before, is the life of `id`.
    ///
    /// The thread number tells a word that the next owner holds already from an id that is not yet replaced
    /// ("revived id").
    #[inline]
    fn belongs(&self, slot: &LifeSlot, value: u32, id: Id) -> bool {
        slot.tid() == life::tid(value) && slot.id().load(Ordering::Acquire) == in_use(id)
    }

    /// Marks the life word of a slot whose owner is dead without the kernel's having seen it.
    /// `true` if nobody alive has the slot now. Costs some system calls.
    pub(super) fn prove(&self, number: u32) -> bool {
        let slot = self.slot(number);
        let id = slot.id().load(Ordering::Acquire);
        let value = self.word(slot).load(Ordering::Acquire);
        if !is_alive(value) {
            return true;
        }
        let owner = slot.owner();
        if slot.id().load(Ordering::Acquire) != id {
            return false;
        }
        let proved = if id == 0 {
            // Between taking the slot and saying who it is.
            life::thread_has_ended(life::tid(value), self.header.namespace)
                && header::mixed(&self.mapping).load(Ordering::SeqCst) == 0
                && slot.id().load(Ordering::Acquire) == 0
        } else {
            owner.tid == life::tid(value) && owner.identity().is_some_and(|who| life::has_ended(&who))
        };
        proved && slot.mark_dead(&self.header.mutex, value)
    }

    /// Who had the id, if the thread is dead and nobody has its slot yet.
    pub(super) fn dead_owner(&self, id: Id) -> Option<Participant> {
        if self.is_dead(id) { self.participant(id) } else { None }
    }

    /// Who has the id, or had it if nobody has its slot yet.
    pub(super) fn participant(&self, id: Id) -> Option<Participant> {
        let slot = self.slot_of(id)?;
        let here = || slot.id().load(Ordering::Acquire) == in_use(id);
        let before = here();
        let owner = slot.owner();
        // Fields of the next owner are written after the id is gone.
        (before && here()).then(|| Participant::from(owner))
    }

    /// The slots that were ever taken.
    pub(super) fn numbers(&self) -> std::ops::Range<u32> {
        // Tickets start over after 2^32, long after every slot was touched: an early cursor then only hides slots from
        // those who count them.
        let touched = header::cursor(&self.mapping).load(Ordering::Relaxed).min(self.header.n_slots);
        let last = self.slot(self.header.n_slots - 1).generation().load(Ordering::Relaxed);
        0..if last == 0 { touched } else { self.header.n_slots }
    }

    pub(super) fn occupancy(&self) -> Occupancy {
        let mut seen = Occupancy { living: 0, dead: 0, free: self.header.n_slots };
        for number in self.numbers() {
            let value = self.word(self.slot(number)).load(Ordering::Relaxed);
            if is_alive(value) {
                seen.living += 1;
                seen.free -= 1;
            } else if value != 0 {
                seen.dead += 1;
                seen.free -= 1;
            }
        }
        seen
    }

    /// The slot with this number, which is one of ours.
    pub(super) fn slot(&self, number: u32) -> &LifeSlot {
        self.slots.get(number).expect("the number of a slot")
    }

    /// An id may come from damaged memory: `None` if there is no such slot.
    #[inline]
    fn slot_of(&self, id: Id) -> Option<&LifeSlot> {
        self.slots.get(id.slot())
    }

    /// The life word of the slot that an id names, whoever has it.
    pub(super) fn word_of(&self, id: Id) -> Option<&AtomicU32> {
        self.slot_of(id).map(|slot| self.word(slot))
    }

    #[inline]
    pub(super) fn word<'s>(&self, slot: &'s LifeSlot) -> &'s AtomicU32 {
        slot.word(&self.header.mutex)
    }
}

const fn in_use(id: Id) -> u32 {
    USED | id.to_bits()
}
