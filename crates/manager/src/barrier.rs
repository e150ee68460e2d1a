//! Barriers in a server.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use crate::error::CallError;
use crate::manager::Manager;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, BarrierAsk, Breach, Kind, Load, Recipe};

/// A place in a server where so many threads of any processes meet, made by [`Manager::barrier`]: each waits until all are
/// there, and then all go on. It can be used again at once.
///
/// What a [`Dict`](crate::Dict) says of sharing and of a dead server is true here.
///
/// **If a client dies** that waits, the barrier is broken: all others hear of it, and which process it was. One that dies
/// before it comes is not known to be missing: use a limit.
///
/// ```
/// use procession_manager::{Barrier, Manager};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let gate = manager.barrier(2)?;
/// let child = procession_process::spawn(|gate: Barrier| gate.wait().unwrap().is_leader(), gate.clone())?;
/// let leads = gate.wait()?.is_leader();
/// assert!(leads != child.join()?);
/// # Ok(()) }
/// ```
pub struct Barrier(Raw);

proxy!(Barrier, Kind::Barrier);

/// The parties have met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarrierWaitResult(u64);

impl BarrierWaitResult {
    /// Whether the caller is the one of those who met that leads, as who does for all what is done once.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.0 == 0
    }

    /// Which of those who met the caller is: a number below the parties for each; that of the leader is 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.0
    }
}

/// What broke a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Broken {
    /// A process died while it waited.
    Died {
        /// Its number in the server's namespace; 0 if it has none there.
        pid: u32,
    },
    /// The limit of this call passed.
    TimedOut,
    /// Somebody aborted or reset the barrier, or the limit of another's call passed.
    Aborted,
}

/// The parties have not met.
#[derive(Debug)]
#[non_exhaustive]
pub enum BarrierBroken {
    /// The barrier is broken.
    Broken(Broken),
    /// It was not asked, or has not answered.
    Call(CallError),
}

impl Manager {
    /// A new barrier for so many parties.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    ///
    /// # Panics
    /// `parties` is 0.
    pub fn barrier(&self, parties: u64) -> Result<Barrier, CallError> {
        assert!(parties > 0, "a barrier without parties");
        self.make(Recipe::Barrier(parties)).map(Barrier::from_raw)
    }
}

impl Barrier {
    /// Arrives, and waits until all parties have. Blocks.
    ///
    /// # Errors
    /// [`BarrierBroken`], for all who waited or for none.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(true, None)
    }

    /// Arrives and meets if all other parties have arrived; else `None`, and nothing is done.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn try_wait(&self) -> Result<Option<BarrierWaitResult>, BarrierBroken> {
        match self.wait_by(false, None) {
            Err(BarrierBroken::Call(CallError::WouldWait)) => Ok(None),
            met => met.map(Some),
        }
    }

    /// [`wait`](Self::wait) for at most `timeout`. If that is too short, the barrier is broken for all.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(true, Instant::now().checked_add(timeout))
    }

    /// [`wait`](Self::wait) until `instant`. If that is too soon, the barrier is broken for all.
    ///
    /// # Errors
    /// [`BarrierBroken`].
    pub fn wait_until(&self, instant: Instant) -> Result<BarrierWaitResult, BarrierBroken> {
        self.wait_by(true, Some(instant))
    }

    /// How many wait at this moment; 0 if it is broken.
    pub fn n_waiting(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Barrier(BarrierAsk::NWaiting))
    }

    /// How many parties meet.
    pub fn parties(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Barrier(BarrierAsk::Parties))
    }

    /// Whether it is broken at this moment: nobody waits until a [`reset`](Self::reset).
    #[doc(alias = "broken")]
    pub fn is_broken(&self) -> Result<bool, CallError> {
        self.0.yes(Ask::Barrier(BarrierAsk::IsBroken))
    }

    /// Breaks it: all who wait, and all who come until a [`reset`](Self::reset), get [`BarrierBroken`].
    pub fn abort(&self) -> Result<(), CallError> {
        self.0.done(Ask::Barrier(BarrierAsk::Abort), Load::default())
    }

    /// Makes it as new; who waits gets [`BarrierBroken`].
    pub fn reset(&self) -> Result<(), CallError> {
        self.0.done(Ask::Barrier(BarrierAsk::Reset), Load::default())
    }

    fn wait_by(&self, waits: bool, until: Option<Instant>) -> Result<BarrierWaitResult, BarrierBroken> {
        let ask = Ask::Barrier(BarrierAsk::Arrive(waits));
        // A limit that has passed breaks it as one does that passes.
        let until = until.map(|until| until.max(Instant::now() + LEAST));
        match self.0.ask_with(ask, Load::default(), until) {
            Ok(Answer::Number(index)) => Ok(BarrierWaitResult(index)),
            Ok(Answer::Unmet(Breach::Died(pid))) => Err(BarrierBroken::Broken(Broken::Died { pid })),
            Ok(Answer::Unmet(Breach::Aborted)) => Err(BarrierBroken::Broken(Broken::Aborted)),
            Ok(other) => Err(BarrierBroken::Call(unexpected(&other))),
            Err(CallError::TimedOut) => Err(BarrierBroken::Broken(Broken::TimedOut)),
            Err(error) => Err(BarrierBroken::Call(error)),
        }
    }
}

/// The least limit: long enough to be sent to a server that hears.
const LEAST: Duration = Duration::from_millis(1);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died { pid } => write!(f, "process {pid} died while it waited"),
            Self::TimedOut => f.write_str("the time was up"),
            Self::Aborted => f.write_str("it was aborted"),
        }
    }
}

impl fmt::Display for BarrierBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "waiting at a barrier of a manager: {why}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl Error for BarrierBroken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(_) => None,
            Self::Call(error) => error.source(),
        }
    }
}
