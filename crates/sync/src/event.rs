//! A flag that threads of all processes wait for.
//!
//! Invariants: as those of [`procession_raw::Event`]. Held by `tests/contract.rs` (`event`),
//! `tests/signal_steps.rs`, `tests/signal_storm.rs` and `tests/garbage_signals.rs`.

use std::fmt;
#[cfg(feature = "async")]
use std::future::{Future, poll_fn};
#[cfg(feature = "async")]
use std::task::Poll;
use std::time::{Duration, Instant};

use procession_raw as raw;
use procession_raw::Limit;
use procession_shm::{Cell, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;
#[cfg(feature = "async")]
use procession_sys::reactor::Thing;
use procession_sys::wait::{Waitable, Watch};

/// A flag to wait for, set by anybody in any process. Begins clear.
///
/// As Python's `multiprocessing.Event`, but that a waiter who was there when it was set is released also if somebody
/// clears it at once. What a thread did before it set the flag is visible to those who find it set.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same flag, and so does a
/// fork. It can be a field of a struct that derives `Shared`.
///
/// # If a peer dies
/// Who dies while it waits is nobody's concern: setting waits for nobody. Who dies while it sets has set the flag and
/// woken all, or done nothing. That a flag will never be set is not known here: wait with a limit, or for the process.
///
/// # Examples
/// ```
/// use procession_sync::Event;
///
/// let stop = Event::new()?;
/// let other = stop.clone(); // or received from another process
/// std::thread::scope(|s| {
///     s.spawn(|| other.wait());
///     stop.set();
/// });
/// assert!(other.is_set());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
#[derive(Clone, Shared)]
pub struct Event(Cell<raw::Event>);

impl Event {
    /// A flag that is clear, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(())
    }

    /// Whether the flag is set at this moment.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.words().is_set()
    }

    /// Sets the flag and wakes all who wait.
    ///
    /// Does not block, takes no lock, allocates nothing: it may be called in a signal handler.
    #[inline]
    pub fn set(&self) {
        self.0.words().set(&SharedPark);
    }

    /// Clears the flag. Who waits already and saw it set, however short, is not made to wait again. Does not block.
    #[inline]
    pub fn clear(&self) {
        self.0.words().clear();
    }

    /// Waits until the flag is set. Blocks; returns at once if it is set already.
    pub fn wait(&self) {
        // Without a limit it is never too late.
        let _ = self.wait_by(Deadline::NEVER);
    }

    /// Whether the flag is set: [`is_set`](Self::is_set), by the name of the forms of [`wait`](Self::wait).
    pub fn try_wait(&self) -> bool {
        self.is_set()
    }

    /// [`wait`](Self::wait) for at most `timeout`; says whether the flag was set during the call.
    #[must_use = "the flag may not have been set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_by(Deadline::after(timeout))
    }

    /// [`wait`](Self::wait) until `instant`; says whether the flag was set during the call.
    #[must_use = "the flag may not have been set"]
    pub fn wait_until(&self, instant: Instant) -> bool {
        self.wait_by(Deadline::at(instant))
    }

    /// [`wait`](Self::wait) as a future, for any runtime; limits are the runtime's. It also answers if the flag was set and
    /// cleared since this was called.
    #[cfg(feature = "async")]
    pub fn wait_async(&self) -> impl Future<Output = ()> + Send + '_ {
        let since = match self.0.words().watch(None, false) {
            raw::Watched::Set => None,
            raw::Watched::Clear { generation, .. } => Some(generation),
        };
        let mut watch = Thing::new();
        poll_fn(move |cx| {
            let Some(since) = since else { return Poll::Ready(()) };
            if matches!(self.0.words().watch(Some(since), false), raw::Watched::Set) {
                return Poll::Ready(());
            }
            if watch.arm(cx.waker(), || Since(self.clone(), since)).is_err() {
                // Without a thread that waits, the task looks again and again.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
    }

    fn look_since<'a>(&'a self, generation: Option<u32>, watch: &mut Watch<'a>) -> bool {
        match self.0.words().watch(generation, watch.lies_down()) {
            raw::Watched::Set => true,
            raw::Watched::Clear { generation, word, value } => {
                watch.note(generation);
                watch.word(word, value);
                watch.look_again(Wait(Deadline::NEVER).tick(watch.n_naps()));
                false
            }
        }
    }

    fn wait_by(&self, deadline: Deadline) -> bool {
        self.0.words().wait(&SharedPark, &Wait(deadline))
    }
}

/// Ready when the flag is set, or was set since the wait began. For `procession_pipe::wait`.
impl Waitable for Event {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.look_since(watch.noted(), watch)
    }
}

/// A flag since a generation.
#[cfg(feature = "async")]
struct Since(Event, u32);

#[cfg(feature = "async")]
impl Waitable for Since {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.0.look_since(Some(self.1), watch)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
