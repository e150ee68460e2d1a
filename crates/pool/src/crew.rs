//! The workers of a pool, what each is doing, and the jobs that wait: one state, changed under one lock.
//!
//! Whoever has the lock hands out jobs ([`Crew::pump`]): a caller that submits while a worker is idle wakes that worker
//! itself. Only the collector's thread takes in what workers say and buries the dead. Nothing under the lock waits for
//! a worker: messages fit into the kernel's buffer, since a worker has at most one job.
//!
//! | a worker dies | its job |
//! |---|---|
//! | idle, or before it began its job | goes back to the head of the line, whole |
//! | between two items | outcomes so far count; the rest goes back to the head of the line |
//! | in an item | as above, but that item gets `WorkerDied` |
//! | after the last item | all outcomes count |
//!
//! Invariants: an order is in `waiting`, in one worker's `running`, or settled; so each task has exactly one outcome.
//! Held by `tests/contract.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, SendError, pipe};
use procession_process::{Exit, Hint, JoinError, Process, Who};
use procession_sys::OsError;
use procession_sys::memory::Memfd;

use crate::error::{BuildError, TaskFailed, TaskId};
use crate::job::Order;
use crate::journal::{self, Journal};
use crate::replies;
use crate::wire::{Job, Reply};
use crate::worker::{self, Desk};

/// After so many deaths in a row of workers that had not finished a single job, no more are started until new work is
/// submitted.
const FAILED_STARTS: usize = 8;

/// A worker process, as the pool holds it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process<Result<(), String>>,
    pub(crate) jobs: Duplex<Job, Reply>,
    pub(crate) journal: Journal,
}

impl Worker {
    fn start(name: String) -> Result<Self, BuildError> {
        let memory = Memfd::sealed("procession-journal", journal::SIZE)?;
        let journal = Journal::open(&memory)?;
        let (jobs, theirs) =
            pipe().map_err(|e| OsError::new("making a worker's pipe", std::io::Error::other(e)))?;
        let desk = Desk { jobs: theirs, journal: Descriptor::from(memory.into_fd()) };
        let settings = Process::builder().name(name).ignore_interrupt(true);
        let process = settings.spawn(worker::work, desk).map_err(BuildError::Worker)?;
        Ok(Self { process, jobs, journal })
    }

    pub(crate) fn who(&self) -> Who {
        Who { name: self.process.name().to_owned(), pid: self.process.pid() }
    }
}

/// A worker's place in the crew. The place stays when the worker is replaced.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) worker: Option<Arc<Worker>>,
    pub(crate) running: Option<Order>,
    /// The worker is beyond talking to: its end is awaited.
    pub(crate) lost: bool,
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
    pub(crate) waiting: VecDeque<Order>,
    pub(crate) phase: Phase,
    /// Changes whenever a worker is replaced.
    pub(crate) version: u64,
    next_job: u64,
    next_task: u64,
    n_started: u64,
    failed_starts: usize,
}

impl Crew {
    pub(crate) fn start(name: &str, n_workers: usize) -> Result<Self, BuildError> {
        let mut crew = Self {
            name: name.into(),
            places: Vec::new(),
            waiting: VecDeque::new(),
            phase: Phase::Open,
            version: 0,
            next_job: 1,
            next_task: 1,
            n_started: 0,
            failed_starts: 0,
        };
        for _ in 0..n_workers {
            let worker = crew.start_worker()?;
            crew.places.push(Place { worker: Some(Arc::new(worker)), running: None, lost: false });
        }
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
        self.failed_starts = 0;
        self.pump();
        Some(())
    }

    /// Whether everything taken has its outcome.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.places.iter().all(|place| place.running.is_none())
    }

    /// Gives waiting jobs to idle workers, as long as there are both.
    pub(crate) fn pump(&mut self) {
        self.fill_places();
        while let Some(idle) = self.places.iter().position(Place::is_idle) {
            let Some(order) = self.next_order() else { return };
            self.give(idle, order);
        }
        if self.places.iter().all(|place| place.worker.is_none()) {
            self.fail_waiting("every worker started so far died before it finished a task");
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
        self.next_job += 1;
        let place = &mut self.places[place];
        let Some(worker) = &place.worker else { return self.waiting.push_front(order) };
        match worker.jobs.try_send(&order.job) {
            Ok(()) => place.running = Some(order),
            // It is dead, or does not read what it should have read long ago. Its end comes, then its place is filled.
            Err(SendError::Closed | SendError::Full) => {
                place.lose();
                self.waiting.push_front(order);
            }
            Err(e) => {
                let reason: Arc<str> = e.to_string().into();
                order.fail(&self.name, |task| TaskFailed::NoWorker { task, reason: Arc::clone(&reason) });
            }
        }
    }

    /// Starts workers for empty places, unless they keep dying.
    fn fill_places(&mut self) {
        for place in 0..self.places.len() {
            if self.places[place].worker.is_some() || self.failed_starts >= FAILED_STARTS {
                continue;
            }
            match self.start_worker() {
                Ok(worker) => {
                    self.places[place].worker = Some(Arc::new(worker));
                    self.version += 1;
                }
                Err(e) => {
                    if self.places.iter().all(|place| place.worker.is_none()) {
                        self.fail_waiting(&e.to_string());
                    }
                    return;
                }
            }
        }
    }

    fn start_worker(&mut self) -> Result<Worker, BuildError> {
        self.n_started += 1;
        Worker::start(format!("{}-{}", self.name, self.n_started))
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
        let place = &mut self.places[place];
        let Some(worker) = place.worker.clone() else { return };
        while !place.lost {
            match replies::next(&worker, &name, &mut place.running) {
                Ok(replies::Heard::Part) => {}
                Ok(replies::Heard::Done) => self.failed_starts = 0,
                Ok(replies::Heard::Nothing) => return,
                Err(replies::Unreliable) => place.lose(),
            }
        }
    }

    /// If the worker at `place` has ended, settles what it leaves and empties the place.
    pub(crate) fn bury(&mut self, place: usize) {
        let Some(worker) = self.places[place].worker.clone() else { return };
        let Ok(Some(exit)) = worker.process.try_wait() else { return };
        // What it said last counts.
        self.listen(place);
        self.version += 1;
        self.failed_starts += 1;
        let place = &mut self.places[place];
        place.worker = None;
        place.lost = false;
        if let Some(order) = place.running.take() {
            let order = self.settle_dead(&worker, exit, order);
            // It was given out before everything that waits.
            if let Some(rest) = order {
                self.waiting.push_front(rest);
            }
        }
    }

    /// Outcomes of a dead worker's order; what must be run again.
    fn settle_dead(&self, worker: &Worker, exit: Exit, mut order: Order) -> Option<Order> {
        let begun = replies::read_journal(worker, &self.name, &mut order);
        if begun && !order.job.items.is_empty() {
            let task = TaskId { pool: Arc::clone(&self.name), number: order.task };
            let failure = match worker.process.try_join() {
                Err(JoinError::Panicked(panic)) => {
                    TaskFailed::Panicked { task, worker: worker.who(), panic: Box::new(panic) }
                }
                _ => TaskFailed::WorkerDied { task, worker: worker.who(), exit, hint: Hint::of(exit) },
            };
            order.settle(vec![Err(failure)]);
        }
        (!order.job.items.is_empty()).then_some(order)
    }

    /// No more work; what has no outcome gets `Closed`.
    pub(crate) fn end(&mut self) -> Vec<Arc<Worker>> {
        self.phase = Phase::Ended;
        self.version += 1;
        let running = self.places.iter_mut().filter_map(|place| place.running.take());
        for order in running.chain(std::mem::take(&mut self.waiting)) {
            order.fail(&self.name, |task| TaskFailed::Closed { task });
        }
        self.places.iter_mut().filter_map(|place| place.worker.take()).collect()
    }
}

impl Place {
    fn is_idle(&self) -> bool {
        self.worker.is_some() && self.running.is_none() && !self.lost
    }

    /// Gives the worker up. Its process is killed; once it has ended, [`Crew::bury`] does the rest.
    fn lose(&mut self) {
        self.lost = true;
        if let Some(worker) = &self.worker {
            // If it cannot be killed it is dead already.
            let _ = worker.process.kill();
        }
    }
}
