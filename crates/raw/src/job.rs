//! Where a job is between being sent and being done: one word for each piece of memory that a job lies in.
//!
//! Invariants: a job stays in one piece for all its life, and its word says where it is by itself, so nothing has to be
//! counted in step with it; each step is one exchange. Being done is one exchange, and wakes in the same step if somebody
//! waits for it. Held by the tests below, by `tests/loom.rs`, and by `procession-queue`'s kill points.

use crate::atomic::{AtomicU32, Ordering};
use crate::{Id, Owners, Park, Ring, Side};

/// Where a job is, in one word. All zero is a free piece.
///
/// | bits 31, 30 | bits 28 to 0 | who moves it, to what |
/// |---|---|---|
/// | 0, free | nothing | who wants to send: owned |
/// | 1, owned | the thread that fills it | that one, under the producers' lock: queued; that one: free; who wants to send, if that one is dead: owned |
/// | 2, queued | its position, modulo 2^29 | a consumer, under the consumers' lock, if it is the first: leased. The next holder of the producers' lock, if it was never committed: free |
/// | 3, leased | a seat, and how often the job was delivered | that seat's process: free, which is done; left; buried. Under the consumers' lock, if that process is dead: leased, by another; or buried |
/// | 3, left | the seat 4095, and the number | under the consumers' lock: leased; or buried |
/// | 3, buried | the seat 4094, and the number | whoever takes the dead letter: free |
///
/// Bit 29, `AWAITED`: somebody sleeps until the job is done, and what ends it wakes them. A *seat* is a process in a table
/// of the caller's, because a job is its process's: any of its threads may finish it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Job {
    word: AtomicU32,
}

/// Where a [`Job`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nowhere: the piece is free.
    Free,
    /// In the hands of the thread that writes it.
    Owned(Id),
    /// At this position, modulo 2^29.
    Queued(u32),
    /// With the process in this seat, by its delivery number `n`.
    Leased {
        /// Below [`Stage::SEATS`].
        seat: u32,
        /// 1 for the first; at most [`Stage::MOST`].
        n: u32,
    },
    /// Given back by who had it, after `n` deliveries.
    Left(u32),
    /// Given up, after `n` deliveries.
    Buried(u32),
}

const KIND: u32 = 3 << 30;
const OWNED: u32 = 1 << 30;
const QUEUED: u32 = 2 << 30;
const LEASED: u32 = 3 << 30;
const AWAITED: u32 = 1 << 29;
const LEFT: u32 = 4095;
const BURIED: u32 = 4094;
const SEAT_BITS: u32 = 12;

const _: () = assert!(Id::MASK == AWAITED - 1);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Job>() == 4 && align_of::<Job>() == 4);

impl Stage {
    /// Seats there may be.
    pub const SEATS: u32 = BURIED;
    /// The most deliveries that are told apart.
    pub const MOST: u32 = (1 << (29 - SEAT_BITS)) - 1;

    /// At this position.
    #[must_use]
    pub const fn queued(at: u32) -> Self {
        Self::Queued(at & Id::MASK)
    }

    /// With this seat, once more than `n` times.
    #[must_use]
    pub const fn leased_after(n: u32, seat: u32) -> Self {
        Self::Leased { seat, n: if n < Self::MOST { n + 1 } else { Self::MOST } }
    }

    /// Whether somebody still has to finish it: sent, and neither done nor given up.
    #[must_use]
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Queued(_) | Self::Leased { .. } | Self::Left(_))
    }

    const fn of(word: u32) -> Self {
        let (low, n) = (word & Id::MASK, (word & Id::MASK) >> SEAT_BITS);
        match (word & KIND, low & LEFT) {
            (OWNED, _) => Self::Owned(Id::from_bits(word)),
            (QUEUED, _) => Self::Queued(low),
            (LEASED, LEFT) => Self::Left(n),
            (LEASED, BURIED) => Self::Buried(n),
            (LEASED, seat) => Self::Leased { seat, n },
            _ => Self::Free,
        }
    }

    const fn word(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::Owned(id) => OWNED | id.to_bits(),
            Self::Queued(at) => QUEUED | at & Id::MASK,
            Self::Leased { seat, n } => leased(seat, n),
            Self::Left(n) => leased(LEFT, n),
            Self::Buried(n) => leased(BURIED, n),
        }
    }
}

const fn leased(seat: u32, n: u32) -> u32 {
    LEASED | (n & Stage::MOST) << SEAT_BITS | seat & LEFT
}

impl Job {
    /// A free piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it is at this moment.
    #[inline]
    pub fn current(&self) -> Stage {
        Stage::of(self.word.load(Ordering::Acquire))
    }

    /// Takes the piece to write a job into it, if it is free or whoever was writing is dead.
    pub fn take(&self, owners: &impl Owners, me: Id) -> bool {
        let word = self.word.load(Ordering::Acquire);
        let is_free = match Stage::of(word) {
            Stage::Free => true,
            Stage::Owned(owner) => owners.is_dead(owner),
            _ => false,
        };
        is_free && self.exchange(word, Stage::Owned(me).word()).is_ok()
    }

    /// Moves it on, if it is where `now` says. Who waits for its end goes on waiting.
    #[inline]
    pub fn change(&self, now: Stage, next: Stage) -> bool {
        let (mut expected, next) = (now.word(), next.word());
        while let Err(found) = self.exchange(expected, next | expected & AWAITED) {
            if Stage::of(found) != now || found == expected {
                return false;
            }
            expected = found;
        }
        true
    }

    /// Ends it, if it is where `now` says: it is done, and its piece is free. Wakes who waits for it in the same step; does
    /// not block.
    ///
    /// # If a peer dies
    /// Who is killed in here has ended it and woken all who waited, or has it still.
    #[inline]
    pub fn finish(&self, park: &impl Park, now: Stage) -> bool {
        match self.exchange(now.word(), 0) {
            Ok(_) => true,
            Err(found) => self.finish_awaited(park, now, found),
        }
    }

    #[cold]
    fn finish_awaited(&self, park: &impl Park, now: Stage, found: u32) -> bool {
        let is_there = Stage::of(found) == now;
        if is_there {
            // Nobody else moves it from here: whoever was to wait says so already.
            park.store_and_wake(&self.word, 0, u32::MAX);
        }
        is_there
    }

    /// Gives it up, if it is where `now` says: for the holder of the consumers' lock, or who has leased it.
    ///
    /// # If a peer dies
    /// Who is killed in here has given it up, or done nothing. Who waits for its end may find out at its tick only: a
    /// kernel has no one step for this.
    pub fn bury(&self, park: &impl Park, now: Stage) -> bool {
        let n = match now {
            Stage::Leased { n, .. } | Stage::Left(n) => n,
            _ => return false,
        };
        let is_buried = self.change(now, Stage::Buried(n));
        let buried = Stage::Buried(n).word();
        if is_buried && self.exchange(buried | AWAITED, buried).is_ok() {
            park.wake(&self.word, u32::MAX);
        }
        is_buried
    }

    /// Announces who will sleep until its end: the word, and the value to sleep on. `None` if it is not where `now` says.
    ///
    /// The value changes also when it only moves on, which wakes nobody.
    pub fn await_end(&self, now: Stage) -> Option<(&AtomicU32, u32)> {
        let awaited = now.word() | AWAITED;
        match self.exchange(now.word(), awaited) {
            Ok(_) => Some((&self.word, awaited)),
            Err(found) if found == awaited => Some((&self.word, awaited)),
            Err(_) => None,
        }
    }

    /// How many jobs are unfinished; exact while none is sent and none ends. 0 only if there was an instant, since the
    /// call, when all that had been sent were done or given up. `jobs` gives all the pieces of the ring, each time anew.
    ///
    /// A job that is done may have sent others before, into pieces that were looked at already: the tail has moved then,
    /// and this looks again ("sent behind the look" in the README).
    pub fn count_unfinished<'a, I: Iterator<Item = &'a Self>>(ring: &Ring, jobs: impl Fn() -> I) -> usize {
        let mut sent = ring.counter(Side::Producers);
        loop {
            let n = jobs().filter(|job| job.current().is_unfinished()).count();
            let before = core::mem::replace(&mut sent, ring.counter(Side::Producers));
            if n > 0 || sent == before {
                return n;
            }
        }
    }

    #[inline]
    fn exchange(&self, word: u32, new: u32) -> Result<u32, u32> {
        // What its last user stored or read came before, and what its next one does comes after.
        self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
