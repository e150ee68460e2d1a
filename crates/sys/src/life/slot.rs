//! Where a life is kept: the layout of one slot in shared memory, and references to it.
//!
//! Invariants: a [`Place`] lies in its mapping and is aligned; every field is an atomic, except the mutex, which is
//! touched by `robust.rs` only. Which thread a slot's fields speak of is decided by the table above this module: the
//! owner writes them while it holds the life word and before its id can be seen.
//!
//! # Safety
//! A reference to a slot is made from a place that was checked to lie in a mapping, which it keeps alive. All bit
//! patterns are valid for all fields. A lying peer can put any bytes there; it cannot unmap them.
#![allow(unsafe_code, reason = "a typed view of mapped memory")]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{OWNER, OWNER_DIED, WAITERS, is_alive};
use crate::identity::{ProcessIdentity, ThreadIdentity};
use crate::memory::Mapping;

/// Bytes of a slot. Two cache lines, as processors fetch them in pairs: the life of one thread is read without
/// disturbing the next.
pub const SLOT_SIZE: usize = 128;

/// One participant's slot.
///
/// All zeros is a slot that was never used. The words that tell a death, `id` and the life word in `mutex`, are in
/// the same cache line.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct LifeSlot {
    /// Whose slot it is; 0 while nobody's. Its meaning and its changes are the table's.
    id: AtomicU32,
    /// How often it was taken. Changed by the holder of the life word only.
    generation: AtomicU32,
    /// libc's; the life word lies in it, at [`MutexLayout::word`].
    pub(super) mutex: UnsafeCell<libc::pthread_mutex_t>,
    pid: AtomicU32,
    tid: AtomicU32,
    process_started: AtomicU64,
    thread_started: AtomicU64,
    namespace: AtomicU64,
    time_namespace: AtomicU64,
}

const _: () = {
    assert!(size_of::<LifeSlot>() == SLOT_SIZE && align_of::<LifeSlot>() == SLOT_SIZE);
    assert!(std::mem::offset_of!(LifeSlot, mutex) == MUTEX_OFFSET);
    assert!(MUTEX_OFFSET + size_of::<libc::pthread_mutex_t>() <= 64);
    assert!(align_of::<libc::pthread_mutex_t>() <= 8);
};

/// Where the mutex begins in a slot.
const MUTEX_OFFSET: usize = 8;
/// Bytes of a mutex.
pub(super) const MUTEX_SIZE: usize = size_of::<libc::pthread_mutex_t>();

/// Every field is an atomic or is reached under the rules of `robust.rs` only.
// SAFETY: shared references give access to atomics; the mutex is an object of libc's that is made for many threads
// and processes, and private to this module and `robust.rs`.
unsafe impl Sync for LifeSlot {}

/// How this process's libc lays out a free robust mutex, and where the kernel finds the futex word in it.
///
/// Processes that share slots must agree on it: they compare it when they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutexLayout {
    /// Offset of the life word from the begin of a *slot*; a multiple of 4 inside of its mutex.
    pub word: u32,
    /// The bytes of a free mutex, filled up with zeros.
    pub free: [u32; 16],
}

impl MutexLayout {
    /// Whether the word lies in the mutex.
    pub(super) fn is_sound(&self) -> bool {
        let word = self.word as usize;
        word.is_multiple_of(4) && (MUTEX_OFFSET..MUTEX_OFFSET + MUTEX_SIZE).contains(&word)
    }
}

/// Who owned a slot, as it saw itself: numbers are those of its pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotOwner {
    /// Process number.
    pub pid: u32,
    /// Thread number.
    pub tid: u32,
    /// Start time of the process in clock ticks since boot; 0 if it could not be known.
    pub process_started: u64,
    /// Start time of the thread; 0 if it could not be known.
    pub thread_started: u64,
    /// Inode of the pid namespace; 0 if it could not be known.
    pub namespace: u64,
    /// Inode of the time namespace, by whose clock the start times are shown; 0 if there are none.
    pub time_namespace: u64,
}

impl SlotOwner {
    /// The calling thread. Reads `/proc` at the first call of a thread.
    pub fn current() -> Self {
        super::membership::this_thread()
    }

    /// The thread by its full name; `None` if a part of it is unknown to us, and with it the means of a proof: something
    /// could not be known, or its start times are shown by another clock than ours.
    pub fn identity(&self) -> Option<ThreadIdentity> {
        let known = [
            u64::from(self.pid),
            u64::from(self.tid),
            self.process_started,
            self.thread_started,
            self.namespace,
        ];
        if known.contains(&0) || self.time_namespace != Self::current().time_namespace {
            return None;
        }
        let process =
            ProcessIdentity { pid: self.pid, started: self.process_started, namespace: self.namespace };
        Some(ThreadIdentity { process, tid: self.tid, started: self.thread_started })
    }
}

impl LifeSlot {
    /// The word that names the owner for the table above; 0 while it names nobody.
    #[inline]
    pub fn id(&self) -> &AtomicU32 {
        &self.id
    }

    /// The word that counts the owners; to be changed by the holder of the life word only.
    #[inline]
    pub fn generation(&self) -> &AtomicU32 {
        &self.generation
    }

    /// The life word, where `layout` says that it is.
    ///
    /// # Panics
    /// If that is not in the mutex; no layout that [`layout`](super::layout) gives says so.
    #[inline]
    pub fn word(&self, layout: &MutexLayout) -> &AtomicU32 {
        self.mutex_word((layout.word as usize).wrapping_sub(MUTEX_OFFSET) / 4)
    }

    /// The number of the thread that took the slot last, as it wrote it down: while that thread has the slot, its life
    /// word holds the same.
    #[inline]
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Acquire)
    }

    /// Who took the slot last. Meaningful to who saw its id before and sees it still after.
    pub fn owner(&self) -> SlotOwner {
        SlotOwner {
            pid: self.pid.load(Ordering::Acquire),
            tid: self.tid(),
            process_started: self.process_started.load(Ordering::Acquire),
            thread_started: self.thread_started.load(Ordering::Acquire),
            namespace: self.namespace.load(Ordering::Acquire),
            time_namespace: self.time_namespace.load(Ordering::Acquire),
        }
    }

    /// Asks that the death of the owner wake who sleeps on the life word; returns the word's value to sleep on.
    /// `None` if the owner is dead already. Does not wait.
    ///
    /// The bit is added only to the word of a living owner: in a free one it would look like a lock that nobody holds
    /// and everybody waits for.
    pub fn watch(&self, layout: &MutexLayout) -> Option<u32> {
        let word = self.word(layout);
        let mark = |value| is_alive(value).then_some(value | WAITERS);
        let old = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, mark).ok()?;
        Some(old | WAITERS)
    }

    /// Does what the kernel would have done: marks a dead owner's word, if it still holds `seen`, and wakes its
    /// watchers. For who has proof of the death; `false` if somebody was faster.
    pub fn mark_dead(&self, layout: &MutexLayout, seen: u32) -> bool {
        let word = self.word(layout);
        let marked = |value: u32| {
            (value & OWNER == seen & OWNER && is_alive(value)).then_some(value & WAITERS | OWNER_DIED)
        };
        let done = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, marked).is_ok();
        if done {
            crate::futex::wake(word, u32::MAX);
        }
        done
    }

    /// Writes down who has the slot now, for its holder. The id goes first: whoever finds an id finds its owner's
    /// fields or later ones, and whoever finds a later thread number finds the id gone.
    pub(super) fn set_owner(&self, owner: &SlotOwner) {
        self.id.store(0, Ordering::Release);
        self.tid.store(owner.tid, Ordering::Release);
        self.pid.store(owner.pid, Ordering::Release);
        self.process_started.store(owner.process_started, Ordering::Release);
        self.thread_started.store(owner.thread_started, Ordering::Release);
        self.namespace.store(owner.namespace, Ordering::Release);
        self.time_namespace.store(owner.time_namespace, Ordering::Release);
    }

    /// The 4 bytes with this number in the mutex, as a word.
    #[inline]
    pub(super) fn mutex_word(&self, number: usize) -> &AtomicU32 {
        assert!(number < MUTEX_SIZE / 4, "the mutex has no word {number}");
        let place = self.mutex.get().cast::<u32>().wrapping_add(number);
        // SAFETY: the word lies in the mutex, which is aligned to 4 at least and lives as long as `self`. libc and the
        // kernel change the words that are looked at here with atomic operations only, or not at all.
        unsafe { AtomicU32::from_ptr(place) }
    }
}

/// A slot's place in a mapping, which it keeps mapped.
#[derive(Clone, Debug)]
pub struct Place {
    mapping: Arc<Mapping>,
    offset: usize,
}

impl Place {
    /// The slot at `offset` bytes.
    ///
    /// # Panics
    /// If it does not lie in the mapping, if the offset is not a multiple of [`SLOT_SIZE`], or if the mapping is
    /// read-only.
    pub fn new(mapping: &Arc<Mapping>, offset: usize) -> Self {
        slot_at(mapping, offset);
        Self { mapping: Arc::clone(mapping), offset }
    }

    /// The slot.
    #[inline]
    pub fn slot(&self) -> &LifeSlot {
        slot_at(&self.mapping, self.offset)
    }
}

/// Slots in a row, in a mapping that they keep.
#[derive(Clone, Debug)]
pub struct Slots {
    mapping: Arc<Mapping>,
    first: usize,
    n_slots: u32,
}

impl Slots {
    /// The `n_slots` slots from `first` bytes on.
    ///
    /// # Panics
    /// If there are none, and as [`Place::new`] of the first and the last.
    pub fn new(mapping: &Arc<Mapping>, first: usize, n_slots: u32) -> Self {
        let slots = Self { mapping: Arc::clone(mapping), first, n_slots };
        slots.place(n_slots.checked_sub(1).expect("at least one slot"));
        slots
    }

    /// How many there are.
    #[inline]
    pub fn n_slots(&self) -> u32 {
        self.n_slots
    }

    /// The slot with this number, if there is one.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&LifeSlot> {
        if number >= self.n_slots {
            return None;
        }
        let place = self.mapping.as_ptr().wrapping_add(self.offset(number)).cast::<LifeSlot>();
        // SAFETY: `new` checked that the last slot lies in the mapping, at a multiple of the slot's size from its begin,
        // and that the mapping is writable, so all before it do too; otherwise as in `slot_at`.
        Some(unsafe { &*place })
    }

    /// The place of the slot with this number.
    ///
    /// # Panics
    /// As [`Place::new`].
    pub fn place(&self, number: u32) -> Place {
        Place::new(&self.mapping, self.offset(number))
    }

    #[inline]
    fn offset(&self, number: u32) -> usize {
        self.first + number as usize * SLOT_SIZE
    }
}

impl LifeSlot {
    /// The slot at `offset` bytes of `mapping`.
    ///
    /// # Panics
    /// As [`Place::new`].
    #[inline]
    pub fn at(mapping: &Mapping, offset: usize) -> &Self {
        slot_at(mapping, offset)
    }
}

#[inline]
fn slot_at(mapping: &Mapping, offset: usize) -> &LifeSlot {
    assert!(offset.is_multiple_of(SLOT_SIZE), "a slot of {SLOT_SIZE} bytes at the odd offset {offset}");
    // Checks that its last word, and so all of it, lies in the mapping and may be written.
    let _: &AtomicU32 = mapping.atomic_u32(offset.saturating_add(SLOT_SIZE - 4));
    let place = mapping.as_ptr().wrapping_add(offset).cast::<LifeSlot>();
    // SAFETY: the slot lies in the mapping, which is writable and borrowed for as long as the reference; a mapping
    // begins at a page, so a multiple of the slot's size is aligned for it; this process touches writable mappings
    // with atomics, and the mutex inside with libc's calls on it.
    unsafe { &*place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memfd;

    fn page() -> Arc<Mapping> {
        Arc::new(Mapping::shared(&Memfd::sealed("slots", 4096).unwrap()).unwrap())
    }

    #[test]
    fn a_place_lies_in_its_mapping() {
        let page = page();
        assert_eq!(Place::new(&page, 4096 - SLOT_SIZE).slot().id().load(Ordering::Relaxed), 0);
        for offset in [4096, 64, usize::MAX - 127] {
            let refused = std::panic::catch_unwind(|| drop(Place::new(&page, offset)));
            assert!(refused.is_err(), "{offset}");
        }
    }

    #[test]
    fn slots_in_a_row_end_in_their_mapping() {
        let page = page();
        let slots = Slots::new(&page, SLOT_SIZE, 31);
        assert!(std::ptr::eq(slots.get(30).unwrap(), LifeSlot::at(&page, 4096 - SLOT_SIZE)));
        assert!(slots.get(31).is_none() && slots.get(u32::MAX).is_none());
        for (first, n_slots) in [(SLOT_SIZE, 32), (0, 0), (64, 1), (0, u32::MAX)] {
            assert!(
                std::panic::catch_unwind(|| Slots::new(&page, first, n_slots)).is_err(),
                "{n_slots} at {first}"
            );
        }
    }

    #[test]
    fn only_the_living_are_watched_and_marked() {
        let page = page();
        let layout = crate::life::layout().unwrap();
        let slot = LifeSlot::at(&page, 0);
        let word = slot.word(&layout);
        for dead in [0, OWNER_DIED, OWNER_DIED | WAITERS] {
            word.store(dead, Ordering::Relaxed);
            assert_eq!(slot.watch(&layout), None);
            assert!(!slot.mark_dead(&layout, 77));
            assert_eq!(word.load(Ordering::Relaxed), dead);
        }
        word.store(77, Ordering::Relaxed);
        assert!(!slot.mark_dead(&layout, 78), "another thread's death");
        assert_eq!(slot.watch(&layout), Some(77 | WAITERS));
        assert!(slot.mark_dead(&layout, 77));
        assert_eq!(word.load(Ordering::Relaxed), OWNER_DIED | WAITERS);
    }

    #[test]
    fn an_owner_without_a_start_time_or_of_another_clock_cannot_be_proved_dead() {
        let owner = SlotOwner::current();
        assert!(owner.identity().is_some());
        assert_eq!(SlotOwner { thread_started: 0, ..owner }.identity(), None);
        assert_eq!(SlotOwner { namespace: 0, ..owner }.identity(), None);
        assert_eq!(SlotOwner { time_namespace: owner.time_namespace + 1, ..owner }.identity(), None);
    }
}
