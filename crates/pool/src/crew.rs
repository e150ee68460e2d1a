//! The workers of a pool, what each is doing, and the jobs that wait: one state, changed under one lock.
//!
//! Whoever has the lock hands out jobs ([`Crew::pump`]): a caller that submits while a worker is idle wakes that worker
//! itself. Only the collector's thread takes in what workers say and buries the dead. Nothing under the lock waits for
//! a worker: messages fit into the kernel's buffer, since a worker has at most one job.
//!
//! | a worker dies | its job |
//! |---|---|
//! | idle, or before it began its job | goes back to the head of the line, whole, unless that happens again and again |
//! | between two items | outcomes so far count; the rest goes back to the head of the line |
//! | in an item | as above, but that item gets `WorkerDied` |
//! | after the last item | all outcomes count |
//! | of our hand, since its task was cancelled | that task gets `Cancelled` |
//! | of our hand, since its task took too long | as if by another; the task gets `TimedOut` instead of `WorkerDied` |
//! | of our hand, since it had too much memory | the same, with `MemoryExceeded` |
//! | in an item that is repeatable | the item is run again, alone, unless it used up its attempts: then `GivenUp` |
//! | and answers it gave did not reach us, or its journal is damaged | all items it may have begun get `WorkerDied` |
//!
//! Invariants: an order is in `waiting`, in one worker's `running`, or settled; so each task has exactly one outcome.
//! Held by `tests/contract.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_pipe::SendError;
use procession_process::{Signal, StartMethod, Who, start_method};
use procession_sys::Deadline;

use crate::care::MemoryRules;
use crate::chaos::Chaos;
use crate::context::Released;
use crate::error::{BuildError, TaskFailed};
use crate::insights::book::Book;
use crate::job::Order;
use crate::replies;
use crate::setup::{InitializerFailure, Setup};
use crate::sink::Sink;
use crate::streams::Streams;

pub(crate) use line::Waiting;
pub(crate) use retire::GRACE;
pub(crate) use size::Flexible;
pub(crate) use worker::Worker;

/// A death of our own making.
const NOTHING: u32 = 0;
/// A death that proves nothing about what was tried: somebody may have killed the worker.
const KILLED: u32 = 1;
/// The death of a worker that ended by itself, or that we had to kill.
const BY_ITSELF: u32 = 8;
/// With so much against it in a row, starting workers, or giving out an order, is tried no more. New work starts
/// workers again.
const ENOUGH: u32 = 64;

/// Where workers could not be started, or died at their start too often, and others live: how long until the next try.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// A worker's place in the crew. The place stays when the worker is replaced.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) worker: Option<Arc<Worker>>,
    pub(crate) running: Option<Order>,
    /// The worker is beyond talking to, and its end is awaited: how much that weighs.
    pub(crate) lost: Option<u32>,
    /// Tasks given to the worker.
    n_tasks: usize,
    /// The worker was told to end: it is killed if it has not by then.
    retired: Option<Instant>,
    /// Contexts that the worker was given.
    known: Vec<u128>,
    /// Where its time went, and that of those before it.
    pub(crate) book: Book,
    /// Contexts that the worker is to let go.
    forget: Vec<u128>,
    /// Messages about them since its last job.
    n_told: u32,
    /// When the worker was started, or was done with what it was given.
    idle_since: Option<Instant>,
}

/// What a crew is made by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) n_workers: usize,
    pub(crate) start_timeout: Duration,
    /// How many tasks a worker may run.
    pub(crate) max_tasks: usize,
    pub(crate) setup: Option<Arc<Setup>>,
    pub(crate) streams: Streams,
    pub(crate) memory: MemoryRules,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) start_method: Option<StartMethod>,
    /// Unless there are to be that many workers all the time.
    pub(crate) flexible: Option<Flexible>,
}

impl Settings {
    #[cfg(test)]
    pub(crate) fn of(n_workers: usize) -> Self {
        Self {
            n_workers,
            start_timeout: Duration::from_secs(10),
            max_tasks: usize::MAX,
            setup: None,
            streams: Streams::default(),
            memory: MemoryRules::default(),
            chaos: None,
            start_method: None,
            flexible: None,
        }
    }

    /// A pool has threads, so the default of a program that forks is none of its own.
    pub(crate) fn start_method(&self) -> StartMethod {
        let default = || Some(start_method()).filter(|method| *method != StartMethod::Fork);
        self.start_method.or_else(default).unwrap_or(StartMethod::Spawn)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Takes new work.
    Open,
    /// Finishes what it has.
    Closed,
    /// Over.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) name: Arc<str>,
    pub(crate) places: Vec<Place>,
    pub(crate) waiting: Waiting,
    pub(crate) phase: Phase,
    /// Changes whenever a worker is replaced or lost.
    pub(crate) version: u64,
    /// The version that the collector watches, and until when it waits.
    pub(crate) watched: (u64, Deadline),
    settings: Settings,
    /// How many workers the pool is to have.
    pub(crate) wanted: usize,
    /// Threads that wait until workers have asked for work.
    pub(crate) n_warming: usize,
    /// Threads that wait for the end of something under the lock.
    pub(crate) n_waiting: usize,
    /// A caller looks at lanes: workers need not ring.
    pub(crate) is_attended: bool,
    next_job: u64,
    next_task: u64,
    n_started: u64,
    /// What speaks against starting workers: deaths in a row of workers that never came so far as to ask for a job.
    failed_starts: u32,
    /// How the last of them ended.
    last_failure: Arc<str>,
    /// When empty places are to be filled that could not be before.
    next_try: Option<Instant>,
    /// The first worker whose initializer failed, and how.
    pub(crate) broken: Option<(Who, InitializerFailure)>,
    /// The pool is built only once every initializer has done its work: until then one that fails is the end.
    pub(crate) is_being_built: bool,
    /// When to look at the memory of workers.
    sample_due: Option<Instant>,
    /// Workers that were replaced because they had grown too large.
    pub(crate) n_recycled: u64,
    /// Contexts that nobody needs any more, and no worker was told of yet.
    pub(crate) released: Released,
}

impl Crew {
    pub(crate) fn start(name: &Arc<str>, settings: Settings) -> Result<Self, BuildError> {
        let mut crew = Self {
            name: Arc::clone(name),
            places: Vec::new(),
            waiting: Waiting::default(),
            phase: Phase::Open,
            version: 0,
            watched: (0, Deadline::now()),
            wanted: settings.n_workers,
            n_warming: 0,
            n_waiting: 0,
            is_attended: false,
            settings,
            next_job: 1,
            next_task: 1,
            n_started: 0,
            failed_starts: 0,
            last_failure: "".into(),
            next_try: None,
            broken: None,
            is_being_built: true,
            sample_due: None,
            n_recycled: 0,
            released: Released::default(),
        };
        let n_workers = crew.n_at_start();
        crew.fill_to(n_workers)?;
        Ok(crew)
    }

    /// Numbers for `n` new tasks; answers the first.
    pub(crate) fn number_tasks(&mut self, n: usize) -> u64 {
        let first = self.next_task;
        self.next_task += n as u64;
        first
    }

    /// Takes an order; `None` if the pool takes no more.
    pub(crate) fn submit(&mut self, order: Order) -> Option<()> {
        if self.phase != Phase::Open {
            return None;
        }
        self.waiting.push_back(order);
        if self.is_deserted() {
            self.failed_starts = 0;
        }
        self.pump();
        Some(())
    }

    /// Whether everything taken has its outcome.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.places.iter().all(|place| place.running.is_none())
    }

    /// Whether no worker is left.
    fn is_deserted(&self) -> bool {
        self.places.iter().all(|place| place.worker.is_none())
    }

    /// Gives waiting jobs to idle workers, as long as there are both.
    pub(crate) fn pump(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        self.fill_places();
        self.let_go();
        while let Some(idle) = self.places.iter().position(Place::is_idle) {
            let Some(order) = self.next_order() else { return };
            self.give(idle, order);
        }
        if self.is_deserted() {
            self.fail_waiting(&format!("each one dies at its start; of the last: {}", self.last_failure));
        }
    }

    /// Nobody wants the tasks of `sink` that have not begun.
    pub(crate) fn forget(&mut self, sink: &Arc<Sink>) {
        sink.cancel();
        self.waiting.retain(|order| !Arc::ptr_eq(&order.sink, sink));
        for place in &self.places {
            if let (Some(worker), Some(order)) = (&place.worker, &place.running)
                && Arc::ptr_eq(&order.sink, sink)
            {
                worker.journal.revoke(order.job.number);
            }
        }
    }

    /// The next order that somebody still wants.
    fn next_order(&mut self) -> Option<Order> {
        let name = Arc::clone(&self.name);
        loop {
            let order = self.waiting.pop_front()?;
            if !order.sink.is_cancelled() {
                return Some(order);
            }
            order.fail(&name, |task| TaskFailed::Closed { task });
        }
    }

    fn give(&mut self, place: usize, mut order: Order) {
        order.job.number = self.next_job;
        order.n_settled = 0;
        order.verdict = None;
        order.seen = None;
        self.next_job += 1;
        order.job.extra.forget = std::mem::take(&mut self.places[place].forget);
        order.job.extra.task = order.task;
        let Some(worker) = &self.places[place].worker else { return self.waiting.push_front(order) };
        order.job.n_now = order.job.items.len().min(self.settings.max_tasks - self.places[place].n_tasks);
        worker.lane().arm(if self.is_attended { 0 } else { order.job.number });
        let sent = worker.post(&order.job);
        order.job.extra.forget.clear();
        match sent {
            Ok(()) => {
                let worker = Arc::clone(worker);
                self.places[place].book.given(&worker);
                self.places[place].n_told = 0;
                self.places[place].note_context(&order);
                self.places[place].n_tasks += order.job.n_now;
                self.places[place].running = Some(order);
                self.expect_sample();
            }
            // It is dead. Its end comes, then its place is filled.
            Err(SendError::Closed) => {
                self.lose(place, KILLED);
                self.waiting.push_front(order);
            }
            // It does not read what it should have read long ago, or the job is too large for any.
            Err(SendError::Full) => {
                self.lose(place, BY_ITSELF);
                self.give_back(order, BY_ITSELF, "it does not fit into the pipe of a worker");
            }
            Err(e) => {
                let reason: Arc<str> = e.to_string().into();
                order.fail(&self.name, |task| TaskFailed::NoWorker { task, reason: Arc::clone(&reason) });
            }
        }
    }

    /// When an empty place is to be filled that could not be before.
    fn next_try(&self) -> Option<Instant> {
        let is_given_up = self.failed_starts >= ENOUGH && self.is_deserted();
        self.next_try.filter(|_| !is_given_up)
    }

    fn start_worker(&mut self) -> Result<Worker, BuildError> {
        self.n_started += 1;
        Worker::start(format!("{}-{}", self.name, self.n_started), &self.settings)
    }

    fn fail_waiting(&mut self, reason: &str) {
        let reason: Arc<str> = reason.into();
        for order in std::mem::take(&mut self.waiting) {
            order.fail(&self.name, |task| TaskFailed::NoWorker { task, reason: Arc::clone(&reason) });
        }
    }

    /// Takes in what the worker at `place` has said.
    pub(crate) fn listen(&mut self, place: usize) {
        let name = Arc::clone(&self.name);
        let Some(worker) = self.places[place].worker.clone() else { return };
        while self.places[place].lost.is_none() {
            match replies::next(&worker, &name, &mut self.places[place].running) {
                Ok(replies::Heard::Part) => {}
                Ok(replies::Heard::Done(left)) => {
                    self.places[place].book.done();
                    if let Some(left) = left {
                        self.waiting.push_front(*left);
                    }
                    let is_full = worker.journal.is_full();
                    self.n_recycled += u64::from(is_full);
                    self.places[place].idle_since = Some(Instant::now());
                    let is_done = is_full || self.places[place].n_tasks >= self.settings.max_tasks;
                    if is_done || self.is_crowded() {
                        self.retire(place);
                    }
                }
                Ok(replies::Heard::Nothing) => return,
                Err(replies::Unreliable::Gone) => self.lose(place, KILLED),
                Err(replies::Unreliable::Nonsense) => {
                    worker.care.note_nonsense();
                    self.lose(place, BY_ITSELF);
                }
            }
        }
    }

    /// Gives a worker up. Its process is killed; once it has ended, [`bury`](Self::bury) does the rest.
    pub(crate) fn lose(&mut self, place: usize, weight: u32) {
        let place = &mut self.places[place];
        place.lost = Some(weight);
        self.version += 1;
        if let Some(worker) = &place.worker {
            // If it cannot be killed it is dead already.
            let _ = worker.process.kill();
        }
    }

    /// When the first of the workers that are still on their way, or on their way out, is late, or one is to be started.
    pub(crate) fn next_late(&self) -> Deadline {
        let awaited =
            self.places.iter().filter(|place| place.lost.is_none()).filter_map(|place| place.worker.as_ref());
        let deadlines =
            awaited.filter(|worker| !worker.journal.is_ready()).map(|worker| worker.start_deadline);
        let ends = self.places.iter().filter_map(|place| place.retired);
        deadlines.chain(ends).chain(self.next_try()).min().map_or(Deadline::NEVER, Deadline::at)
    }

    /// Gives up workers that should have asked for a job, or have ended, by now.
    pub(crate) fn lose_late(&mut self) {
        let now = Instant::now();
        for place in 0..self.places.len() {
            let late = |worker: &Arc<Worker>| worker.start_deadline <= now && !worker.journal.is_ready();
            if self.places[place].lost.is_none() && self.places[place].worker.as_ref().is_some_and(late) {
                self.lose(place, BY_ITSELF);
            }
            if self.places[place].retired.take_if(|until| *until <= now).is_some() {
                self.lose(place, NOTHING);
            }
        }
    }

    /// If the worker at `place` has ended, settles what it leaves and empties the place.
    pub(crate) fn bury(&mut self, place: usize) {
        let Some(worker) = self.places[place].worker.clone() else { return };
        let Ok(Some(exit)) = worker.process.try_wait() else { return };
        let killed = exit.signal() == Some(Signal::KILL);
        let weight = if killed { self.places[place].lost.unwrap_or(KILLED) } else { BY_ITSELF };
        if self.places[place].running.as_ref().is_some_and(Order::is_condemned) {
            self.places[place].lost = None;
        }
        // What it said last counts.
        self.listen(place);
        self.version += 1;
        let Place { running: order, mut book, .. } = std::mem::take(&mut self.places[place]);
        book.buried(&worker, order.as_ref());
        self.places[place].book = book;
        if worker.journal.is_ready() {
            self.failed_starts = 0;
        } else {
            self.failed_starts += weight;
            self.last_failure = format!("{} {exit}", worker.who()).into();
            if self.settings.setup.is_some() {
                let is_late = killed && weight == BY_ITSELF;
                let failure = worker.failure(exit, is_late.then_some(self.settings.start_timeout));
                self.last_failure = format!("initializing {}: {failure}", worker.who()).into();
                self.broken.get_or_insert_with(|| (worker.who(), failure));
            }
        }
        if let Some(order) = order {
            self.settle_dead(&worker, exit, order, weight);
        }
    }

    /// No more work; what has no outcome gets `Closed`. Every worker is told to end.
    pub(crate) fn end(&mut self) -> Vec<Arc<Worker>> {
        self.phase = Phase::Ended;
        self.version += 1;
        for place in 0..self.places.len() {
            self.dismiss(place);
        }
        let running = self.places.iter_mut().filter_map(|place| place.running.take());
        for order in running.chain(std::mem::take(&mut self.waiting)) {
            order.fail(&self.name, |task| TaskFailed::Closed { task });
        }
        self.places.iter_mut().filter_map(|place| place.worker.take()).collect()
    }
}

impl Place {
    fn is_idle(&self) -> bool {
        self.worker.is_some() && self.running.is_none() && self.lost.is_none()
    }
}

mod attend;
mod contexts;
mod dead;
mod line;
mod look;
mod memory;
mod retire;
mod size;
mod verdicts;
mod worker;

#[cfg(test)]
mod tests;
