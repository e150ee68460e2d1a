//! The turn of one thread at its side of a ring, from taking the lock to giving it back.
//!
//! Invariants: a turn exists only while its thread holds the lock of its side; it works on copies of the counters, each
//! read once, so that words that change under it change no answer twice; nothing is visible to the other side before
//! `commit`.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use super::{MAIL, Ring, SLEEPERS, Side};
use crate::atomic::{AtomicU32, Ordering};
use crate::{Held, Id, Park, Protected};

/// The right to move one counter of a [`Ring`]. Dropping it gives the lock back.
///
/// It stays on its thread, whose death is what lets others follow.
///
/// ```compile_fail,E0277
/// fn needs<T: Send>() {}
/// fn with<P: procession_raw::Park + Sync>() {
///     needs::<procession_raw::Turn<'_, P>>();
/// }
/// ```
#[derive(Debug)]
#[must_use = "the others of this side wait until it is dropped"]
pub struct Turn<'a, P: Park> {
    ring: &'a Ring,
    park: &'a P,
    side: Side,
    me: Id,
    heir_of: Option<Id>,
    /// Our counter.
    at: u32,
    /// The other side's counter when it was read last.
    other: u32,
    /// How many slots `ready` said, less those that were committed.
    ready: u32,
    /// For how many sleepers there is news that nobody was woken for.
    owed: u32,
    _stays: PhantomData<*const ()>,
}

/// A [`Turn`] for one slot, which has to be given back by [`end`](Self::end): else the lock stays taken until this thread
/// ends. What is dropped has to be in memory while the stack may unwind; this need not.
#[derive(Debug)]
#[must_use = "the others of this side wait until its end"]
pub struct Step<'a, P: Park>(pub(super) ManuallyDrop<Turn<'a, P>>);

impl<P: Park> Step<'_, P> {
    /// The number of the slot, as [`Turn::at`].
    #[inline(always)]
    pub fn at(&self) -> u32 {
        self.0.at()
    }

    /// Gives the slot to the consumers, with a copy of what it got for the one that waits for it: a word and up to
    /// [`MAIL`](super::MAIL) more. Gives the lock back. For a producer. Does not block.
    ///
    /// # If a peer dies
    /// As [`Turn::commit`].
    #[inline(always)]
    pub fn end_with(mut self, word: u32, words: &[u64]) {
        let turn = &mut self.0;
        turn.ring.tail.mail.post(turn.at, word, words);
        turn.move_on(1);
        turn.leave();
    }

    /// The copy of what the slot got, with the first `n` of its words at least, if it is still there. For a consumer. Does
    /// not block.
    #[inline(always)]
    pub fn mail(&self, n: usize) -> Option<(u32, [u64; MAIL])> {
        let turn = &self.0;
        // Only the newest has one. To look for it costs the line of the counter, which is at hand only then.
        let is_newest = turn.other == turn.at.wrapping_add(1);
        if is_newest { turn.ring.tail.mail.read(turn.at, n) } else { None }
    }

    /// Gives the slot to the other side, if `commits`, and the lock back. Does not block.
    ///
    /// # If a peer dies
    /// As [`Turn::commit`].
    #[inline(always)]
    pub fn end(mut self, commits: bool) {
        if commits {
            self.0.commit(1);
        }
        self.0.leave();
    }
}

/// The counters are further apart than there are slots, which only a peer that stores over them can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl<'a, P: Park> Turn<'a, P> {
    #[inline(always)]
    pub(super) fn begin(ring: &'a Ring, side: Side, park: &'a P, held: Held) -> Self {
        let Held { me, state } = held;
        let heir_of = match state {
            Protected::Consistent => None,
            left => Self::follow(ring, side, me, left),
        };
        let at = ring.moved_by(side).load(Ordering::Relaxed);
        let other = ring.half(side).seen.load(Ordering::Relaxed);
        // A dead holder may have committed and woken nobody.
        let owed = if heir_of.is_some() { u32::MAX } else { 0 };
        Self { ring, park, side, me, heir_of, at, other, ready: 0, owed, _stays: PhantomData }
    }

    #[cold]
    fn follow(ring: &Ring, side: Side, me: Id, left: Protected) -> Option<Id> {
        // A dead holder left nothing half done. If a peer broke the protocol and the lock is not ours, there is nothing to
        // mend either.
        let _ = ring.half(side).lock.mark_consistent(me);
        if let Protected::OwnerDied(id) = left { Some(id) } else { None }
    }

    /// Who died holding this lock, if somebody did and this turn follows it.
    pub fn heir_of(&self) -> Option<Id> {
        self.heir_of
    }

    /// The thread whose turn it is.
    pub fn me(&self) -> Id {
        self.me
    }

    /// Our counter: the number of the next slot to fill or to empty, modulo 2³². The slots behind it have the numbers that
    /// follow. The caller masks it: with slots that are no power of two, places would jump when it starts over.
    #[inline]
    pub fn at(&self) -> u32 {
        self.at
    }

    /// The other side's counter as last read, perhaps by somebody before; just now if [`ready`](Self::ready) said fewer
    /// than were wanted.
    #[inline]
    pub fn other(&self) -> u32 {
        self.other
    }

    /// How many slots of `slots` are free for a producer, or filled for a consumer; at least so many, if they are
    /// `wanted` or more. Does not block.
    ///
    /// # Errors
    /// [`Corrupt`]; it will be so for ever, unless the same peer stores something else.
    #[inline(always)]
    pub fn ready(&mut self, slots: u32, wanted: u32) -> Result<u32, Corrupt> {
        self.ready = self.distance(slots).unwrap_or(0);
        if self.ready >= wanted {
            return Ok(self.ready);
        }
        // By a look at the other side's counter, which it moves while we look: on, and never back.
        let (known, before) = (self.ready, self.other);
        self.other = self.ring.counter(self.side.other());
        match self.distance(slots) {
            Some(ready) if ready >= known => self.ready = ready,
            // What was known is still so, for who has begun to use it.
            _ => {
                self.other = before;
                return Err(Corrupt);
            }
        }
        // A copy for those who come after us. Only the holder of the lock touches it.
        self.ring.half(self.side).seen.store(self.other, Ordering::Relaxed);
        Ok(self.ready)
    }

    /// The slots between our counter and the other as we know it; there are never more filled ones than `slots`.
    #[inline]
    fn distance(&self, slots: u32) -> Option<u32> {
        match self.side {
            Side::Producers => slots.checked_sub(self.at.wrapping_sub(self.other)),
            Side::Consumers => Some(self.other.wrapping_sub(self.at)).filter(|&filled| filled <= slots),
        }
    }

    /// Gives the next `n` slots to the other side, and wakes up to `n` who sleep there. What was done to the slots before
    /// is visible to whoever finds them. Does not block.
    ///
    /// # Panics
    /// If `n` is more than [`ready`](Self::ready) said, less what was committed since, or than [`Ring::MAX_AT_ONCE`].
    ///
    /// # If a peer dies
    /// Who is killed in here has given all `n` or none. If somebody slept before this call, they are woken in the same
    /// step. Who lay down during this call and was not woken, because this thread was killed before it gave the lock back
    /// and looked once more, finds out at its tick.
    #[inline(always)]
    pub fn commit(&mut self, n: u32) {
        assert!(n <= self.ready && n <= Ring::MAX_AT_ONCE, "more slots than are ready");
        if n == 0 {
            return;
        }
        if self.side == Side::Producers {
            self.ring.tail.mail.clear(self.at.wrapping_add(n));
        }
        self.move_on(n);
    }

    #[inline(always)]
    fn move_on(&mut self, n: u32) {
        self.ready -= n;
        self.at = self.at.wrapping_add(n);
        let (counter, flag) = self.ring.news(self.side.other());
        if flag.load(Ordering::Relaxed) & SLEEPERS == 0 {
            counter.store(self.at, Ordering::Release);
            self.owed = self.owed.saturating_add(n);
        } else {
            Self::commit_and_wake(self.park, counter, flag, n);
        }
    }

    #[cold]
    fn commit_and_wake(park: &P, counter: &AtomicU32, flag: &AtomicU32, n: u32) {
        if park.add_and_wake(counter, n, n) == 0 {
            Ring::lower(flag, park);
        }
    }

    /// Whether the ring is closed and empty, and stays so. Only a producer's turn says so: while it lasts, nobody else
    /// fills a slot, and who comes later sees that it is closed.
    pub fn drained(&self) -> bool {
        self.side == Side::Producers && self.ring.is_closed() && self.ring.is_empty()
    }
}

impl<P: Park> Turn<'_, P> {
    /// Gives the lock back, and wakes those who are owed news. Once.
    #[inline(always)]
    pub(super) fn leave(&mut self) {
        // Only a peer that breaks the protocol can have taken it from us, and then it is not ours to give back.
        let _ = self.ring.half(self.side).lock.unlock(self.park, self.me);
        if self.owed > 0 {
            store_before_load();
            self.ring.wake(self.side.other(), self.park, self.owed);
        }
    }
}

impl<P: Park> Drop for Turn<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// Either a thread that is about to sleep sees the counter that was stored before, or this thread sees its flag. To be
/// called after giving a lock back.
#[inline]
fn store_before_load() {
    // Giving the lock back was an exchange, which on this processor is a full barrier, also if it failed; the longer way
    // to do it was a system call, whose exchange is one, too. That leaves the compiler, which may move a load to before an
    // exchange that only releases. The model checkers know no such processor.
    #[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), not(any(loom, miri))))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(any(target_arch = "x86", target_arch = "x86_64"), not(any(loom, miri)))))]
    crate::atomic::fence(Ordering::SeqCst);
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("looking at a ring: its counters are further apart than it has slots")
    }
}

impl core::error::Error for Corrupt {}
