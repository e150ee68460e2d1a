//! What a worker notes about its time, in the head of its journal: words that outlive it.
//!
//! One writer, the worker; one reader, the pool, which may read at any time. Each word is a number of its own, so all
//! stores are relaxed; the reader believes nothing and bounds everything by what it knows itself ([`super::book`]).
//!
//! | word | bytes | meaning | written |
//! |---|---|---|---|
//! | `READY` | 64–71 | when the worker first asked for a job; 0: not yet | once |
//! | `SINCE` | 72–79 | twice the time up to which `BUSY` and `WORK` have counted; odd while a job is being run | at the bounds of jobs and of items that are timed |
//! | `BUSY` | 80–87 | time spent in jobs | likewise |
//! | `WORK` | 88–95 | the part of it that was spent in tasks | likewise |
//! | `DONE` | 96–103 | tasks that gave a value | after each |
//! | `FAILED` | 104–111 | tasks that gave none | after each |
//! | `SLOW` | 112–191 | the five slowest tasks: number, and time that they took (0: none) | when there is a slower one |
//!
//! Times are nanoseconds, points in time those of the monotonic clock.

use std::sync::atomic::Ordering::Relaxed;

use procession_sys::clock;
use procession_sys::memory::Mapping;

/// How many of the slowest tasks are kept.
pub(crate) const N_SLOWEST: usize = 5;

const READY: usize = 64;
const SINCE: usize = 72;
const BUSY: usize = 80;
const WORK: usize = 88;
const DONE: usize = 96;
const FAILED: usize = 104;
const SLOW: usize = 112;

/// A task, and the nanoseconds it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) nanos: u64,
    pub(crate) task: u64,
}

/// The words of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger<'m>(&'m Mapping);

/// All words but those of the slowest tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) ready: u64,
    pub(crate) since: u64,
    pub(crate) is_busy: bool,
    pub(crate) busy: u64,
    pub(crate) work: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    u64::try_from(clock::uptime().as_nanos()).unwrap_or(u64::MAX)
}

impl<'m> Ledger<'m> {
    /// In the memory of a journal, which is long enough for it.
    pub(crate) fn of(map: &'m Mapping) -> Self {
        Self(map)
    }

    fn store(self, at: usize, value: u64) {
        self.0.atomic_u64(at).store(value, Relaxed);
    }

    fn load(self, at: usize) -> u64 {
        self.0.atomic_u64(at).load(Relaxed)
    }

    /// Worker: it asks for jobs from now on.
    pub(crate) fn set_ready(self) {
        self.store(READY, now());
    }

    /// Worker: how much was counted up to `since`, and whether it runs a job now.
    pub(crate) fn note(self, since: u64, is_busy: bool, busy: u64, work: u64) {
        self.store(BUSY, busy);
        self.store(WORK, work);
        self.store(SINCE, since << 1 | u64::from(is_busy));
    }

    /// Worker: so many tasks have given a value, and so many none.
    pub(crate) fn note_tasks(self, done: u64, failed: u64) {
        self.store(DONE, done);
        self.store(FAILED, failed);
    }

    /// Worker: one of the slowest tasks.
    pub(crate) fn note_slow(self, place: usize, slow: Slow) {
        let at = SLOW + 16 * place.min(N_SLOWEST - 1);
        // A reader in between sees none here.
        self.store(at + 8, 0);
        self.store(at, slow.task);
        self.store(at + 8, slow.nanos);
    }

    /// Pool: what stands here.
    pub(crate) fn words(self) -> Words {
        let since = self.load(SINCE);
        Words {
            ready: self.load(READY),
            since: since >> 1,
            is_busy: since & 1 == 1,
            busy: self.load(BUSY),
            work: self.load(WORK),
            done: self.load(DONE),
            failed: self.load(FAILED),
        }
    }

    /// Pool: the slowest tasks, in no order.
    pub(crate) fn slowest(self) -> impl Iterator<Item = Slow> {
        let slow = move |place| {
            let at = SLOW + 16 * place;
            Slow { task: self.load(at), nanos: self.load(at + 8) }
        };
        (0..N_SLOWEST).map(slow).filter(|slow| slow.nanos > 0)
    }

    /// As a worker that writes where it should not might leave it.
    #[cfg(test)]
    pub(crate) fn damage(self, value: u64) {
        (READY..SLOW + 16 * N_SLOWEST).step_by(8).for_each(|at| self.store(at, value));
    }
}
