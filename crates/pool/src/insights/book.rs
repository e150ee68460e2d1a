//! What the pool knows of the time of one place of its crew: of the worker there, and of those before it.
//!
//! The life of a worker is divided without a rest: its start, until it asked for a job; idle, where the pool had no job
//! for it; in jobs, of which its [ledger](super::ledger) says how much was work; and what is left, in which a job or its
//! end was on the way. What the ledger says counts as far as it fits into the worker's life, so that nonsense there
//! gives wrong shares and nothing worse.

use std::time::Duration;

use super::ledger::{Slow, now};
use super::{Shares, WorkerInsights};
use crate::crew::Worker;
use crate::job::Order;

/// Since when a worker has no job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Free {
    /// Since it was ready.
    #[default]
    FromStart,
    Since(u64),
    /// It has one.
    No,
}

/// Of one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// Of those who have ended.
    past: WorkerInsights,
    past_slowest: Vec<Slow>,
    n_buried: u64,
    free: Free,
    /// Of the worker there.
    idle: u64,
}

impl Book {
    /// Its worker gets a job.
    pub(crate) fn given(&mut self, worker: &Worker) {
        self.idle = self.idle(worker, now());
        self.free = Free::No;
    }

    /// Its worker has done its job.
    pub(crate) fn done(&mut self) {
        self.free = Free::Since(now());
    }

    /// Its worker has ended; `running` is what it had, nothing of which was settled since.
    pub(crate) fn buried(&mut self, worker: &Worker, running: Option<&Order>) {
        let now = now();
        self.past = self.of(worker, now);
        if let Some((order, started)) = running.and_then(|order| Some((order, begun(worker, order)?))) {
            self.past.lost += 1;
            let since = worker.ledger().words().since.max(worker.started);
            let slow = Slow {
                task: order.task - order.n_settled as u64 + started,
                nanos: now.saturating_sub(since),
            };
            self.past_slowest.push(slow);
        }
        self.past_slowest = self.slowest(Some(worker), now);
        self.n_buried += 1;
        (self.free, self.idle) = (Free::FromStart, 0);
    }

    /// All of this place up to now.
    pub(crate) fn read(&self, worker: Option<&Worker>) -> (WorkerInsights, Vec<Slow>) {
        let now = now();
        let mut read = worker.map_or_else(|| self.past.clone(), |worker| self.of(worker, now));
        read.restarts = (self.n_buried + u64::from(worker.is_some())).saturating_sub(1);
        (read, self.slowest(worker, now))
    }

    fn idle(&self, worker: &Worker, now: u64) -> u64 {
        let from = match self.free {
            Free::FromStart if !worker.journal.is_ready() => now,
            Free::FromStart => worker.ledger().words().ready,
            Free::Since(since) => since,
            Free::No => now,
        };
        self.idle + now.saturating_sub(from.max(worker.started))
    }

    /// Those who have ended, and the worker that is there.
    fn of(&self, worker: &Worker, now: u64) -> WorkerInsights {
        let words = worker.ledger().words();
        let mut left = now.saturating_sub(worker.started);
        let mut take = |nanos: u64| {
            let nanos = nanos.min(left);
            left -= nanos;
            Duration::from_nanos(nanos)
        };
        let until_ready = if worker.journal.is_ready() { words.ready } else { now };
        let start = take(until_ready.saturating_sub(worker.started));
        let idle = take(self.idle(worker, now));
        // A job that is being run is work from the bound that was noted last on.
        let running = if words.is_busy { now.saturating_sub(words.since) } else { 0 };
        let work = take(words.work.saturating_add(running));
        let serialise = take(words.busy.saturating_sub(words.work));
        let wait = Duration::from_nanos(left);
        let past = &self.past;
        WorkerInsights {
            name: worker.process.name().to_owned(),
            pid: Some(worker.process.pid()),
            shares: past.shares + Shares { start, idle, work, serialise, wait },
            done: past.done.saturating_add(words.done),
            failed: past.failed.saturating_add(words.failed),
            ..past.clone()
        }
    }

    fn slowest(&self, worker: Option<&Worker>, now: u64) -> Vec<Slow> {
        let of_worker = worker.into_iter().flat_map(|worker| {
            let age = now.saturating_sub(worker.started);
            worker.ledger().slowest().filter(move |slow| slow.nanos <= age)
        });
        super::slowest_of(self.past_slowest.iter().copied().chain(of_worker))
    }
}

/// The index in its job of the item that a worker was in when it ended, if it was in one.
fn begun(worker: &Worker, order: &Order) -> Option<u64> {
    let progress = worker.journal.progress(order.job.number);
    progress.since?;
    let index = progress.index()?;
    (index < (order.n_settled + order.job.items.len()) as u64).then_some(index)
}
#[cfg(test)]
mod tests {
    use procession_testkit::guarded;

    use super::*;
    use crate::crew::{Crew, Settings};

    #[test]
    fn nonsense_of_a_worker_gives_no_more_than_its_life() {
        guarded(|| {
            let mut crew = Crew::start(&"crew".into(), Settings::of(1)).unwrap();
            let worker = crew.places[0].worker.clone().unwrap();
            worker.process.kill().unwrap();
            worker.process.wait().unwrap();
            for is_ready in [false, true] {
                if is_ready {
                    worker.journal.set_ready();
                }
                for value in [0, 1, u64::MAX, u64::MAX >> 1, 1 << 40, now(), now() << 1 | 1] {
                    worker.ledger().damage(value);
                    let before = now() - worker.started;
                    let (read, slowest) = crew.places[0].book.read(Some(&worker));
                    let after = now() - worker.started;
                    let (total, age) = (read.shares.total(), before..=after);
                    assert!(age.contains(&u64::try_from(total.as_nanos()).unwrap()), "{value:x}: {read:?}");
                    assert!(slowest.iter().all(|slow| slow.nanos <= after), "{value:x}: {slowest:?}");
                }
            }
            let mut pasts = Vec::new();
            worker.ledger().damage(u64::MAX);
            for _ in 0..3 {
                crew.places[0].book.buried(&worker, None);
                pasts.push(crew.places[0].book.read(None).0);
            }
            assert_eq!(pasts[2].done, u64::MAX);
            assert_eq!(pasts[2].restarts, 2);
            assert!(pasts[0].shares.total() < pasts[1].shares.total());
            assert!(crew.end().len() == 1);
        });
    }

    #[test]
    fn idle_is_the_time_that_the_pool_has_no_job_for_it() {
        guarded(|| {
            let mut crew = Crew::start(&"crew".into(), Settings::of(1)).unwrap();
            let worker = crew.places[0].worker.clone().unwrap();
            worker.process.kill().unwrap();
            worker.process.wait().unwrap();
            worker.journal.set_ready();
            let begin = worker.started + 1000;
            worker.ledger().damage(0);
            let book = |free, idle| Book { free, idle, ..Book::default() };
            assert_eq!(book(Free::Since(begin), 5).idle(&worker, begin + 70), 75);
            assert_eq!(book(Free::No, 5).idle(&worker, begin + 70), 5);
            assert_eq!(
                book(Free::FromStart, 0).idle(&worker, begin),
                1000,
                "it was ready before it was there"
            );
            assert_eq!(book(Free::Since(begin), 5).idle(&worker, begin - 70), 5);
            let mut one = book(Free::FromStart, 0);
            one.given(&worker);
            assert!(one.free == Free::No && one.idle >= 1000);
            one.done();
            assert!(matches!(one.free, Free::Since(since) if since >= begin));
            crew.end();
        });
    }
}
