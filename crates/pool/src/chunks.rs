//! Handing out the items of a map, and telling of those that cannot be handed out: each has its number and its place.

use std::sync::Arc;

use crate::collector::Shared;
use crate::error::{TaskFailed, TaskId};
use crate::job::{PackError, Packing};
use crate::origin::Extra;
use crate::rules::Rules;
use crate::sink::Sink;

/// Where items of a map go.
pub(crate) struct Chunks<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) function: [u8; 40],
    pub(crate) extra: Extra,
    pub(crate) rules: Rules,
    pub(crate) sink: &'a Arc<Sink>,
}

impl Chunks<'_> {
    /// Hands out what was packed, whose first item is item `index`; false if the pool takes no more.
    pub(crate) fn submit(&self, packing: Packing, index: usize) -> bool {
        let n = packing.len();
        let submitted = packing.finish(self.function).map_err(|e| Some(e.to_string())).and_then(|mut job| {
            job.extra = self.extra.clone();
            self.shared.submit(job, index, self.sink, self.rules).map_err(|_| None)
        });
        let Err(reason) = submitted else { return true };
        let number = self.shared.crew().number_tasks(n);
        let failure = |number| {
            let task = self.task_id(number);
            Err(match &reason {
                Some(reason) => TaskFailed::NoWorker { task, reason: reason.as_str().into() },
                None => TaskFailed::Closed { task },
            })
        };
        self.sink.deliver(index, (number..).take(n).map(failure).collect());
        reason.is_some()
    }

    /// Item `index` was not packed.
    pub(crate) fn fail(&self, index: usize, error: PackError) {
        let number = self.shared.crew().number_tasks(1);
        self.sink.deliver(index, vec![Err(not_packed(self.task_id(number), error))]);
    }

    fn task_id(&self, number: u64) -> TaskId {
        TaskId { pool: Arc::clone(&self.shared.name), number }
    }
}

/// Why `task` has no argument.
fn not_packed(task: TaskId, error: PackError) -> TaskFailed {
    match error {
        PackError::Encode(error) => TaskFailed::Argument { task, error },
        PackError::Os(e) => TaskFailed::NoWorker { task, reason: e.to_string().into() },
    }
}
