//! A ring of slots between producers and consumers, as far as it is words: two locks, two counters, and who sleeps.
//!
//! Invariants: what lies between `head` and `tail` is the content, and nothing else says what it is; each of the two is
//! moved only by the holder of its side's lock, so moving it commits everything at once, and a kill leaves before or
//! after and never between; a copy of a counter is never ahead of it. Who is about to sleep raises a flag and looks
//! again; who moved a counter wakes in the same step if the flag was up, and else looks at it once more. Held by the
//! unit tests (a kill at every access), by `tests/loom.rs`, by `tests/kill_model.rs`, and by the table in the README
//! beside the manifest.
//!
//! The slots are the caller's: nothing here knows how many bytes a message has or where they lie.

use core::mem::ManuallyDrop;
use core::time::Duration;

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::{Held, Id, Limit, Lock, LockError, Owners, Park, Protected, Waited};
use mail::Mail;

mod mail;
mod turn;

pub use mail::MAIL;
pub use turn::{Corrupt, Step, Turn};

/// The words of a ring. All zero is an empty ring that is open.
///
/// | words | meaning | who moves it, to what |
/// |---|---|---|
/// | `lock` of a side | who of this side is in the middle | as [`Lock`]; there is no poison, because nothing is left half done |
/// | `seen` of a side | the other side's counter at some moment before | the holder of `lock`, to the counter |
/// | `tail` | how many slots were ever filled, modulo 2³² | the producer that holds its side's lock adds those that it filled |
/// | `head` | how many were ever emptied, modulo 2³² | the consumer that holds its side's lock adds those that it emptied |
/// | the copy beside `tail` | the message of the slot before `tail`, if its note says so: `mail.rs` | the same, before it moves `tail` |
/// | `not_empty` 0 | no consumer sleeps | a consumer that is about to sleep, to `SLEEPERS` |
/// | `not_empty` `SLEEPERS` | consumers may sleep | a producer that woke nobody, to 0, and wakes all in the same step |
/// | `not_full` | the same of producers | the same |
/// | `closed` 0 | producers may fill slots | anybody, to 1, and wakes all of both sides in the same step |
/// | `closed` 1 | only producers that were in the middle go on | nobody |
///
/// Slots in `head..tail` belong to the consumers, all others to the producers. Words that different threads write lie
/// 128 bytes apart, so that no two of them share a cache line or a pair of lines.
///
/// ```
/// use procession_raw::{Ring, Side};
///
/// let ring = Ring::new();
/// assert_eq!((ring.len(), ring.counter(Side::Producers), ring.is_closed()), (0, 0, false));
/// ```
#[derive(Debug, Default)]
#[repr(C)]
pub struct Ring {
    producers: Half,
    tail: Tail,
    consumers: Half,
    head: Line,
    not_empty: AtomicU32,
    /// Beside the flag that producers look at whenever they look at this.
    closed: AtomicU32,
    _spare: [AtomicU32; spare(2)],
    not_full: Line,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Half {
    lock: Lock,
    seen: AtomicU32,
    _spare: [AtomicU32; spare(2)],
}

#[derive(Debug, Default)]
#[repr(C)]
struct Line {
    word: AtomicU32,
    _spare: [AtomicU32; spare(1)],
}

#[derive(Debug, Default)]
#[repr(C)]
struct Tail {
    word: AtomicU32,
    _spare: [AtomicU32; if cfg!(loom) { 0 } else { 1 }],
    /// In the line that consumers fetch anyway.
    mail: Mail,
    _rest: [AtomicU32; spare(14)],
}

/// The words between `used` ones and the next 128 bytes. The model checker has no cache lines, and pays for each word.
const fn spare(used: usize) -> usize {
    if cfg!(loom) { 0 } else { 32 - used }
}

const SLEEPERS: u32 = 1;
const CLOSED: u32 = 1;

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Ring>() == 6 * 128 && align_of::<Ring>() == 8);
    // The copy is in the cache line of the counter.
    assert!(offset_of!(Tail, word) == 0 && offset_of!(Tail, mail) + size_of::<Mail>() <= 64);
    assert!(offset_of!(Ring, tail) == 128 && offset_of!(Ring, consumers) == 256);
    assert!(offset_of!(Ring, head) == 384 && offset_of!(Ring, not_empty) == 512);
    assert!(offset_of!(Ring, closed) == 516 && offset_of!(Ring, not_full) == 640);
    assert!(offset_of!(Half, lock) == 0 && offset_of!(Half, seen) == 4);
};

/// The two kinds of users of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those who fill slots.
    Producers,
    /// Those who empty slots.
    Consumers,
}

impl Side {
    /// The side across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Producers => Self::Consumers,
            Self::Consumers => Self::Producers,
        }
    }
}

impl Ring {
    /// The most slots that one [`Turn::commit`] moves: a kernel can add so many and wake in one step.
    pub const MAX_AT_ONCE: u32 = 2047;

    /// The most words that [`nap`](Self::nap) watches beside its own.
    pub const MAX_ALSO: usize = 2;

    /// An empty ring that is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lock of a side. Producers ask [`is_closed`](Self::is_closed) afterwards, and go away if it is.
    ///
    /// Blocks until nobody of this side is in the middle, or the limit passes. A limit that has passed is one try.
    ///
    /// # Errors
    /// [`LockError`]; nothing was done.
    ///
    /// # If a peer dies
    /// Who died in the middle left nothing half done in these words: it is followed at once, and
    /// [`Turn::heir_of`] says whom, for a caller that has things of its own to tidy. Who dies after the news, dies in the
    /// middle too: the next one has news again.
    #[inline]
    pub fn enter<'a, P: Park>(
        &'a self,
        side: Side,
        park: &'a P,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Turn<'a, P>, LockError> {
        let held = self.half(side).lock.lock(park, owners, limit)?;
        Ok(Turn::begin(self, side, park, held))
    }

    /// [`enter`](Self::enter) by the calling thread, which is `me`, if that takes one exchange: nobody of this side is in
    /// the middle, and nobody died there. `None`: nothing was done, and `enter` may succeed all the same.
    #[inline(always)]
    pub fn enter_at_once<'a, P: Park>(&'a self, side: Side, park: &'a P, me: Id) -> Option<Turn<'a, P>> {
        let held = Held { me, state: Protected::Consistent };
        self.half(side).lock.lock_at_once(me).then(|| Turn::begin(self, side, park, held))
    }

    /// A turn of the calling thread, which is `me`, for one slot of `slots`; `None` if somebody of this side is in the
    /// middle, or died there, or no slot is ready. Does not block.
    ///
    /// The same as [`enter_at_once`](Self::enter_at_once), and quicker by as much as one exchange.
    #[inline(always)]
    pub fn step_at_once<'a, P: Park>(
        &'a self,
        side: Side,
        park: &'a P,
        me: Id,
        slots: u32,
    ) -> Option<Step<'a, P>> {
        let mut step = Step(ManuallyDrop::new(self.enter_at_once(side, park, me)?));
        if matches!(step.0.ready(slots, 1), Ok(1..)) {
            return Some(step);
        }
        step.end(false);
        None
    }

    /// Sleeps once, until the other side's counter differs from `seen`, the ring is closed, a word of `also` differs from
    /// the value beside it, or the time is over; or for no reason. `seen` is [`Turn::other`], or
    /// [`counter`](Self::counter), of who found nothing to do.
    ///
    /// Blocks. Whoever comes back looks again. If it then goes away without having done what it slept for, it calls
    /// [`pass_on`](Self::pass_on).
    ///
    /// # If a peer dies
    /// Who moved the counter, before it woke anybody; or somebody who was woken for what there is: the sleep may last as
    /// long as `time`, which therefore is a [tick](Limit::tick) at most. `also` is for an
    /// [obituary](crate::Obituary::watch) from before the look at the ring, which makes that at once.
    ///
    /// # Panics
    /// If there are more than [`MAX_ALSO`](Self::MAX_ALSO) words in `also`.
    #[cold]
    pub fn nap(
        &self,
        side: Side,
        seen: u32,
        park: &impl Park,
        also: &[(&AtomicU32, u32)],
        time: Option<Duration>,
    ) -> Waited {
        let Some(own) = self.lie_down(side, seen) else { return Waited::Changed };
        let mut words = [own[0]; 3 + Self::MAX_ALSO];
        words[..3].copy_from_slice(&own);
        words[3..][..also.len()].copy_from_slice(also);
        park.wait_any(&words[..3 + also.len()], time)
    }

    /// What [`nap`](Self::nap) does before it sleeps, for who sleeps on words of other things at the same time: says that
    /// somebody sleeps, and looks again. The words to sleep on, and the values they hold while nothing happens; `None` if
    /// something has happened already. Does not block.
    ///
    /// Whoever then sleeps may have been woken in the place of another: it calls [`pass_on`](Self::pass_on) as after a nap.
    #[cold]
    pub fn lie_down(&self, side: Side, seen: u32) -> Option<[(&AtomicU32, u32); 3]> {
        let (counter, flag) = self.news(side);
        // As it is found, so that no garbage in it keeps anybody awake.
        let raised = flag.fetch_or(SLEEPERS, Ordering::Relaxed) | SLEEPERS;
        // Either this look sees the counter moved, or who moved it sees that somebody may sleep: "looked and lay down" in the
        // README.
        fence(Ordering::SeqCst);
        if counter.load(Ordering::Relaxed) != seen || self.is_closed() {
            return None;
        }
        // The counter first: a commit wakes those who sleep on it. The flag, because who lowers it from here on thinks that
        // nobody sleeps: "lowered beneath" and "seen before it moved" in the README.
        Some([(counter, seen), (flag, raised), (&self.closed, 0)])
    }

    /// Wakes one who sleeps on this side, if anybody may: for who has slept and goes away at its limit, because the wake may
    /// have been the only one for something that is still there ("woken and gone" in the README). Does not block.
    ///
    /// Also for who goes on to sleep, because there is less than it wants and others of its side may want less; then only
    /// if the counter is not the one that it slept with, or two such sleepers would wake each other for ever.
    #[cold]
    pub fn pass_on(&self, side: Side, park: &impl Park) {
        self.wake(side, park, 1);
    }

    /// The counter that this side moves: how many slots it ever filled, or emptied, modulo 2³². For who waits for the
    /// other side without its own side's lock. What was done to the slots before is visible.
    #[inline]
    pub fn counter(&self, side_that_moves_it: Side) -> u32 {
        self.moved_by(side_that_moves_it).load(Ordering::Acquire)
    }

    /// How many slots are filled; exact while nobody moves, else perhaps more than there are.
    pub fn len(&self) -> u32 {
        // In this order, so that the difference is never below zero.
        let head = self.counter(Side::Consumers);
        self.counter(Side::Producers).wrapping_sub(head)
    }

    /// Whether no slot is filled at this moment.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the ring, for ever, and wakes all who sleep on either side. Does not block.
    ///
    /// A producer that is in the middle may still commit: [`drained`](Self::drained) waits for it.
    ///
    /// # If a peer dies
    /// Who is killed in here has either closed it and woken all, or done nothing.
    pub fn close(&self, park: &impl Park) {
        park.set_and_wake(&self.closed, CLOSED, u32::MAX);
    }

    /// Whether the ring was closed. What was done before is visible.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }

    /// Whether the ring is closed and empty, and stays so: no producer is in the middle. For consumers that found
    /// nothing to do in a closed ring.
    ///
    /// Blocks, only if it is closed and empty, until nobody holds the producers' lock, or the limit passes.
    ///
    /// # Errors
    /// [`LockError`], of the producers' lock.
    ///
    /// # If a peer dies
    /// A producer in the middle: it is followed, and nobody is told. Who has things of its own to tidy enters the
    /// producers' side itself and asks [`Turn::drained`].
    pub fn drained(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<bool, LockError> {
        if !self.is_closed() || !self.is_empty() {
            return Ok(false);
        }
        self.enter(Side::Producers, park, owners, limit).map(|turn| turn.drained())
    }

    /// Up to `n` of the sleepers of a side look again at the other side's counter, which has moved.
    #[inline]
    fn wake(&self, side: Side, park: &impl Park, n: u32) {
        let (counter, flag) = self.news(side);
        if flag.load(Ordering::Relaxed) & SLEEPERS != 0 && park.wake(counter, n) == 0 {
            Self::lower(flag, park);
        }
    }

    /// Nobody slept: the next commit need not try. Somebody may be about to sleep, so lowering wakes all who did.
    #[cold]
    fn lower(flag: &AtomicU32, park: &impl Park) {
        park.store_and_wake(flag, 0, u32::MAX);
    }

    /// What those of a side sleep on: the other side's counter, and their own flag.
    #[inline]
    fn news(&self, side: Side) -> (&AtomicU32, &AtomicU32) {
        let flag = match side {
            Side::Producers => &self.not_full.word,
            Side::Consumers => &self.not_empty,
        };
        (self.moved_by(side.other()), flag)
    }

    #[inline]
    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Producers => &self.producers,
            Side::Consumers => &self.consumers,
        }
    }

    #[inline]
    fn moved_by(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::Producers => &self.tail.word,
            Side::Consumers => &self.head.word,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
