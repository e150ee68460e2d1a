//! A counter that anybody raises and anybody takes from.
//!
//! Invariants: as those of [`procession_raw::Tokens`]; with a maximum, the counter is never above it at any instant. Held
//! by `tests/contract.rs` (`signals`), `tests/signal_steps.rs`, `tests/signal_storm.rs` and `tests/garbage_signals.rs`.

use std::fmt;
use std::time::{Duration, Instant};

use procession_raw::{Tokens, TooMany};
use procession_shm::{Cell, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

/// A semaphore whose tokens belong to nobody: one thread releases what another acquires, as when it counts work to do.
///
/// As Python's `Semaphore`, and with [`bounded`](Self::bounded) as its `BoundedSemaphore`, but that too many releases are
/// refused without a race. To keep a number of users below a limit, [`Semaphore`](crate::Semaphore) is the better one: it
/// takes back what a dead user held.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same counter, and so does a
/// fork. It can be a field of a struct that derives `Shared`, made from the initial count and the maximum.
///
/// # If a peer dies
/// A token that it had taken is gone: nobody can know whether it was to come back. Who is killed while it releases has
/// given all or nothing; if it gave and could wake nobody, those who wait see it at their tick. Who dies while it waits
/// changes nothing.
///
/// # Examples
/// ```
/// use procession_sync::SignalSemaphore;
///
/// let work = SignalSemaphore::new(0)?;
/// std::thread::scope(|s| {
///     s.spawn(|| work.release(2));
///     work.acquire();
///     work.acquire();
/// });
/// assert!(!work.try_acquire());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone, Shared)]
#[shared(check = Self::check)]
pub struct SignalSemaphore(Cell<Tokens, [u32; 2]>);

impl SignalSemaphore {
    /// The most tokens: 2³⁰.
    pub const MAX: u32 = Tokens::MAX;

    /// So many tokens, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    ///
    /// # Panics
    /// If they are more than [`MAX`](Self::MAX).
    pub fn new(tokens: u32) -> Result<Self, ShmError> {
        Self::bounded(tokens, Self::MAX)
    }

    /// So many tokens, and never more than `max`.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    ///
    /// # Panics
    /// If `tokens` is more than `max`, or `max` more than [`MAX`](Self::MAX).
    pub fn bounded(tokens: u32, max: u32) -> Result<Self, ShmError> {
        Self::create([tokens, max])
    }

    /// How many tokens there are at this moment.
    #[doc(alias = "get_value")]
    #[must_use]
    pub fn available(&self) -> u32 {
        self.0.words().count()
    }

    /// The most tokens that there may be.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.0.peek()[1].min(Self::MAX)
    }

    /// Takes a token. Blocks until there is one.
    pub fn acquire(&self) {
        // Without a limit it is never too late.
        let _ = self.acquire_by(Deadline::NEVER);
    }

    /// Takes a token if there is one; says whether. Does not block.
    #[must_use = "there may have been no token"]
    pub fn try_acquire(&self) -> bool {
        self.acquire_by(Deadline::now())
    }

    /// [`acquire`](Self::acquire) for at most `timeout`; says whether a token was taken.
    #[must_use = "there may have been no token"]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.acquire_by(Deadline::after(timeout))
    }

    /// [`acquire`](Self::acquire) until `instant`; says whether a token was taken.
    #[must_use = "there may have been no token"]
    pub fn acquire_until(&self, instant: Instant) -> bool {
        self.acquire_by(Deadline::at(instant))
    }

    /// Adds `n` tokens, all at once, and wakes as many who wait. Anybody may. Does not block.
    ///
    /// # Errors
    /// [`TooMany`]: there would be more than the maximum; none was added.
    pub fn release(&self, n: u32) -> Result<(), TooMany> {
        match self.max() {
            // In one step with the wake.
            Self::MAX if n <= Tokens::MAX_AT_ONCE => self.0.words().release(&SharedPark, n),
            max => self.0.words().release_many_up_to(&SharedPark, n, max),
        }
    }

    fn acquire_by(&self, deadline: Deadline) -> bool {
        self.0.words().acquire(&SharedPark, &Wait(deadline))
    }

    /// Puts the first tokens in. A peer that stores over the maximum makes it a wrong one, and nothing worse.
    fn check(&self, is_new: bool) -> Result<(), ShmError> {
        if is_new {
            let [tokens, max] = self.0.peek();
            assert!(tokens <= max && max <= Self::MAX, "a semaphore with {tokens} of at most {max} tokens");
            self.0
                .words()
                .release_many_up_to(&SharedPark, tokens, max)
                .expect("there is room, as was just seen");
        }
        Ok(())
    }
}

impl fmt::Debug for SignalSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalSemaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}
