//! What callers and the collector share, and the collector: the thread that takes in what workers say.
//!
//! Invariant: whoever changes the crew so that the collector should look at other things, or at another time, wakes it
//! before letting anybody wait for what comes of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use procession_sys::event::Event;
use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, OsError};

use crate::context;
use crate::crew::{Crew, GRACE, Phase, Worker};
use crate::error::BuildError;
use crate::herald::Herald;
use crate::job::Order;
use crate::notice::{Guard, Outbox};
use crate::rules::Rules;
use crate::serial::{Batch, Serial};
use crate::sink::Sink;
use crate::wire::Job;

/// Between two looks of the collector where the system cannot tell it which workers are ready.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What callers and the collector share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The pool's name, which needs no lock.
    pub(crate) name: Arc<str>,
    /// For tasks that have none of their own.
    pub(crate) rules: Rules,
    crew: Mutex<Crew>,
    /// Told when every task has its outcome.
    pub(crate) settled: Condvar,
    /// Wakes the collector.
    pub(crate) news: Event,
    /// A caller looks at the lanes of workers.
    pub(crate) is_attended: AtomicBool,
    pub(crate) outbox: Arc<Outbox>,
    /// Runs callbacks.
    pub(crate) herald: Arc<Herald>,
    /// What runs the tasks, if there are no workers.
    pub(crate) serial: Option<Serial>,
}

/// The pool takes no more work.
#[derive(Debug)]
pub(crate) struct Refused;

impl Shared {
    pub(crate) fn new(crew: Crew, rules: Rules) -> Result<Self, OsError> {
        let name = Arc::clone(&crew.name);
        let (crew, settled, news) = (Mutex::new(crew), Condvar::new(), Event::new()?);
        let herald = Arc::new(Herald::of(&name));
        let (is_attended, outbox) = (AtomicBool::new(false), Arc::default());
        Ok(Self { name, rules, crew, settled, news, is_attended, outbox, herald, serial: None })
    }

    pub(crate) fn crew(&self) -> Guard<'_> {
        Guard::new(&self.crew, &self.outbox)
    }

    /// Takes a job whose first item is item `index` of `sink`; answers its task number.
    pub(crate) fn submit(
        &self,
        job: Job,
        index: usize,
        sink: &Arc<Sink>,
        rules: Rules,
    ) -> Result<u64, Refused> {
        let mut crew = self.crew();
        if let Some(serial) = &self.serial {
            if crew.phase != Phase::Open {
                return Err(Refused);
            }
            let task = crew.number_tasks(job.items.len());
            drop(crew);
            serial.run(job, &Batch { task, index, sink, rules });
            self.let_go();
            return Ok(task);
        }
        // Whoever is done by now can have this one.
        crew.hear();
        let task = crew.number_tasks(job.items.len());
        crew.submit(Order::new(job, task, index, sink, rules)).ok_or(Refused)?;
        self.wake_collector(&mut crew);
        self.tell_settled(&crew);
        Ok(task)
    }

    /// Nobody needs some contexts any more.
    pub(crate) fn let_go(&self) {
        let mut crew = self.crew();
        if self.serial.is_none() {
            return crew.let_go();
        }
        let released = Arc::clone(&crew.released);
        drop(crew);
        let ids = std::mem::take(&mut *released.lock().unwrap_or_else(PoisonError::into_inner));
        context::forget(&ids);
    }

    /// Cancels the one task of `sink`: whether it has, or will have, the outcome `Cancelled`.
    pub(crate) fn cancel(&self, sink: &Arc<Sink>) -> bool {
        let mut crew = self.crew();
        let is_cancelled = crew.cancel(sink);
        // What it was in the way of goes on.
        crew.pump();
        self.wake_collector(&mut crew);
        if crew.is_done() {
            self.settled.notify_all();
        }
        is_cancelled
    }

    /// Nobody wants the tasks of `sink` that have not begun.
    pub(crate) fn forget(&self, sink: &Arc<Sink>) {
        let mut crew = self.crew();
        crew.forget(sink);
        if crew.is_done() {
            self.settled.notify_all();
        }
    }

    /// Waits until every initializer has done its work, or one has failed; no longer than a start may take.
    pub(crate) fn wait_set_up(&self) -> Result<(), BuildError> {
        let is_open =
            |crew: &mut Crew| crew.broken.is_none() && !crew.is_ready() && crew.phase == Phase::Open;
        let mut crew = self.crew();
        while is_open(&mut crew) {
            crew.wait(&self.settled, Deadline::NEVER);
        }
        let Some((worker, failure)) = &crew.broken else {
            crew.is_being_built = false;
            return Ok(());
        };
        Err(BuildError::Initializer { worker: worker.clone(), failure: failure.clone() })
    }

    /// The pool is to have `n` workers.
    pub(crate) fn resize(&self, n: usize) -> Result<(), BuildError> {
        if self.serial.is_some() {
            return Ok(());
        }
        let mut crew = self.crew();
        let resized = crew.resize(n);
        crew.pump();
        self.wake_collector(&mut crew);
        // Who warms up may have enough now.
        self.settled.notify_all();
        resized
    }

    /// Starts all workers, and waits until each has asked for work.
    pub(crate) fn warm_up(&self) -> Result<(), BuildError> {
        if self.serial.is_some() {
            return Ok(());
        }
        let mut crew = self.crew();
        crew.n_warming += 1;
        let warm = loop {
            match crew.warm_up() {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(error) => break Err(error),
            }
            self.wake_collector(&mut crew);
            crew.wait(&self.settled, Deadline::NEVER);
        };
        crew.n_warming -= 1;
        self.wake_collector(&mut crew);
        warm
    }

    /// Wakes the collector if it waits for other workers than there are, or for too late a time.
    pub(crate) fn wake_collector(&self, crew: &mut Crew) {
        if crew.version != crew.watched.0 || crew.wants_earlier() {
            self.news.notify();
        }
    }

    /// Tells who waits until every task has its outcome, or workers are there, to look.
    pub(crate) fn tell_settled(&self, crew: &Crew) {
        if crew.n_waiting > 0 && (crew.is_done() || crew.n_warming > 0) {
            self.settled.notify_all();
        }
    }

    /// The collector's thread: waits for words and deaths of workers until the crew ends.
    pub(crate) fn collect(&self) {
        let _end = EndOnDrop(self);
        let mut watch = Watch::default();
        loop {
            let late = {
                let mut crew = self.crew();
                if crew.phase == Phase::Ended {
                    return;
                }
                if watch.version != Some(crew.version) {
                    watch = Watch::of(&crew);
                }
                let late = crew.next_late().min(crew.next_limit()).min(crew.next_idle());
                crew.watched = (crew.version, late);
                late
            };
            let ready = watch.wait(&self.news, late);
            let mut crew = self.crew();
            let mut ready = ready.into_iter();
            if ready.next() == Some(true) {
                self.news.clear();
            }
            for entry in &watch.entries {
                let has_ended = ready.next() == Some(true);
                if entry.socket.is_some() && ready.next() == Some(true) {
                    crew.listen(entry.place);
                }
                if has_ended {
                    crew.bury(entry.place);
                }
            }
            if late.has_passed() {
                crew.lose_late();
                crew.end_slow();
                crew.sample();
                crew.retire_idle();
            }
            crew.pump();
            self.tell_settled(&crew);
        }
    }
}

/// Ends workers that were asked to end, within a bound: all are waited for, the rest is killed.
pub(crate) fn end(workers: &[Arc<Worker>], grace: Duration) {
    let deadline = Deadline::after(grace);
    for worker in workers {
        let ended = match deadline.instant() {
            Some(instant) => worker.process.wait_until(instant),
            None => worker.process.wait().map(Some),
        };
        if !matches!(ended, Ok(Some(_))) {
            let _ = worker.process.kill();
        }
    }
}

/// Leaves nobody waiting if the collector's thread ends, of whatever.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let workers = self.0.crew().end();
        self.0.settled.notify_all();
        end(&workers, GRACE);
    }
}

/// What the collector polls, made anew when a worker was replaced or lost.
#[derive(Default)]
struct Watch {
    version: Option<u64>,
    entries: Vec<Entry>,
}

struct Entry {
    place: usize,
    worker: Arc<Worker>,
    /// `None` if the worker is lost: what it says counts no more, and its socket may stay readable until it has ended.
    socket: Option<Arc<OwnedFd>>,
}

impl Watch {
    fn of(crew: &Crew) -> Self {
        let places = crew.places.iter().enumerate();
        let entries = places.filter_map(|(place, p)| {
            let worker = Arc::clone(p.worker.as_ref()?);
            let socket = if p.lost.is_some() { None } else { worker.jobs.descriptor() };
            Some(Entry { place, worker, socket })
        });
        Self { version: Some(crew.version), entries: entries.collect() }
    }

    /// Which of the [descriptors](Self::descriptors) is ready; all may be, where the system cannot tell.
    fn wait(&self, news: &Event, late: Deadline) -> Vec<bool> {
        let watched = self.descriptors(news);
        poll::ready(&watched, late).unwrap_or_else(|_| {
            // It lacks memory, or the limit of descriptors was set to less than these are: what callers do can be waited for
            // alone, as a rule, and what workers do is looked after again and again.
            let soon = late.min(Deadline::after(LOOK_AGAIN));
            if poll::ready(&watched[..1], soon).is_err() {
                std::thread::park_timeout(LOOK_AGAIN);
            }
            vec![true; watched.len()]
        })
    }

    /// The event, then of each worker the process and, unless it is lost, the socket.
    fn descriptors<'a>(&'a self, news: &'a Event) -> Vec<(BorrowedFd<'a>, Interest)> {
        let of_workers = self
            .entries
            .iter()
            .flat_map(|entry| [Some(entry.worker.process.as_fd()), entry.socket.as_ref().map(AsFd::as_fd)]);
        [news.as_fd()].into_iter().chain(of_workers.flatten()).map(|fd| (fd, Interest::Readable)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Settings;

    /// The socket of a lost worker may stay readable for as long as it takes to die: it must not keep the collector
    /// busy.
    #[test]
    fn a_lost_worker_is_watched_for_its_end_only() {
        let mut crew = Crew::start(&"crew".into(), Settings::of(2)).unwrap();
        let news = Event::new().unwrap();
        let watch = Watch::of(&crew);
        assert_eq!(watch.descriptors(&news).len(), 1 + 2 + 2);
        crew.lose(1, 1);
        assert_ne!(watch.version, Some(crew.version), "the watch is made anew");
        assert_eq!(Watch::of(&crew).descriptors(&news).len(), 1 + 2 + 1);
    }
}
