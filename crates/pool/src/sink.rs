//! Where outcomes go: a task's handle, or the buffer of a map.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use procession_codec::{Codec, Message, Postcard, handles};
use procession_sys::Deadline;

use crate::error::{TaskFailed, TaskId};

/// A value as it arrived, not yet decoded.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Value {
    pub(crate) fn decode<R: Message>(self, task: impl FnOnce() -> TaskId) -> Result<R, TaskFailed> {
        handles::supply(self.descriptors, || Postcard::decode(&self.bytes))
            .map_err(|error| TaskFailed::ResultNotDecoded { task: task(), error })
    }
}

/// What became of one task.
pub(crate) type Outcome = Result<Value, TaskFailed>;

/// Outcomes by the index of their task, and who waits for them. A single task is the map of one item.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    ready: Mutex<BTreeMap<usize, Outcome>>,
    news: Condvar,
    cancelled: AtomicBool,
    /// Time per item as last measured, in nanoseconds; 0: not yet.
    nanos: AtomicU64,
}

impl Sink {
    /// Takes the outcomes of the tasks from `first` on.
    pub(crate) fn deliver(&self, first: usize, outcomes: Vec<Outcome>) {
        let mut ready = self.ready();
        ready.extend(outcomes.into_iter().enumerate().map(|(i, outcome)| (first + i, outcome)));
        drop(ready);
        self.news.notify_all();
    }

    /// Waits for the outcome of task `index`, or with `None` for that of any; answers index and outcome.
    pub(crate) fn take(&self, index: Option<usize>, deadline: Deadline) -> Option<(usize, Outcome)> {
        let mut ready = self.ready();
        loop {
            let taken = match index {
                Some(index) => ready.remove(&index).map(|outcome| (index, outcome)),
                None => ready.pop_first(),
            };
            if taken.is_some() {
                return taken;
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            ready = match left {
                Some(left) => self.news.wait_timeout(ready, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(ready).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Whether the outcome of task `index` is there.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.ready().contains_key(&index)
    }

    /// Nobody wants what has not begun.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// A worker spent `nanos` on `n` items.
    pub(crate) fn measured(&self, n: usize, nanos: u64) {
        let new = (nanos / n.max(1) as u64).max(1);
        let old = self.nanos.load(Ordering::Relaxed);
        // Lost updates between workers do no harm: it is an estimate.
        self.nanos.store(if old == 0 { new } else { (3 * old + new) / 4 }, Ordering::Relaxed);
    }

    /// Nanoseconds per item, once known.
    pub(crate) fn nanos_per_item(&self) -> Option<u64> {
        Some(self.nanos.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0)
    }

    fn ready(&self) -> MutexGuard<'_, BTreeMap<usize, Outcome>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
