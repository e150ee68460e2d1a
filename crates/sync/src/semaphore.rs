//! Permits that know who holds them.
//!
//! Invariants: as those of [`procession_raw::Semaphore`]; the number of permits, which a peer could store over, is between
//! 1 and [`Semaphore::MAX`] wherever it is used. Held by `tests/contract.rs` (`semaphore`), `tests/signal_steps.rs`,
//! `tests/signal_storm.rs` and `tests/garbage_signals.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_raw::{self as raw, AcquireError, Acquired, Both, EventCount, Id, NoSlot, NotHeld, Owners};
use procession_shm::domain::Participant;
use procession_shm::{Cell, Refusal, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::futex::SharedPark;

/// A number of permits, of which each is held by one thread of one process at a time.
///
/// A permit knows its holder, so the permits of a thread that died come back. For that, whoever gives a permit back must
/// be its holder: where one gives what another has taken, as with a counter of work to do, see
/// [`SignalSemaphore`](crate::SignalSemaphore).
///
/// There are never more permits than in the beginning, so Python's `BoundedSemaphore` is [this](BoundedSemaphore), too.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same permits, and so does a
/// fork. It can be a field of a struct that derives `Shared`, made from the number of permits. Takes some 4 KiB. It is
/// fair to nobody: who comes at the right moment overtakes those who sleep.
///
/// # If a peer dies
/// A holder, thread or process, whatever ended it: its permits go to the next takers, who are told by
/// [`Permit::left_by`]. Those who sleep learn of it at once if it held one of the first 31 permits, else at their tick.
/// Who dies while it waits changes nothing. A holder that is stopped, or slow, keeps its permits.
///
/// # Examples
/// ```
/// use procession_sync::Semaphore;
///
/// let gpus = Semaphore::new(2)?;
/// let permit = gpus.acquire()?;
/// assert_eq!(gpus.available(), 1);
/// drop(permit);
/// assert_eq!(gpus.available(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
#[shared(check = Self::check)]
pub struct Semaphore(Cell<Words, u32>);

type Words = Both<EventCount, [raw::Permit; Semaphore::MAX]>;

/// A semaphore that can not be released more often than it was acquired: every [`Semaphore`].
///
/// Python's `Semaphore` grows if it is released too often, and its `BoundedSemaphore` is the one that does not. Here the
/// one that grows is [`SignalSemaphore`](crate::SignalSemaphore).
pub type BoundedSemaphore = Semaphore;

impl Semaphore {
    /// The most permits.
    pub const MAX: usize = raw::Semaphore::MAX;

    /// So many permits, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    ///
    /// # Panics
    /// If `permits` is 0 or more than [`MAX`](Self::MAX): [`SignalSemaphore`](crate::SignalSemaphore) has other limits.
    pub fn new(permits: usize) -> Result<Self, ShmError> {
        Self::create(u32::try_from(permits).unwrap_or(u32::MAX))
    }

    /// How many permits there are, held or not.
    #[must_use]
    pub fn permits(&self) -> usize {
        (self.0.peek() as usize).clamp(1, Self::MAX)
    }

    /// How many permits could be taken at this moment: those that nobody alive holds.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> usize {
        self.view().available(&self.0.party())
    }

    /// Takes a permit; the drop of the answer gives it back.
    ///
    /// Blocks until one is free or one of its holders is proved dead. A thread that takes more permits than there are
    /// waits for itself.
    ///
    /// # Errors
    /// [`AcquireError::NoSlot`]: this thread cannot be told from others, and its death not be seen.
    pub fn acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_by(Deadline::NEVER)
    }

    /// Takes a permit if there is one. Does not block.
    ///
    /// Looks at one permit after the other, so that it may miss one that was given back behind it while another was taken
    /// before it.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`] if there is none; as [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Permit<'_>, AcquireError> {
        self.acquire_by(Deadline::now())
    }

    /// [`acquire`](Self::acquire) for at most `timeout`.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`]; as [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, AcquireError> {
        self.acquire_by(Deadline::after(timeout))
    }

    /// [`acquire`](Self::acquire) until `instant`.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`]; as [`acquire`](Self::acquire).
    pub fn acquire_until(&self, instant: Instant) -> Result<Permit<'_>, AcquireError> {
        self.acquire_by(Deadline::at(instant))
    }

    /// Gives back a permit that the calling thread holds, for programs that do not keep the [`Permit`]: see
    /// [`Permit::keep`]. Does not block.
    ///
    /// If the thread has a [`Permit`] too, it counts as one of its permits: as many are given back as there were, however.
    ///
    /// # Errors
    /// [`NotHeld`]: the calling thread holds none; nothing was done. Another thread's cannot be given back.
    ///
    /// # Examples
    /// ```
    /// use procession_sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2)?;
    /// semaphore.acquire()?.keep();
    /// semaphore.release()?;
    /// assert!(semaphore.release().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self) -> Result<(), NotHeld> {
        let me = self.0.party().me().map_err(|NoSlot| NotHeld)?;
        self.release_any(me)
    }

    /// Who holds the permits at this moment, and may be dead: for diagnosis. Those are left out that cannot be known.
    #[must_use]
    pub fn holders(&self) -> Vec<Participant> {
        self.view().holders().filter_map(|id| self.0.domain().participant(id)).collect()
    }

    fn release_any(&self, me: Id) -> Result<(), NotHeld> {
        let view = self.view();
        view.release(&SharedPark, view.held_by(me).ok_or(NotHeld)?, me)
    }

    fn acquire_by(&self, deadline: Deadline) -> Result<Permit<'_>, AcquireError> {
        let (view, party) = (self.view(), self.0.party());
        let party = if self.permits() == 1 { party } else { party.for_any() };
        let Acquired { me, permit, left_by } = view.acquire(&SharedPark, &party, &Wait(deadline))?;
        let dead = left_by.and_then(|id| {
            let domain = self.0.domain();
            let dead = domain.dead_owner(id);
            // Others may wait for something that this thread was going to do.
            domain.note_death(id);
            dead
        });
        Ok(Permit { of: self, me, permit, left_by: dead, epoch: epoch(), not_send: PhantomData })
    }

    fn view(&self) -> raw::Semaphore<'_> {
        let Both(queue, permits) = self.0.words();
        raw::Semaphore::new(queue, &permits[..self.permits()])
    }

    fn check(&self, is_new: bool) -> Result<(), ShmError> {
        let is_good = (1..=Self::MAX).contains(&(self.0.peek() as usize));
        assert!(is_good || !is_new, "a semaphore has 1 to {} permits", Self::MAX);
        if is_good { Ok(()) } else { Err(Refusal::Damaged.into()) }
    }
}

/// A permit of a [`Semaphore`], held by the thread that has this. Dropping it gives the permit back. Stays in its thread;
/// in a forked child it holds nothing.
#[must_use = "the permit is given back at once if it is not kept"]
pub struct Permit<'a> {
    of: &'a Semaphore,
    me: Id,
    permit: usize,
    left_by: Option<Participant>,
    /// A forked child has a copy of this, and holds nothing.
    epoch: Epoch,
    not_send: PhantomData<*const ()>,
}

impl Permit<'_> {
    /// Who died holding it, if somebody did: it was doing what the permit is for. Said to the first who takes it then.
    #[must_use]
    pub fn left_by(&self) -> Option<Participant> {
        self.left_by
    }

    /// Keeps the permit until the calling thread calls [`Semaphore::release`], or ends.
    #[doc(alias = "forget")]
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.epoch != epoch() {
            return;
        }
        if self.of.view().release(&SharedPark, self.permit, self.me).is_err() {
            // `Semaphore::release` gave this one back, and not the one that its caller meant.
            let _ = self.of.release_any(self.me);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (available, permits) = (self.available(), self.permits());
        f.debug_struct("Semaphore").field("available", &available).field("permits", &permits).finish()
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("left_by", &self.left_by).finish_non_exhaustive()
    }
}
