//! What a dead worker leaves: outcomes, and orders to be run again. The table is in the module above.

use std::sync::Arc;

use procession_process::{Exit, Hint};

use super::{Crew, ENOUGH, Worker};
use crate::chaos::ChaosPoint;
use crate::error::{TaskFailed, TaskId};
use crate::job::{Order, Verdict};
use crate::replies;
use crate::report::Report;

impl Crew {
    /// Outcomes of a dead worker's order. What was not begun is run again.
    pub(super) fn settle_dead(&mut self, worker: &Worker, exit: Exit, mut order: Order, weight: u32) {
        if order.verdict == Some(Verdict::Cancelled) {
            return order.fail(&self.name, |task| TaskFailed::Cancelled { task });
        }
        let n_begun = replies::read_journal(worker, &self.name, &mut order);
        if n_begun == 0 && order.n_settled == 0 {
            // The next one has another fate.
            let is_fate = worker.care.fate_of(&order) == Some(ChaosPoint::BeforeTask);
            order.job.extra.n_killed += u32::from(is_fate);
            let why = if worker.journal.is_ready() {
                format!("{} {exit} before it began", worker.who())
            } else {
                self.last_failure.to_string()
            };
            return self.give_back(order, weight, &why);
        }
        let mut panic = worker.deadly_panic();
        let mut again = Vec::new();
        for left in (0..n_begun).rev() {
            let (task, who) = (TaskId { pool: Arc::clone(&self.name), number: order.task }, worker.who());
            // The last of them is the one that it died in.
            let is_it = left == 0;
            let limit = order.slow_limit().filter(|_| is_it);
            let report = Box::new(Report::of_dead(worker, &order, exit));
            let too_large = match order.verdict {
                Some(Verdict::TooLarge(resident)) if is_it => Some(resident),
                _ => None,
            };
            let panic = if limit.is_none() && too_large.is_none() && is_it { panic.take() } else { None };
            if let Some(panic) = panic {
                order.settle(vec![Err(TaskFailed::Panicked { task, worker: who, panic, report })]);
            } else if let Some(limit) = limit {
                again.extend(order.fail_attempt(TaskFailed::TimedOut { task, worker: who, limit, report }));
            } else if let Some(resident) = too_large {
                let limit = worker.care.memory.limit.unwrap_or_default();
                let report = Box::new(report.with_resident(resident));
                let failure = TaskFailed::MemoryExceeded { task, worker: who, resident, limit, report };
                again.extend(order.fail_attempt(failure));
            } else {
                let hint = Hint::of(exit).filter(|_| !report.is_senseless());
                again.extend(order.fail_attempt(TaskFailed::WorkerDied {
                    task,
                    worker: who,
                    exit,
                    hint,
                    report,
                }));
            }
        }
        order.blame = 0;
        // Others do not wait for further attempts at what failed.
        for again in again.into_iter().rev() {
            self.waiting.push_front(again);
        }
        if !order.job.items.is_empty() {
            self.waiting.push_front(order);
        }
    }

    /// Puts an order that no worker has begun back to the head of the line: it was given out before everything that
    /// waits. One that was there too often is given up, or it would cost one worker after the other.
    pub(super) fn give_back(&mut self, mut order: Order, weight: u32, why: &str) {
        order.blame += weight;
        if order.blame < ENOUGH {
            return self.waiting.push_front(order);
        }
        let reason: Arc<str> = why.into();
        order.fail(&self.name, |task| TaskFailed::NoWorker { task, reason: Arc::clone(&reason) });
    }
}
