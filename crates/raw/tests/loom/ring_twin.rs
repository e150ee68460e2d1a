//! A ring of the same words in plain code, which can have one fault.

use loom::sync::atomic::{AtomicU32, Ordering, fence};
use procession_raw::{Forever, Lock, Park};

use super::Passage;
use crate::support::Domain;

/// What a twin does wrong.
pub(crate) const NOTHING: u8 = 0;
/// No fence between giving the lock back and looking at the flag.
pub(crate) const NO_BARRIER: u8 = 1;
/// No look at the flag after giving the lock back.
pub(crate) const NO_SECOND_LOOK: u8 = 2;
/// No fence between raising the flag and looking at the counter.
pub(crate) const NO_FENCE_OF_A_SLEEPER: u8 = 3;
/// A sleeper does not watch its flag.
pub(crate) const SLEEPS_ON_THE_COUNTER_ONLY: u8 = 4;
/// Lowering the flag wakes nobody.
pub(crate) const LOWERS_SILENTLY: u8 = 5;
/// That it is closed is a bit of the flag, over which somebody stores who lowers it.
pub(crate) const LOWERS_OVER_CLOSED: u8 = 6;
/// Who finds it closed and empty does not ask for a producer in the middle.
pub(crate) const ENDS_TOO_SOON: u8 = 7;
/// The counter is stored before the slot is filled.
pub(crate) const COMMITS_TOO_SOON: u8 = 8;
/// The counter is stored without order.
pub(crate) const COMMITS_RELAXED: u8 = 9;

/// A ring of the same words, with plain code, and one fault.
pub(crate) struct Twin<const FAULT: u8> {
    locks: [Lock; 2],
    /// How many were filled, and how many were emptied.
    counters: [AtomicU32; 2],
    /// Of producers, and of consumers.
    flags: [AtomicU32; 2],
    closed: AtomicU32,
}

const PRODUCERS: usize = 0;
const CONSUMERS: usize = 1;

impl<const FAULT: u8> Twin<FAULT> {
    fn closed(&self) -> &AtomicU32 {
        if FAULT == LOWERS_OVER_CLOSED { &self.flags[CONSUMERS] } else { &self.closed }
    }

    fn is_closed(&self) -> bool {
        self.closed().load(Ordering::Acquire) & 2 != 0
    }

    /// One try: what was done, or what the other side's counter was.
    fn pass(
        &self,
        side: usize,
        domain: &Domain,
        ready: impl Fn(u32) -> bool,
        slot: impl Fn(u32),
    ) -> Result<bool, u32> {
        let held = self.locks[side].lock(domain, domain, &Forever).unwrap();
        let unlock = || self.locks[side].unlock(domain, held.me).unwrap();
        if side == PRODUCERS && self.is_closed() {
            unlock();
            return Ok(false);
        }
        let other = self.counters[1 - side].load(Ordering::Acquire);
        let at = self.counters[side].load(Ordering::Relaxed);
        if !ready(at.wrapping_sub(other)) {
            unlock();
            return Err(other);
        }
        if FAULT != COMMITS_TOO_SOON {
            slot(at);
        }
        let [counter, flag] = [&self.counters[side], &self.flags[1 - side]];
        let is_up = || flag.load(Ordering::Relaxed) & 1 != 0;
        let is_plain = !is_up();
        if is_plain {
            counter
                .store(at + 1, if FAULT == COMMITS_RELAXED { Ordering::Relaxed } else { Ordering::Release });
        } else if domain.add_and_wake(counter, 1, 1) == 0 {
            Self::lower(flag, domain);
        }
        if FAULT == COMMITS_TOO_SOON {
            slot(at);
        }
        unlock();
        if FAULT != NO_BARRIER {
            fence(Ordering::SeqCst);
        }
        if FAULT != NO_SECOND_LOOK && is_plain && is_up() && domain.wake(counter, 1) == 0 {
            Self::lower(flag, domain);
        }
        Ok(true)
    }

    fn lower(flag: &AtomicU32, domain: &Domain) {
        domain.store_and_wake(flag, 0, if FAULT == LOWERS_SILENTLY { 0 } else { u32::MAX });
    }

    fn nap(&self, side: usize, seen: u32, domain: &Domain) {
        let [counter, flag] = [&self.counters[1 - side], &self.flags[side]];
        flag.fetch_or(1, Ordering::Relaxed);
        if FAULT != NO_FENCE_OF_A_SLEEPER {
            fence(Ordering::SeqCst);
        }
        if counter.load(Ordering::Relaxed) == seen && !self.is_closed() {
            let words = match FAULT {
                SLEEPS_ON_THE_COUNTER_ONLY => vec![(counter, seen)],
                LOWERS_OVER_CLOSED => vec![(counter, seen), (flag, 1)],
                _ => vec![(counter, seen), (flag, 1), (&self.closed, 0)],
            };
            domain.wait_any(&words, None);
        }
    }
}

impl<const FAULT: u8> Passage for Twin<FAULT> {
    fn new() -> Self {
        let zero = || AtomicU32::new(0);
        Self {
            locks: [Lock::new(), Lock::new()],
            counters: [zero(), zero()],
            flags: [zero(), zero()],
            closed: zero(),
        }
    }

    fn put(&self, domain: &Domain, slots: u32, fill: impl Fn(u32)) -> bool {
        loop {
            match self.pass(PRODUCERS, domain, |used| used < slots, &fill) {
                Ok(was_open) => return was_open,
                Err(seen) => self.nap(PRODUCERS, seen, domain),
            }
        }
    }

    fn take(&self, domain: &Domain, _: u32, empty: impl Fn(u32)) -> bool {
        loop {
            let seen = match self.pass(CONSUMERS, domain, |used| used != 0, &empty) {
                Ok(taken) => return taken,
                Err(seen) => seen,
            };
            if !self.is_closed() {
                self.nap(CONSUMERS, seen, domain);
                continue;
            }
            if FAULT != ENDS_TOO_SOON {
                let held = self.locks[PRODUCERS].lock(domain, domain, &Forever).unwrap();
                self.locks[PRODUCERS].unlock(domain, held.me).unwrap();
            }
            let [filled, emptied] = [0, 1].map(|side| self.counters[side].load(Ordering::Acquire));
            if FAULT == ENDS_TOO_SOON || filled == emptied {
                return false;
            }
        }
    }

    fn close(&self, domain: &Domain) {
        domain.set_and_wake(self.closed(), 2, u32::MAX);
    }
}
