//! The first page of a domain: what it is, and the few words that all members share.
//!
//! Invariants: the constant part is written before the memory has a second user, checked once against the real length
//! when it is attached, and copied; nobody reads it again. Of the live words no value is wrong: any cursor is a place to
//! start from, any obituary number is a number. Held by `tests/domain.rs` (damaged headers).
//!
//! | offset | what |
//! |---|---|
//! | 0 | magic, 8 bytes |
//! | 8, 12, 16, 20 | layout version, bytes of a slot, number of slots, offset of the first |
//! | 24 | offset of the life word in a slot |
//! | 32 | the id, 16 bytes |
//! | 48 | pid namespace of the process that made it, 8 bytes |
//! | 64 | a free robust mutex of its C library, 64 bytes |
//! | 128 | live: 1 once a thread of another pid namespace, or of an unknown one, wanted to join |
//! | 256 | live: the cursor, a ticket for each attempt to join |
//! | 384 | live: the obituary, the number of deaths that were told |
//! | 4096 | the slots |
//! | after them | for each slot, what its thread waits for (`waits.rs`) |

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use procession_raw::Id;
use procession_sys::life::{MutexLayout, SLOT_SIZE};
use procession_sys::memory::Mapping;

use super::{DomainError, DomainId, waits};

/// Where the first slot begins.
pub(super) const SLOTS_AT: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"prcsndom");
const VERSION: u32 = 3;

/// The constant part, in private memory.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) id: DomainId,
    pub(super) n_slots: u32,
    /// Of the process that made the domain; 0 if unknown.
    pub(super) namespace: u64,
    pub(super) mutex: MutexLayout,
}

impl Header {
    /// The length of a domain with this many slots.
    pub(super) fn length_for(n_slots: u32) -> u64 {
        waits_at(n_slots) as u64 + u64::from(n_slots) * waits::SIZE as u64
    }

    /// Writes it into memory that nobody else has yet.
    pub(super) fn write(&self, mapping: &Mapping) {
        let word = |offset: usize, value: u32| mapping.atomic_u32(offset).store(value, Relaxed);
        let long = |offset: usize, value: u64| mapping.atomic_u64(offset).store(value, Relaxed);
        let [low, high] = self.id.to_words();
        word(8, VERSION);
        word(12, SLOT_SIZE as u32);
        word(16, self.n_slots);
        word(20, SLOTS_AT as u32);
        word(24, self.mutex.word);
        long(32, low);
        long(40, high);
        long(48, self.namespace);
        for (number, value) in self.mutex.free.into_iter().enumerate() {
            word(64 + number * 4, value);
        }
        long(0, MAGIC);
    }

    /// Reads and checks it. `ours` is this process's layout of a mutex.
    pub(super) fn read(mapping: &Mapping, ours: MutexLayout) -> Result<Self, DomainError> {
        let word = |offset: usize| mapping.atomic_u32(offset).load(Relaxed);
        let long = |offset: usize| mapping.atomic_u64(offset).load(Relaxed);
        let damaged = |part| Err(DomainError::Damaged { part });
        if mapping.len() < SLOTS_AT || long(0) != MAGIC {
            return Err(DomainError::NotADomain);
        }
        if word(8) != VERSION {
            return Err(DomainError::OtherVersion { found: word(8), known: VERSION });
        }
        let n_slots = word(16);
        if word(12) as usize != SLOT_SIZE || word(20) as usize != SLOTS_AT {
            return damaged("the layout of its slots");
        }
        if n_slots == 0 || n_slots > Id::SLOTS || mapping.len() as u64 != Self::length_for(n_slots) {
            return damaged("the number of its slots");
        }
        let id = DomainId::from_words([long(32), long(40)]);
        if id == DomainId::from_words([0, 0]) {
            return damaged("its id");
        }
        let mutex = MutexLayout { word: word(24), free: std::array::from_fn(|number| word(64 + number * 4)) };
        if mutex != ours {
            return Err(DomainError::OtherLibc);
        }
        Ok(Self { id, n_slots, namespace: long(48), mutex })
    }
}

/// Where it begins to say what threads wait for.
pub(super) fn waits_at(n_slots: u32) -> usize {
    SLOTS_AT + n_slots as usize * SLOT_SIZE
}

/// 1 once the threads of the domain may have numbers of several pid namespaces.
pub(super) fn mixed(mapping: &Mapping) -> &AtomicU32 {
    mapping.atomic_u32(128)
}

/// The next ticket.
pub(super) fn cursor(mapping: &Mapping) -> &AtomicU32 {
    mapping.atomic_u32(256)
}

/// The number of deaths that were told.
#[inline]
pub(super) fn obituary(mapping: &Mapping) -> &AtomicU32 {
    mapping.atomic_u32(384)
}
