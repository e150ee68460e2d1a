//! Waiting for a change of what a lock protects.
//!
//! Invariants: no notification is missed between giving the lock back and sleeping; a notification waits for nobody, and
//! a dead waiter costs nobody anything; what ends a wait, the lock is taken again. Held by `tests/contract.rs`
//! (`condvar`) and `tests/lock_steps.rs`.

use std::fmt;
use std::time::{Duration, Instant};

use procession_raw as raw;
use procession_shm::{Cell, Plain, Shared, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use crate::error::{Failed, Guard, sealed};
use crate::{LockGuard, MutexGuard, RLockGuard};

/// Waiting for a change of what a lock protects: threads of any processes wait, others notify.
///
/// As the one of the standard library, for the guards of [`Mutex`](crate::Mutex), [`Lock`](crate::Lock) and
/// [`RLock`](crate::RLock), of which all levels are given back. Python's `Condition` is one of these beside a lock.
///
/// A wait may end without a notification, and always does some time after a thread in the domain died, because that
/// might have been the one that was going to notify: use the `_while` forms, or a loop. All waiters should use one lock;
/// with several there is no order between a change and the wait for it, and a notification may be missed.
///
/// *Shared* handle, as [`Mutex`](crate::Mutex).
///
/// # If a peer dies
/// A holder of the lock: the wait ends with [`Failed::OwnerDied`] when it takes the lock again. A waiter: nothing; if a
/// notification was on its way to it alone, others see that at their tick (50 ms, up to a second). Who was going to notify:
/// the waiters look again once the death is told, if it is, and the `_timeout` forms are for who cannot rely on that.
///
/// # Examples
/// ```
/// use procession_sync::{Condvar, Mutex};
///
/// let (ready, changed) = (Mutex::new(0_u32)?, Condvar::new()?);
/// std::thread::scope(|s| {
///     s.spawn(|| {
///         *ready.lock().unwrap() += 1;
///         changed.notify_one();
///     });
///     let ready = changed.wait_while(ready.lock()?, |ready| *ready == 0)?;
///     assert_eq!(*ready, 1);
///     Ok::<(), procession_sync::LockError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Shared)]
pub struct Condvar(Cell<raw::Condvar>);

/// Whether a wait with a limit ended because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

/// What a wait with a limit answers.
pub type TimedWait<G> = Result<(G, WaitTimeoutResult), Failed<(G, WaitTimeoutResult)>>;

/// A guard that a [`Condvar`] can wait with. Sealed.
pub trait WaitGuard: Guard {
    /// Gives the lock back, does something, and takes it again.
    #[doc(hidden)]
    fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>);
}

impl Condvar {
    /// One that nobody waits for, in memory of its own.
    ///
    /// # Errors
    /// Memory or descriptors have run out.
    pub fn new() -> Result<Self, ShmError> {
        Self::create(())
    }

    /// Gives the lock back, waits for a notification, and takes the lock again.
    ///
    /// Blocks. May end without a notification.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, Failed<G>> {
        self.wait_by(guard, Deadline::NEVER).1
    }

    /// Waits as long as `condition` holds.
    ///
    /// Blocks. If it ends with an error that has a guard, the condition may hold.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    ///
    /// # Panics
    /// With the panic of `condition`, which poisons the lock.
    pub fn wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> Result<G, Failed<G>> {
        while condition(guard.data()) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`wait`](Self::wait) for at most `timeout`; the lock is then taken again however long that takes.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    pub fn wait_timeout<G: WaitGuard>(&self, guard: G, timeout: Duration) -> TimedWait<G> {
        self.timed_wait(guard, Deadline::after(timeout))
    }

    /// [`wait_timeout`](Self::wait_timeout) until `instant`.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    pub fn wait_until<G: WaitGuard>(&self, guard: G, instant: Instant) -> TimedWait<G> {
        self.timed_wait(guard, Deadline::at(instant))
    }

    /// [`wait_while`](Self::wait_while) for at most `timeout`. The time was up only if the condition still holds.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    ///
    /// # Panics
    /// As [`wait_while`](Self::wait_while).
    #[doc(alias = "wait_for")]
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
        condition: impl FnMut(&mut G::Data) -> bool,
    ) -> TimedWait<G> {
        self.timed_wait_while(guard, Deadline::after(timeout), condition)
    }

    /// [`wait_timeout_while`](Self::wait_timeout_while) until `instant`.
    ///
    /// # Errors
    /// As the `lock` that the guard came from.
    ///
    /// # Panics
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_until_while<G: WaitGuard>(
        &self,
        guard: G,
        instant: Instant,
        condition: impl FnMut(&mut G::Data) -> bool,
    ) -> TimedWait<G> {
        self.timed_wait_while(guard, Deadline::at(instant), condition)
    }

    /// Ends the wait of one thread that waits now, if there is one; seldom of a few.
    ///
    /// Does not block. To be called after the change, with or without the lock.
    #[doc(alias = "notify")]
    pub fn notify_one(&self) {
        self.0.words().notify_one(&SharedPark);
    }

    /// Ends the wait of `n` threads that wait now, or of all if there are fewer; seldom of a few more.
    ///
    /// Does not block. To be called after the change, with or without the lock.
    #[doc(alias = "notify")]
    pub fn notify_n(&self, n: u32) {
        self.0.words().notify(&SharedPark, n);
    }

    /// Ends the wait of all threads that wait now.
    ///
    /// Does not block. To be called after the change, with or without the lock.
    pub fn notify_all(&self) {
        self.0.words().notify_all(&SharedPark);
    }

    /// Whether the time was up, and the lock.
    fn wait_by<G: WaitGuard>(&self, guard: G, deadline: Deadline) -> (bool, Result<G, Failed<G>>) {
        let words = self.0.words();
        let obituary = self.0.party().obituary();
        let enrolled = words.enroll(obituary);
        let (signal, taken) =
            guard.unlocked(|| words.sleep(enrolled, obituary, &SharedPark, &Wait(deadline)));
        (signal == raw::Signal::TimedOut, taken)
    }

    fn timed_wait<G: WaitGuard>(&self, guard: G, deadline: Deadline) -> TimedWait<G> {
        let (timed_out, taken) = self.wait_by(guard, deadline);
        let with = |guard| (guard, WaitTimeoutResult(timed_out));
        taken.map(with).map_err(|failed| failed.map(with))
    }

    fn timed_wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        deadline: Deadline,
        mut condition: impl FnMut(&mut G::Data) -> bool,
    ) -> TimedWait<G> {
        loop {
            if !condition(guard.data()) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if deadline.has_passed() {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            (guard, _) = self.timed_wait(guard, deadline)?;
        }
    }
}

impl<T: Plain> WaitGuard for MutexGuard<'_, T> {
    fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>) {
        self.unlocked(what)
    }
}

impl WaitGuard for LockGuard<'_> {
    fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>) {
        self.unlocked(what)
    }
}

impl WaitGuard for RLockGuard<'_> {
    fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<Self, Failed<Self>>) {
        self.unlocked(what)
    }
}

impl<G: Guard> sealed::Sealed for (G, WaitTimeoutResult) {}

/// So that [`OrRepair`](crate::OrRepair) answers waits with a limit, too.
impl<G: Guard> Guard for (G, WaitTimeoutResult) {
    type Data = G::Data;

    fn data(&mut self) -> &mut G::Data {
        self.0.data()
    }

    fn mark_consistent(&self) {
        self.0.mark_consistent();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
