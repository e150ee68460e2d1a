//! One side of a queue in one process: how it waits, and how it knows that the other side is gone.
//!
//! Every user of a side, in whatever process and also under way in a message, holds a descriptor of that side's end of a
//! socket pair. So the kernel knows when a side has lost its last user, however that ended, and the other end hangs up.
//! What is sent there is the luggage of messages: see `luggage.rs`.
//!
//! | who goes | how the other side learns of it |
//! |---|---|
//! | drops its last handle in a process | it closes its end and rings the bell: who sleeps looks, who sends or receives looks next time |
//! | is killed | who is told of the death rings the domain's obituary; else a tick, or every 4096th message, or 256th try |
//!
//! Invariants: the end is closed before the bell rings; who goes to sleep has read the bell before it looked at the end.
//! "Nobody is left" is said by receivers only after they looked at the messages once more: none can come then.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession_codec::handles::{self, Carried};
use procession_raw::{Limit, LockError, Obituary, Ring, Side, Turn};
use procession_shm::domain::{Domain, Participant};
use procession_shm::{Party, ShmError, Wait};
use procession_sys::futex::SharedPark;
use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::memory::Memory;
use crate::patience::Patience;

/// A side of a queue, in this kind of memory.
#[derive(Debug)]
pub(crate) struct Link<M: Place = Memory> {
    memory: M,
    side: Side,
    /// `None` once it is closed.
    end: Option<Arc<End>>,
    /// The bell and the obituary when the other side was last seen to be there.
    heard: AtomicU64,
    /// How often somebody found nothing to do and did not wait.
    tries: AtomicU32,
    /// Whether it is known that the queue is closed and empty, which stays so.
    is_drained: AtomicBool,
    patience: Patience,
}

/// What a link needs of the memory of a queue.
pub(crate) trait Place: Sized {
    /// The same memory, for the other side.
    fn share(&self) -> Self;
    fn ring(&self) -> &Ring;
    /// Rings when somebody of either side has gone: it may have been the last.
    fn bell(&self) -> &Obituary;
    fn domain(&self) -> &Domain;
    /// The word that tells of deaths in the domain.
    fn obituary(&self) -> &AtomicU32;
    fn party(&self) -> Party<'_>;
    /// Puts in order what a dead holder of a side's lock left, for its follower.
    fn tidy(&self, side: Side, party: &Party<'_>, turn: &Turn<'_, SharedPark>);
    fn send<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn receive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// A descriptor of a side's end.
#[derive(Debug)]
struct End(OwnedFd);

/// The lock of a side was not to be had.
#[derive(Debug)]
pub(crate) enum Barred {
    /// The time was up; who holds it.
    By(Option<Participant>),
    NoSlot,
    Corrupt,
}

/// Why a wait came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Look again.
    Maybe,
    /// The time was up.
    TimedOut,
    /// Nobody is left on the other side.
    Disconnected,
}

/// How long a `try_` form lets others finish who are in the middle.
const PATIENCE: Duration = Duration::from_micros(50);
/// Messages between two looks at an end that nobody has spoken of.
const EVERY: u32 = 4096;
/// Tries between two such looks.
const TRIES: u32 = 256;

impl<M: Place> Link<M> {
    /// Both sides of a new queue, in memory that `create` makes.
    pub(crate) fn pair(
        create: impl FnOnce() -> Result<M, ShmError>,
    ) -> Result<(Arc<Self>, Arc<Self>), ShmError> {
        // Where the limit cannot be raised, the lower one holds.
        let _ = procession_sys::limits::raise_descriptor_limit();
        let memory = create()?;
        let (a, b) = socket::pair()?;
        let link = |memory, side, end| Arc::new(Self::new(memory, side, end));
        Ok((link(memory.share(), Side::Producers, a), link(memory, Side::Consumers, b)))
    }

    fn new(memory: M, side: Side, end: OwnedFd) -> Self {
        Self {
            memory,
            side,
            end: Some(Arc::new(End(end))),
            heard: AtomicU64::new(0),
            tries: AtomicU32::new(0),
            is_drained: AtomicBool::new(false),
            patience: Patience::default(),
        }
    }

    #[inline]
    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    #[inline]
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    #[inline]
    pub(crate) fn party(&self) -> Party<'_> {
        self.memory.party()
    }

    /// This side's end of the sockets.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_ref().expect("closed by drop only").0.as_fd()
    }

    /// The turn of this thread at its side, tidied up after the dead.
    #[inline]
    pub(crate) fn enter(
        &self,
        party: &Party<'_>,
        deadline: Deadline,
    ) -> Result<Turn<'_, SharedPark>, Barred> {
        self.enter_as(self.side, party, deadline)
    }

    #[inline]
    fn enter_as(
        &self,
        side: Side,
        party: &Party<'_>,
        deadline: Deadline,
    ) -> Result<Turn<'_, SharedPark>, Barred> {
        let wait = Wait(deadline);
        let turn = match self.memory.ring().enter(side, &SharedPark, party, &wait) {
            Ok(turn) => turn,
            Err(LockError::TimedOut(_)) => self.enter_patiently(side, party)?,
            Err(error) => return Err(self.barred(error)),
        };
        if turn.heir_of().is_some() {
            self.tidy(side, party, &turn);
        }
        Ok(turn)
    }

    /// Others are quick, unless they are stopped.
    #[cold]
    fn enter_patiently(&self, side: Side, party: &Party<'_>) -> Result<Turn<'_, SharedPark>, Barred> {
        let until = Instant::now() + PATIENCE;
        loop {
            thread::yield_now();
            match self.memory.ring().enter(side, &SharedPark, party, &Wait(Deadline::now())) {
                Err(LockError::TimedOut(_)) if Instant::now() < until => {}
                answer => return answer.map_err(|error| self.barred(error)),
            }
        }
    }

    fn barred(&self, error: LockError) -> Barred {
        match error {
            LockError::TimedOut(id) => Barred::By(self.memory.domain().participant(id)),
            LockError::NoSlot => Barred::NoSlot,
            // No turn contains another, so only a peer can have stored our name there.
            _ => Barred::Corrupt,
        }
    }

    /// Whether the queue is closed and empty, and stays so. Who once heard it is not kept waiting by senders that come to
    /// hear the same.
    #[cold]
    pub(crate) fn drained(&self, party: &Party<'_>, deadline: Deadline) -> Result<bool, Barred> {
        let ring = self.memory.ring();
        if !ring.is_closed() || !ring.is_empty() {
            return Ok(false);
        }
        if self.is_drained.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let is_drained = self.enter_as(Side::Producers, party, deadline)?.drained();
        self.is_drained.store(is_drained, Ordering::Relaxed);
        Ok(is_drained)
    }

    #[cold]
    fn tidy(&self, side: Side, party: &Party<'_>, turn: &Turn<'_, SharedPark>) {
        if let Some(id) = turn.heir_of() {
            self.memory.domain().note_death(id);
        }
        self.memory.tidy(side, party, turn);
    }

    /// Waits for the other side's counter to become another than `seen`.
    #[cold]
    pub(crate) fn wait(&self, seen: u32, deadline: Deadline, ticks: &mut u32) -> News {
        let ring = self.memory.ring();
        if deadline.has_passed() {
            return if self.seems_alone_to_who_tries(seen) { News::Disconnected } else { News::TimedOut };
        }
        let waiting = self.patience.begin();
        if waiting.look(deadline, || ring.counter(self.side.other()) != seen || ring.is_closed()) {
            return News::Maybe;
        }
        let watched = self.watch();
        if self.is_alone() {
            return News::Disconnected;
        }
        let wait = Wait(deadline);
        let tick = wait.tick(*ticks);
        let nap = wait.left().map_or(tick, |left| left.min(tick));
        let waited = ring.nap(self.side, seen, &SharedPark, &watched, Some(nap));
        *ticks = if waited == procession_raw::Waited::TimedOut { *ticks + 1 } else { 0 };
        News::Maybe
    }

    /// For who has slept and goes away: what it was woken for may still be there.
    pub(crate) fn pass_on(&self) {
        self.memory.ring().pass_on(self.side, &SharedPark);
    }

    /// Whether nobody is left on the other side: asked only if there is a reason, which is news of somebody's end, or that
    /// it was long ago.
    #[inline]
    pub(crate) fn seems_alone(&self, position: u32) -> bool {
        self.has_news(position) && self.is_alone_since(self.news())
    }

    /// The same for who found nothing to do and does not wait: asked now and then without a reason, because who only tries
    /// may never get to another message, or sleep.
    #[cold]
    pub(crate) fn seems_alone_to_who_tries(&self, position: u32) -> bool {
        let asks = self.asks_without_a_reason();
        self.seems_alone(position) || asks && self.is_alone()
    }

    /// Whether it is time for who only tries to look for the dead that nobody has spoken of. To be asked once a try.
    pub(crate) fn asks_without_a_reason(&self) -> bool {
        self.tries.fetch_add(1, Ordering::Relaxed) % TRIES == TRIES - 1
    }

    /// Whether there is a reason to ask whether anybody is left.
    #[inline(always)]
    pub(crate) fn has_news(&self, position: u32) -> bool {
        self.news() != self.heard.load(Ordering::Relaxed) || position % EVERY == EVERY - 1
    }

    #[cold]
    fn is_alone_since(&self, heard: u64) -> bool {
        let is_alone = self.is_alone();
        if !is_alone {
            self.heard.store(heard, Ordering::Relaxed);
        }
        is_alone
    }

    /// Whether nobody is left on the other side.
    pub(crate) fn is_alone(&self) -> bool {
        let Some(end) = &self.end else { return false };
        // It fails only without memory in the system; then the next look says it.
        poll::one(&end.0, Interest::HangUp, Deadline::now()).unwrap_or(false)
    }

    /// Whether nobody is left; if so, the next who tries asks too, and hears the same.
    pub(crate) fn is_alone_as_others_hear(&self) -> bool {
        let is_alone = self.is_alone();
        if is_alone {
            self.heard.store(!self.news(), Ordering::Relaxed);
        }
        is_alone
    }

    /// What was heard of ends: the bell and the obituary.
    #[inline(always)]
    pub(crate) fn news(&self) -> u64 {
        u64::from(self.memory.bell().watch().1) << 32 | u64::from(self.obituary().1)
    }

    /// The words that tell of ends, with what they hold now: to be asked before looking at what is waited for.
    pub(crate) fn watch(&self) -> [(&AtomicU32, u32); Ring::MAX_ALSO] {
        [self.memory.bell().watch(), self.obituary()]
    }

    #[inline(always)]
    pub(crate) fn obituary(&self) -> (&AtomicU32, u32) {
        let word = self.memory.obituary();
        (word, word.load(Ordering::Acquire))
    }
}

impl<M: Place> Drop for Link<M> {
    fn drop(&mut self) {
        // A descriptor that is on its way in a message keeps the side alive.
        if let Some(end) = self.end.take().and_then(Arc::into_inner) {
            drop(end);
            self.memory.bell().ring(&SharedPark);
        }
    }
}

impl Carried for End {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<M: Place> Serialize for Link<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let end = self.end.as_ref().expect("closed by drop only");
        let index = handles::put(Arc::clone(end) as _).map_err(ser::Error::custom)?;
        (index, AsSent(&self.memory)).serialize(serializer)
    }
}

impl<M: Place> Link<M> {
    /// Takes this side out of the message that is being decoded.
    pub(crate) fn receive<'de, D: Deserializer<'de>>(
        deserializer: D,
        side: Side,
    ) -> Result<Arc<Self>, D::Error> {
        let (index, Received::<M>(memory)) = Deserialize::deserialize(deserializer)?;
        let end = handles::take(index).map_err(de::Error::custom)?;
        socket::check(end.as_fd()).map_err(de::Error::custom)?;
        // So that its death is told, which those wait for who wait for this side's end. Without a place it is found out.
        let _ = memory.domain().join();
        Ok(Arc::new(Self::new(memory, side, end)))
    }
}

struct AsSent<'a, M>(&'a M);

impl<M: Place> Serialize for AsSent<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.send(serializer)
    }
}

struct Received<M>(M);

impl<'de, M: Place> Deserialize<'de> for Received<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        M::receive(deserializer).map(Self)
    }
}
