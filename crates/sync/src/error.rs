//! Why a lock was not simply taken, with the guard where it was taken after all; and what callers do about it.
//!
//! Invariant: whoever gets an error with a guard in it holds the lock, and gives it back by dropping the error. Held by
//! `tests/contract.rs` (`death`, `poison`).

use std::error::Error;
use std::fmt;

use procession_raw as raw;
use procession_shm::domain::Domain;
pub use procession_shm::domain::Participant;
use serde::{Deserialize, Serialize};

/// A lock was not taken, or was, and what it protects may not be as it should be. `G` is its guard.
///
/// Matched on where the cases differ; else [`OrRepair`] has the two usual answers, and [`LockError`] is the same without
/// the guard: `?` makes one of it, also in a function that answers `Box<dyn Error>`.
///
/// # Examples
/// ```
/// use procession_sync::{Failed, Mutex};
///
/// let mutex = Mutex::new(7_u32)?;
/// let guard = mutex.lock()?;
/// match mutex.try_lock() {
///     Err(Failed::Deadlock) => {} // this very thread holds it
///     other => panic!("{other:?}"),
/// }
/// # drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
pub enum Failed<G> {
    /// The lock is ours, and its holder before us died with it: what it protects is as that left it.
    OwnerDied(OwnerDied<G>),
    /// The lock is ours. Some holder panicked, or died and was not followed by anybody who repaired.
    Poisoned(Poisoned<G>),
    /// The calling thread holds it already.
    Deadlock,
    /// The time was up.
    TimedOut {
        /// Who held it then.
        holder: Option<Participant>,
    },
    /// `try_lock`: somebody else holds it.
    WouldBlock {
        /// Who.
        holder: Option<Participant>,
    },
    /// The calling thread has no place in the lock's domain: 4096 threads have one, or this thread is ending.
    NoSlot,
    /// The words of the lock make no sense: somebody stored over them. Nothing was taken.
    Corrupt,
}

/// [`Failed`] without the guard: `Clone`, comparable, and a value that a task can return.
///
/// What it was made from gave the lock back, so an owner's death stays announced to the next caller, as poison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockError {
    /// The holder before us died, and nobody has repaired what it left.
    OwnerDied(Dead),
    /// Some holder panicked, or died and was not followed by anybody who repaired.
    Poisoned,
    /// The calling thread holds it already.
    Deadlock,
    /// The time was up.
    TimedOut {
        /// Who held it then.
        holder: Option<Participant>,
    },
    /// `try_lock`: somebody else holds it.
    WouldBlock {
        /// Who.
        holder: Option<Participant>,
    },
    /// The calling thread has no place in the lock's domain.
    NoSlot,
    /// The words of the lock make no sense: somebody stored over them.
    Corrupt,
}

/// A lock that was taken from a dead holder. Dropping it gives the lock back and repairs nothing.
pub struct OwnerDied<G> {
    guard: G,
    dead: Dead,
}

/// A lock that was taken with its poison. Dropping it gives the lock back and repairs nothing.
pub struct Poisoned<G> {
    guard: G,
}

/// Who died with a lock; nobody, where a panic poisoned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead(Option<Participant>);

impl Dead {
    /// The number of its process as it saw it itself, in its own pid namespace; 0 if [`participant`](Self::participant)
    /// is `None`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.map_or(0, |participant| participant.pid)
    }

    /// Which thread it was. `None` if nobody died but somebody panicked; if it died earlier, and an earlier holder of the
    /// lock did not repair; or if it cannot be known, because its place in the domain was given to somebody else.
    #[must_use]
    pub fn participant(&self) -> Option<Participant> {
        self.0
    }
}

impl<G> OwnerDied<G> {
    /// Who died.
    pub fn dead(&self) -> Dead {
        self.dead
    }

    /// The guard. Later holders are told [`Failed::Poisoned`] until somebody calls its `mark_consistent`.
    pub fn into_inner(self) -> G {
        self.guard
    }
}

impl<G: Guard> OwnerDied<G> {
    /// Repairs what the lock protects, and says that it is as it should be.
    ///
    /// # Panics
    /// With the panic of `repair`; the lock is then given back as poisoned as it was.
    pub fn repair(mut self, repair: impl FnOnce(&mut G::Data, &Dead)) -> G {
        repair(self.guard.data(), &self.dead);
        self.guard.mark_consistent();
        self.guard
    }
}

impl<G> Poisoned<G> {
    /// The guard. Later holders are told the same until somebody calls its `mark_consistent`.
    pub fn into_inner(self) -> G {
        self.guard
    }
}

impl<G: Guard> Poisoned<G> {
    /// As [`OwnerDied::repair`].
    pub fn repair(mut self, repair: impl FnOnce(&mut G::Data)) -> G {
        repair(self.guard.data());
        self.guard.mark_consistent();
        self.guard
    }
}

/// What is held: the guards of [`Mutex`](crate::Mutex), [`Lock`](crate::Lock) and [`RLock`](crate::RLock). Sealed.
pub trait Guard: Sized + sealed::Sealed {
    /// What the lock protects.
    type Data;

    /// What the lock protects.
    fn data(&mut self) -> &mut Self::Data;

    /// Says that what the lock protects is as it should be: later holders are told nothing.
    fn mark_consistent(&self);
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// The usual answers to a lock whose holder died or panicked, on what `lock` answers.
///
/// # Examples
/// ```
/// use procession_sync::{Mutex, OrRepair};
///
/// let balance = Mutex::new(0_i64)?;
/// *balance.lock().or_repair(|balance, dead| {
///     eprintln!("process {} died with it", dead.pid());
///     *balance = 0;
/// })? += 100;
/// assert_eq!(*balance.lock().or_carry_on()?, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait OrRepair: sealed::Sealed {
    /// The guard.
    type Guard: Guard;

    /// Repairs what the lock protects if a holder died or panicked, and says that it is as it should be.
    ///
    /// # Errors
    /// All others: the lock is not held.
    ///
    /// # Panics
    /// With the panic of `repair`; the lock is then given back as poisoned as it was.
    fn or_repair(
        self,
        repair: impl FnOnce(&mut <Self::Guard as Guard>::Data, &Dead),
    ) -> Result<Self::Guard, LockError>;

    /// Goes on with what is there if a holder died or panicked, and says that it is as it should be.
    ///
    /// # Errors
    /// All others: the lock is not held.
    fn or_carry_on(self) -> Result<Self::Guard, LockError>;
}

impl<G: Guard> sealed::Sealed for Result<G, Failed<G>> {}

impl<G: Guard> OrRepair for Result<G, Failed<G>> {
    type Guard = G;

    fn or_repair(self, repair: impl FnOnce(&mut G::Data, &Dead)) -> Result<G, LockError> {
        match self {
            Ok(guard) => Ok(guard),
            Err(Failed::OwnerDied(died)) => Ok(died.repair(repair)),
            Err(Failed::Poisoned(poisoned)) => Ok(poisoned.repair(|data| repair(data, &Dead(None)))),
            Err(other) => Err(other.into()),
        }
    }

    fn or_carry_on(self) -> Result<G, LockError> {
        self.or_repair(|_, _| ())
    }
}

impl<G> Failed<G> {
    /// The guard, or what stands in its way.
    pub(crate) fn check(guard: G, state: raw::Protected, domain: &Domain) -> Result<G, Self> {
        match state {
            raw::Protected::Consistent => Ok(guard),
            raw::Protected::OwnerDied(id) => {
                let dead = Dead(domain.dead_owner(id));
                // Others may wait for something that this thread was going to do.
                domain.note_death(id);
                Err(Self::OwnerDied(OwnerDied { guard, dead }))
            }
            raw::Protected::Poisoned => Err(Self::Poisoned(Poisoned { guard })),
        }
    }

    /// The same failure of something with another guard.
    pub(crate) fn map<H>(self, wrap: impl FnOnce(G) -> H) -> Failed<H> {
        match self {
            Self::OwnerDied(OwnerDied { guard, dead }) => {
                Failed::OwnerDied(OwnerDied { guard: wrap(guard), dead })
            }
            Self::Poisoned(Poisoned { guard }) => Failed::Poisoned(Poisoned { guard: wrap(guard) }),
            Self::Deadlock => Failed::Deadlock,
            Self::TimedOut { holder } => Failed::TimedOut { holder },
            Self::WouldBlock { holder } => Failed::WouldBlock { holder },
            Self::NoSlot => Failed::NoSlot,
            Self::Corrupt => Failed::Corrupt,
        }
    }
}

impl<G> Failed<G> {
    /// Why the lock was not taken at all.
    pub(crate) fn of(error: raw::LockError, domain: &Domain) -> Self {
        match error {
            raw::LockError::Deadlock => Self::Deadlock,
            raw::LockError::TimedOut(id) => Self::TimedOut { holder: domain.participant(id) },
            raw::LockError::NoSlot => Self::NoSlot,
            _ => Self::Corrupt,
        }
    }

    /// For calls that do not wait: nobody's time was up.
    pub(crate) fn at_once(self) -> Self {
        match self {
            Self::TimedOut { holder } => Self::WouldBlock { holder },
            other => other,
        }
    }

    fn without_guard(&self) -> LockError {
        match self {
            Self::OwnerDied(died) => LockError::OwnerDied(died.dead),
            Self::Poisoned(_) => LockError::Poisoned,
            Self::Deadlock => LockError::Deadlock,
            Self::TimedOut { holder } => LockError::TimedOut { holder: *holder },
            Self::WouldBlock { holder } => LockError::WouldBlock { holder: *holder },
            Self::NoSlot => LockError::NoSlot,
            Self::Corrupt => LockError::Corrupt,
        }
    }
}

impl<G> From<Failed<G>> for LockError {
    fn from(failed: Failed<G>) -> Self {
        failed.without_guard()
    }
}

// Not through `Error`, which for a value with a guard would be no `Box<dyn Error + 'static>`.
impl<G> From<Failed<G>> for Box<dyn Error> {
    fn from(failed: Failed<G>) -> Self {
        LockError::from(failed).into()
    }
}

impl<G> From<Failed<G>> for Box<dyn Error + Send + Sync> {
    fn from(failed: Failed<G>) -> Self {
        LockError::from(failed).into()
    }
}

impl<G> fmt::Debug for Failed<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.without_guard().fmt(f)
    }
}

impl<G> fmt::Display for Failed<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.without_guard(), f)
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied").field("dead", &self.dead).finish_non_exhaustive()
    }
}

impl<G> fmt::Debug for Poisoned<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poisoned").finish_non_exhaustive()
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(participant) => participant.fmt(f),
            None => f.write_str("a thread that is not known any more"),
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied(dead) => write!(f, "taking a lock: its holder died: {dead}"),
            Self::Poisoned => f.write_str("taking a lock: a holder panicked or died, and nobody repaired"),
            Self::Deadlock => f.write_str("taking a lock: this thread holds it already"),
            Self::TimedOut { holder: Some(holder) } => {
                write!(f, "taking a lock: the time was up, and {holder} holds it")
            }
            Self::TimedOut { holder: None } => f.write_str("taking a lock: the time was up"),
            Self::WouldBlock { holder: Some(holder) } => write!(f, "taking a lock: {holder} holds it"),
            Self::WouldBlock { holder: None } => f.write_str("taking a lock: somebody holds it"),
            Self::NoSlot => f.write_str("taking a lock: this thread has no place in the domain"),
            Self::Corrupt => f.write_str("taking a lock: somebody stored over its words"),
        }
    }
}

impl Error for LockError {}
