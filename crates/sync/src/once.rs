//! What is done once, by one thread of one process, while the others wait for it.
//!
//! Invariants: as those of [`procession_raw::Once`]; the value of a [`LazyShared`] is written by who runs its initialisation, and
//! read only when that is done. Held by `tests/contract.rs` (`once`),
//! `tests/signal_steps.rs`, `tests/signal_storm.rs` and `tests/garbage_signals.rs`.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use procession_raw::{self as raw, Begin, Id, LockError, Protected};
use procession_shm::domain::{Domain, Participant};
use procession_shm::{Cell, Plain, Shared, ShmError, Value, ValueError, Wait, plain};
use procession_sys::Deadline;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Serialize};

/// Something that is done once, by one thread of all processes.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same one, and so does a
/// fork. It can be a field of a struct that derives `Shared`.
///
/// # If a peer dies
/// Who runs it: it is not done, and the next one runs it from its beginning, at once. So it should be something that can
/// be begun again on what a first run left. The same holds if it panics.
///
/// # Examples
/// ```
/// use procession_sync::Once;
///
/// let filled = Once::new()?;
/// let other = filled.clone(); // or received from another process
/// assert!(filled.call_once(|| println!("filling the table"))?);
/// assert!(!other.call_once(|| unreachable!())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct Once(Cell<raw::Once>);

/// A value in shared memory that the first one to need it makes, in whatever process.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; sending it in an argument or a message shares the same value, and so does a
/// fork. It can be a field of a struct that derives `Shared`, made from `((), value)` with any value.
///
/// # If a peer dies
/// Who makes the value: the next one makes it, at once. The same holds if that panics.
///
/// # Examples
/// ```
/// use procession_sync::LazyShared;
///
/// let seed = LazyShared::<u64>::new()?;
/// assert_eq!(seed.get(), None);
/// assert_eq!(seed.get_or_init(|| 7)?, 7);
/// assert_eq!(seed.clone().get_or_init(|| 8)?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct LazyShared<T: Plain> {
    once: Once,
    value: Value<T>,
}

/// Why something that is done once is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnceError {
    /// The calling thread runs it already.
    Deadlock,
    /// The time was up.
    TimedOut {
        /// Who ran it then.
        runner: Option<Participant>,
    },
    /// `try_`: somebody else runs it.
    WouldBlock {
        /// Who.
        runner: Option<Participant>,
    },
    /// The calling thread has no place in the domain: 4096 threads have one, or this thread is ending.
    NoSlot,
    /// The words make no sense: somebody stored over them.
    Corrupt,
}

impl Once {
    /// Not done yet, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(())
    }

    /// Whether it is done at this moment. What its runner did is then visible.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.words().is_done()
    }

    /// Runs `f` if it is not done, or waits for who runs it; says whether this call ran it. Then it is done.
    ///
    /// Blocks while another runs it.
    ///
    /// # Errors
    /// [`OnceError`]; `f` was not run.
    ///
    /// # Panics
    /// With the panic of `f`; it is then not done.
    pub fn call_once(&self, f: impl FnOnce()) -> Result<bool, OnceError> {
        self.call_by(Deadline::NEVER, always(f))
    }

    /// [`call_once`](Self::call_once), but does not wait.
    ///
    /// # Errors
    /// [`OnceError::WouldBlock`]: another runs it; as [`call_once`](Self::call_once).
    pub fn try_call_once(&self, f: impl FnOnce()) -> Result<bool, OnceError> {
        self.call_by(Deadline::now(), always(f)).map_err(OnceError::at_once)
    }

    /// [`call_once`](Self::call_once), but waits for at most `timeout`. How long `f` takes is not limited.
    ///
    /// # Errors
    /// [`OnceError::TimedOut`]; as [`call_once`](Self::call_once).
    pub fn call_once_timeout(&self, timeout: Duration, f: impl FnOnce()) -> Result<bool, OnceError> {
        self.call_by(Deadline::after(timeout), always(f))
    }

    /// [`call_once`](Self::call_once), but waits until `instant` at most. How long `f` takes is not limited.
    ///
    /// # Errors
    /// [`OnceError::TimedOut`]; as [`call_once`](Self::call_once).
    pub fn call_once_until(&self, instant: Instant, f: impl FnOnce()) -> Result<bool, OnceError> {
        self.call_by(Deadline::at(instant), always(f))
    }

    /// Who runs it at this moment, and may be dead: for diagnosis.
    #[must_use]
    pub fn runner(&self) -> Option<Participant> {
        self.0.words().runner().and_then(|id| self.0.domain().participant(id))
    }

    fn call_by(
        &self,
        deadline: Deadline,
        f: impl FnOnce() -> Result<(), OnceError>,
    ) -> Result<bool, OnceError> {
        let (words, domain) = (self.0.words(), self.0.domain());
        let begin = words.begin(&SharedPark, &self.0.party(), &Wait(deadline));
        let held = match begin.map_err(|error| OnceError::of(error, domain))? {
            Begin::Done => return Ok(false),
            Begin::Run(held) => held,
        };
        if let Protected::OwnerDied(id) = held.state {
            // Others may wait for something that this thread was going to do.
            domain.note_death(id);
        }
        let mut run = Run { words, me: held.me, epoch: epoch(), is_done: false };
        f()?;
        run.is_done = true;
        Ok(true)
    }
}

/// What cannot fail.
fn always(f: impl FnOnce()) -> impl FnOnce() -> Result<(), OnceError> {
    || {
        f();
        Ok(())
    }
}

/// A run of something that is done once, until it is done or given up.
struct Run<'a> {
    words: &'a raw::Once,
    me: Id,
    /// A forked child has a copy of this, and runs nothing.
    epoch: Epoch,
    is_done: bool,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.epoch != epoch() {
            return;
        }
        // It fails only if somebody has stored over the word.
        let _ = match self.is_done {
            true => self.words.finish(&SharedPark, self.me),
            false => self.words.give_up(&SharedPark, self.me),
        };
    }
}

impl<T: Plain> LazyShared<T> {
    /// Not made yet, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(((), plain::zeroed()))
    }

    /// The value, if it is made.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<T> {
        // It never changes again.
        self.once.is_done().then(|| self.value.get())
    }

    /// The value; `make` makes it if nobody has.
    ///
    /// Blocks while another makes it.
    ///
    /// # Errors
    /// [`OnceError`]; `make` was not run, or its value could not be stored.
    ///
    /// # Panics
    /// With the panic of `make`; the value is then not made.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<T, OnceError> {
        self.get_by(Deadline::NEVER, make)
    }

    /// [`get_or_init`](Self::get_or_init), but does not wait.
    ///
    /// # Errors
    /// [`OnceError::WouldBlock`]: another makes it; as [`get_or_init`](Self::get_or_init).
    pub fn try_get_or_init(&self, make: impl FnOnce() -> T) -> Result<T, OnceError> {
        self.get_by(Deadline::now(), make).map_err(OnceError::at_once)
    }

    /// [`get_or_init`](Self::get_or_init), but waits for at most `timeout`. How long `make` takes is not limited.
    ///
    /// # Errors
    /// [`OnceError::TimedOut`]; as [`get_or_init`](Self::get_or_init).
    pub fn get_or_init_timeout(&self, timeout: Duration, make: impl FnOnce() -> T) -> Result<T, OnceError> {
        self.get_by(Deadline::after(timeout), make)
    }

    /// [`get_or_init`](Self::get_or_init), but waits until `instant` at most. How long `make` takes is not limited.
    ///
    /// # Errors
    /// [`OnceError::TimedOut`]; as [`get_or_init`](Self::get_or_init).
    pub fn get_or_init_until(&self, instant: Instant, make: impl FnOnce() -> T) -> Result<T, OnceError> {
        self.get_by(Deadline::at(instant), make)
    }

    fn get_by(&self, deadline: Deadline, make: impl FnOnce() -> T) -> Result<T, OnceError> {
        self.once.call_by(deadline, || self.store(make()))?;
        Ok(self.value.get())
    }

    /// Only who runs the initialisation comes here; who died doing so has left the lock, and any half of a value. So one
    /// try is enough: whoever else seems to hold the lock was stored there.
    fn store(&self, value: T) -> Result<(), OnceError> {
        self.value.try_set(value).map_err(|error| match error {
            ValueError::NoSlot => OnceError::NoSlot,
            // Nobody else has a reason to lock it.
            _ => OnceError::Corrupt,
        })
    }
}

impl OnceError {
    fn of(error: LockError, domain: &Domain) -> Self {
        match error {
            LockError::Deadlock => Self::Deadlock,
            LockError::TimedOut(id) => Self::TimedOut { runner: domain.participant(id) },
            LockError::NoSlot => Self::NoSlot,
            _ => Self::Corrupt,
        }
    }

    fn at_once(self) -> Self {
        match self {
            Self::TimedOut { runner } => Self::WouldBlock { runner },
            other => other,
        }
    }
}

impl fmt::Display for OnceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Deadlock => "this thread runs it already",
            Self::TimedOut { .. } => "the time was up",
            Self::WouldBlock { .. } => "somebody else runs it",
            Self::NoSlot => "this thread has no place in the domain",
            Self::Corrupt => "somebody stored over its words",
        };
        write!(f, "doing something once: {what}")?;
        match self {
            Self::TimedOut { runner: Some(runner) } | Self::WouldBlock { runner: Some(runner) } => {
                write!(f, ": {runner}")
            }
            _ => Ok(()),
        }
    }
}

impl Error for OnceError {}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for LazyShared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyShared").field("value", &self.get()).finish_non_exhaustive()
    }
}
