//! Many jobs at once: as many as are there.
//!
//! Invariant: each has a lease of its own from its own turn, and is in the caller's hands before the next one is leased; so
//! whatever ends the call, or the process, ends none of them beside those that are done.

use std::time::{Duration, Instant};

use procession_sys::Deadline;

use super::job::Job;
use super::receiver::JobReceiver;
use crate::batch::MANY;
use crate::error::RecvError;
use crate::wire::Wire;

impl<T, W: Wire<T>> JobReceiver<T, W> {
    /// Receives at least one and at most `max` jobs, as many as are there, to the end of `into`; says how many.
    ///
    /// Blocks until there is one; 256 at once at most. Each is finished, or put back, by itself; what one worker takes
    /// others do not have meanwhile.
    ///
    /// # Errors
    /// [`RecvError`]. If a job does not decode, those before it are in `into` all the same.
    ///
    /// # If a peer dies
    /// As for [`recv`](Self::recv): if this process dies, also in here, all that it has and has not finished come back.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = procession_queue::jobs::<u32>(100)?;
    /// tx.send_many(0..10)?;
    /// let mut jobs = Vec::new();
    /// assert_eq!(rx.recv_many(&mut jobs, 8)?, 8);
    /// jobs.remove(0).put_back();
    /// drop(jobs);
    /// assert_eq!(tx.unfinished(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_many(&self, into: &mut Vec<Job<T>>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::NEVER)
    }

    /// [`recv_many`](Self::recv_many) without waiting: else [`RecvError::Empty`].
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn try_recv_many(&self, into: &mut Vec<Job<T>>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::now()).map_err(|error| match error {
            RecvError::TimedOut => RecvError::Empty,
            error => error,
        })
    }

    /// [`recv_many`](Self::recv_many) for at most `timeout`.
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<Job<T>>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::after(timeout))
    }

    /// [`recv_many`](Self::recv_many) until `instant`.
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn recv_many_until(
        &self,
        into: &mut Vec<Job<T>>,
        max: usize,
        instant: Instant,
    ) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::at(instant))
    }

    fn recv_many_by(
        &self,
        into: &mut Vec<Job<T>>,
        max: usize,
        deadline: Deadline,
    ) -> Result<usize, RecvError> {
        let max = max.min(MANY);
        let (mut n, mut limit) = (0, deadline);
        while n < max {
            // First the place: a job that cannot be kept would be finished.
            into.reserve(1);
            match self.recv_by(limit) {
                Ok(job) => into.push(job),
                Err(error @ RecvError::Decode(_)) => return Err(error),
                Err(error) if n == 0 => return Err(error),
                // The next call says it again.
                Err(_) => break,
            }
            (n, limit) = (n + 1, Deadline::now());
        }
        Ok(n)
    }
}
