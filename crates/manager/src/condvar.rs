//! Condition variables in a server, for its mutexes.

use std::time::{Duration, Instant};

use procession_codec::Message;

use crate::error::CallError;
use crate::manager::Manager;
use crate::mutex::{LockFailed, MutexGuard};
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, CondvarAsk, Kind, Load, Recipe};

/// A condition variable in a server, made by [`Manager::condvar`]: who has the lock of a [`Mutex`](crate::Mutex) gives it
/// back and sleeps in one step, until somebody notifies it, and then has the lock again.
///
/// The mutex must be in the same server. As with that of the standard library, who wakes must look whether what it waits
/// for is true: [`wait_while`](Self::wait_while) does. What a [`Dict`](crate::Dict) says of sharing and of a dead server is
/// true here.
///
/// **If a client dies** that waits, nobody waits there any more; if it was woken and did not come so far as to have the lock,
/// another one is woken in its place. If it dies with the lock, the next one who gets that is told, also in here:
/// [`Failed::OwnerDied`](crate::Failed::OwnerDied).
///
/// ```
/// use procession_manager::{Condvar, Manager, Mutex};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let (line, go) = (manager.mutex(0)?, manager.condvar()?);
/// let child = procession_process::spawn(
///     |(line, go): (Mutex<u32>, Condvar)| *go.wait_while(line.lock().unwrap(), |n| *n == 0).unwrap(),
///     (line.clone(), go.clone()),
/// )?;
/// *line.lock()? = 7;
/// go.notify_all()?;
/// assert_eq!(child.join()?, 7);
/// # Ok(()) }
/// ```
#[doc(alias = "Condition")]
pub struct Condvar(Raw);

proxy!(Condvar, Kind::Condvar);

/// What a wait with a limit gives: the lock, and whether the time was up.
pub type TimedWait<T> = Result<(MutexGuard<T>, WaitTimeoutResult), LockFailed<T>>;

/// Whether a wait ended because the time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

impl Manager {
    /// A new condition variable.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn condvar(&self) -> Result<Condvar, CallError> {
        self.make(Recipe::Condvar).map(Condvar::from_raw)
    }
}

impl Condvar {
    /// Gives the lock back and waits until it is notified; then locks again. Blocks for both. It can wake for nothing.
    ///
    /// # Errors
    /// [`Failed::OwnerDied`](crate::Failed::OwnerDied), with the lock; or a [`CallError`], without it.
    pub fn wait<T: Message>(&self, guard: MutexGuard<T>) -> Result<MutexGuard<T>, LockFailed<T>> {
        self.wait_by(guard, None).map(|(guard, _)| guard)
    }

    /// [`wait`](Self::wait), again and again, while `condition` is true of the value.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_while<T: Message>(
        &self,
        mut guard: MutexGuard<T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<T>, LockFailed<T>> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait`](Self::wait) for at most `timeout`. To lock again may take longer.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<T: Message>(&self, guard: MutexGuard<T>, timeout: Duration) -> TimedWait<T> {
        self.wait_by(guard, Instant::now().checked_add(timeout))
    }

    /// [`wait`](Self::wait) until `instant` at most. To lock again may take longer.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_until<T: Message>(&self, guard: MutexGuard<T>, instant: Instant) -> TimedWait<T> {
        self.wait_by(guard, Some(instant))
    }

    /// [`wait_while`](Self::wait_while) for at most `timeout`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<T: Message>(
        &self,
        guard: MutexGuard<T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> TimedWait<T> {
        self.wait_while_by(guard, Instant::now().checked_add(timeout), condition)
    }

    /// [`wait_while`](Self::wait_while) until `instant` at most.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_until_while<T: Message>(
        &self,
        guard: MutexGuard<T>,
        instant: Instant,
        condition: impl FnMut(&mut T) -> bool,
    ) -> TimedWait<T> {
        self.wait_while_by(guard, Some(instant), condition)
    }

    /// Wakes the one who waits longest, if somebody does; how many those were: 0 or 1.
    ///
    /// # Errors
    /// The server is gone.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) -> Result<u64, CallError> {
        self.notify_n(1)
    }

    /// Wakes `n`, those who wait longest; how many those were.
    ///
    /// # Errors
    /// The server is gone.
    pub fn notify_n(&self, n: u64) -> Result<u64, CallError> {
        self.0.number(Ask::Condvar(CondvarAsk::Notify(n)))
    }

    /// Wakes all who wait; how many those were.
    ///
    /// # Errors
    /// The server is gone.
    pub fn notify_all(&self) -> Result<u64, CallError> {
        self.notify_n(u64::MAX)
    }

    fn wait_while_by<T: Message>(
        &self,
        mut guard: MutexGuard<T>,
        until: Option<Instant>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> TimedWait<T> {
        let mut is_up = WaitTimeoutResult(false);
        while condition(&mut guard) {
            if is_up.timed_out() {
                return Ok((guard, is_up));
            }
            (guard, is_up) = self.wait_by(guard, until)?;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }

    fn wait_by<T: Message>(&self, guard: MutexGuard<T>, until: Option<Instant>) -> TimedWait<T> {
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok((guard, WaitTimeoutResult(true)));
        }
        let ask = |mutex, lease, item| Ask::Condvar(CondvarAsk::Wait { mutex, lease, item });
        let (mutex, woken) = guard.0.aside(&self.0, ask, until);
        let number = match woken {
            Ok(Answer::Number(number)) => Some(number),
            Ok(other) => return Err(unexpected(&other).into()),
            Err(CallError::TimedOut) => None,
            Err(error) => return Err(error.into()),
        };
        let locked = MutexGuard::lock(&mutex, true, None);
        if let Some(number) = number {
            self.0.tell(Ask::Condvar(CondvarAsk::Heard(number)), Load::default());
        }
        locked.map(|guard| (guard, WaitTimeoutResult(number.is_none())))
    }
}
