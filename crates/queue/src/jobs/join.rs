//! Waiting until all jobs are done, and the letters of those that will not be.
//!
//! Invariants: what is unfinished follows from the jobs' own words, so no kill can make it wrong; who sleeps here sleeps
//! until one certain job ends, which wakes it in the same step, and looks again at every tick and at every death.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use procession_codec::DecodeError;
use procession_raw::{Owners, Side, Stage};
use procession_shm::{Party, ShmError, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use super::memory::Memory;
use super::parcel;
use super::seats::Worker;
use super::sender::JobSender;
use super::wait;
use crate::link::{Link, Place};
use crate::wire::Wire;

/// Not all jobs are done.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobsError {
    /// `try_join`: so many jobs are queued or with workers.
    Unfinished {
        /// How many.
        n: usize,
    },
    /// The time was up.
    TimedOut {
        /// How many jobs are queued or with workers.
        unfinished: usize,
    },
    /// All others are done, but these jobs were given up: each was delivered as often as it may be, or its worker died and
    /// that was to be the end of it, or it did not decode. [`JobSender::dead_letters`] has their values.
    DeadLetters(Vec<GivenUp>),
    /// No receiver is left, in whatever process, and not all is done.
    Disconnected {
        /// How many jobs are queued or were with the last workers.
        unfinished: usize,
        /// Those that were given up.
        given_up: Vec<GivenUp>,
    },
    /// Of [`join_async`](JobSender::join_async) only: memory or threads have run out.
    Memory(ShmError),
}

/// What became of a job that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// How often it was delivered.
    pub deliveries: u32,
    /// The process that had it last, if that is known. How that one ended is known to its parent.
    pub worker: Option<Worker>,
}

/// A job that was given up: see [`JobSender::dead_letters`].
#[derive(Debug)]
pub struct DeadLetter<T> {
    given_up: GivenUp,
    value: Result<T, DecodeError>,
}

impl<T> DeadLetter<T> {
    /// How often it was delivered.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.given_up.deliveries
    }

    /// The process that had it last, if that is known.
    #[must_use]
    pub fn worker(&self) -> Option<Worker> {
        self.given_up.worker
    }

    /// The job.
    ///
    /// # Errors
    /// What was sent is no value of this type.
    pub fn into_value(self) -> Result<T, DecodeError> {
        self.value
    }
}

impl<T, W> JobSender<T, W> {
    /// Waits until all jobs are done: those of all senders, also those that are sent meanwhile.
    ///
    /// Blocks. That all is done was so at one moment of the call.
    ///
    /// # Errors
    /// [`JobsError`].
    ///
    /// # If a peer dies
    /// The jobs of a worker that died are done by another one, and waited for; when no worker is left, or a job was given
    /// up, this is an error. Dead letters stay until they are [taken](Self::dead_letters), so the next call says the same.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use procession_queue::JobsError;
    ///
    /// let (tx, rx) = procession_queue::jobs::<u32>(10)?;
    /// tx.send(1)?;
    /// assert!(matches!(tx.try_join(), Err(JobsError::Unfinished { n: 1 })));
    /// let job = rx.recv()?;
    /// assert!(matches!(tx.join_timeout(Duration::ZERO), Err(JobsError::TimedOut { unfinished: 1 })));
    /// drop(job);
    /// tx.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(&self) -> Result<(), JobsError> {
        self.link.join_by(Deadline::NEVER)
    }

    /// [`join`](Self::join) without waiting: else [`JobsError::Unfinished`].
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn try_join(&self) -> Result<(), JobsError> {
        self.link.join_by(Deadline::now()).map_err(|error| match error {
            JobsError::TimedOut { unfinished: n } => JobsError::Unfinished { n },
            error => error,
        })
    }

    /// [`join`](Self::join) for at most `timeout`.
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JobsError> {
        self.link.join_by(Deadline::after(timeout))
    }

    /// [`join`](Self::join) until `instant`.
    ///
    /// # Errors
    /// [`JobsError`].
    pub fn join_until(&self, instant: Instant) -> Result<(), JobsError> {
        self.link.join_by(Deadline::at(instant))
    }
}

impl<T, W: Wire<T>> JobSender<T, W> {
    /// Takes the jobs that were given up, in no order. They are forgotten then. Does not block; in a queue that has had
    /// handles for some 50 µs, while others are in the middle: what is not to be had then stays where it is.
    ///
    /// # If a peer dies
    /// Who is killed in here has taken a letter, or leaves it to the next one.
    pub fn dead_letters(&self) -> Vec<DeadLetter<T>> {
        let memory = self.link.memory();
        let mut letters = Vec::new();
        let Ok(me) = self.link.party().me() else { return letters };
        for (cell, job) in memory.jobs() {
            let now @ Stage::Buried(deliveries) = job.current() else { continue };
            let mut bytes = Vec::new();
            let Some(luggage) = self.link.take_letter(cell, job, now, me, &mut bytes) else { continue };
            let given_up = GivenUp { deliveries, worker: memory.last_worker(cell) };
            let read = memory.len_of(cell).is_some_and(|len| memory.read(cell, len, &mut bytes).is_ok());
            if !read {
                job.change(Stage::Owned(me), now);
                continue;
            }
            job.finish(&SharedPark, Stage::Owned(me));
            memory.freed(cell);
            let packet = luggage.map(|(number, packet)| {
                self.link.retire(number);
                packet
            });
            letters.push(DeadLetter { given_up, value: parcel::decode_all::<T, W>(&mut bytes, packet) });
        }
        letters
    }
}

impl Link<Memory> {
    fn join_by(&self, deadline: Deadline) -> Result<(), JobsError> {
        let memory = self.memory();
        let party = self.party();
        let (mut ticks, mut is_alone) = (0, false);
        loop {
            let watched = self.watch();
            if memory.n_unfinished() > 0 {
                self.attend(&party);
            }
            let unfinished = memory.n_unfinished();
            if unfinished == 0 {
                let given_up = memory.given_up();
                return if given_up.is_empty() { Ok(()) } else { Err(JobsError::DeadLetters(given_up)) };
            }
            if is_alone {
                return Err(JobsError::Disconnected { unfinished, given_up: memory.given_up() });
            }
            // Then one look more: the last of them may have finished just before.
            is_alone = self.is_alone();
            if is_alone {
                continue;
            }
            if deadline.has_passed() {
                return Err(JobsError::TimedOut { unfinished });
            }
            if let Some(last) = memory.last_unfinished() {
                wait::rest(last, watched, deadline, &mut ticks);
            }
        }
    }

    /// Puts in order what the dead left at either side, unless somebody is in the middle there.
    fn attend(&self, party: &Party<'_>) {
        let now = Wait(Deadline::now());
        let enter = |side| self.memory().ring().enter(side, &SharedPark, party, &now).ok();
        if let Some(turn) = enter(Side::Producers)
            && turn.heir_of().is_some()
        {
            self.memory().tidy(Side::Producers, party, &turn);
        }
        if let Some(_turn) = enter(Side::Consumers) {
            self.memory().settle(party);
        }
    }
}

impl Memory {
    /// The job that was sent last, if it is queued; else any that is unfinished.
    pub(super) fn last_unfinished(&self) -> Option<(&procession_raw::Job, Stage)> {
        let position = self.ring().counter(Side::Producers).wrapping_sub(1);
        let last = self.slot(position).ok().and_then(|slot| self.job(slot.cell).ok());
        let queued = last.map(|job| (job, job.current())).filter(|(_, now)| *now == Stage::queued(position));
        queued.or_else(|| self.find(Stage::is_unfinished))
    }

    fn given_up(&self) -> Vec<GivenUp> {
        let letter = |(cell, job): (u32, &procession_raw::Job)| match job.current() {
            Stage::Buried(deliveries) => Some(GivenUp { deliveries, worker: self.last_worker(cell) }),
            _ => None,
        };
        self.jobs().filter_map(letter).collect()
    }
}

impl fmt::Display for JobsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting for jobs: ")?;
        match self {
            Self::Unfinished { n } => write!(f, "{n} are not done"),
            Self::TimedOut { unfinished } => write!(f, "timed out, {unfinished} are not done"),
            Self::DeadLetters(given_up) => name(f, given_up),
            Self::Disconnected { unfinished, given_up } => {
                write!(f, "no receiver is left, and {unfinished} are not done")?;
                if given_up.is_empty() { Ok(()) } else { f.write_str("; ").and_then(|()| name(f, given_up)) }
            }
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl Error for JobsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            _ => None,
        }
    }
}

/// Names the first few.
fn name(f: &mut fmt::Formatter<'_>, given_up: &[GivenUp]) -> fmt::Result {
    const MOST: usize = 3;
    write!(f, "{} given up", given_up.len())?;
    for (n, GivenUp { deliveries, worker }) in given_up.iter().take(MOST).enumerate() {
        write!(f, "{} after {deliveries} deliveries", if n == 0 { ":" } else { "," })?;
        if let Some(Worker { pid, .. }) = worker {
            write!(f, ", the last to process {pid}")?;
        }
    }
    if given_up.len() > MOST { f.write_str(", …") } else { Ok(()) }
}
