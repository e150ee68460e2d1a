//! Where outcomes go: a task's handle, or the buffer of a map.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use procession_codec::{Codec, Message, Postcard, handles};
use procession_sys::Deadline;

use crate::error::{TaskFailed, TaskId};
use crate::notice::Notice;
use crate::slots::Slots;

/// A value as it arrived, not yet decoded.
#[derive(Debug)]
pub(crate) struct Value {
    /// Number of its task.
    pub(crate) task: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Value {
    /// Decodes what a task of `pool` returned.
    pub(crate) fn decode<R: Message>(self, pool: &Arc<str>) -> Result<R, TaskFailed> {
        let task = || TaskId { pool: Arc::clone(pool), number: self.task };
        handles::supply(self.descriptors, || Postcard::decode(&self.bytes))
            .map_err(|error| TaskFailed::ResultNotDecoded { task: task(), error })
    }
}

/// What became of one task.
pub(crate) type Outcome = Result<Value, TaskFailed>;

/// Outcomes by the index of their task, and who waits for them. A single task is the map of one item.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    inbox: Mutex<Inbox>,
    news: Condvar,
    cancelled: AtomicBool,
    /// Time per item as last measured, in nanoseconds; 0: not yet.
    nanos: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    outcomes: Slots,
    /// Who asks by index asks for each once, in order: below this all were taken.
    taken_below: usize,
    /// Outcomes that have ever been delivered, and those of them that were failures.
    n_delivered: usize,
    n_failed: usize,
    /// Who is told of the next outcome that comes, or goes, each by a key of its own.
    notices: BTreeMap<u64, Notice>,
    next_key: u64,
    /// Threads that wait here.
    n_waiting: usize,
}

/// What came of waiting.
pub(crate) enum Taken {
    /// The outcome, and its index.
    Outcome(usize, Outcome),
    /// More outcomes were delivered than were known.
    News,
    /// Nothing in time, or another has taken it.
    Nothing,
}

impl Sink {
    /// Takes the outcomes of the tasks from `first` on.
    pub(crate) fn deliver(&self, first: usize, outcomes: Vec<Outcome>) {
        let mut inbox = self.inbox();
        inbox.n_delivered += outcomes.len();
        inbox.n_failed += outcomes.iter().filter(|outcome| outcome.is_err()).count();
        inbox.outcomes.put(first, outcomes);
        let notices = std::mem::take(&mut inbox.notices);
        self.tell_waiting(inbox);
        notices.into_values().for_each(Notice::post);
    }

    /// Waits for the outcome of task `index`, or with `None` for that of any; answers index and outcome. `None` at the
    /// deadline, and as soon as the outcome asked for was taken by another.
    pub(crate) fn take(&self, index: Option<usize>, deadline: Deadline) -> Option<(usize, Outcome)> {
        match self.take_or_news(index, None, deadline) {
            Taken::Outcome(index, outcome) => Some((index, outcome)),
            Taken::News | Taken::Nothing => None,
        }
    }

    /// How many outcomes have been delivered, and how many of them are failures.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inbox = self.inbox();
        (inbox.n_delivered, inbox.n_failed)
    }

    /// [`take`](Self::take), unless more than `known` outcomes have been delivered.
    pub(crate) fn take_or_news(
        &self,
        index: Option<usize>,
        known: Option<usize>,
        deadline: Deadline,
    ) -> Taken {
        loop {
            let (taken, inbox) = self.take_now(index, known);
            if let Some(taken) = taken {
                return taken;
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return Taken::Nothing;
            }
            let Some(mut inbox) = inbox else { return Taken::Nothing };
            inbox.n_waiting += 1;
            let mut inbox = match left {
                Some(left) => self.news.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(inbox).unwrap_or_else(PoisonError::into_inner),
            };
            inbox.n_waiting -= 1;
        }
    }

    /// [`take_or_news`](Self::take_or_news), if it need not wait; else the lock.
    pub(crate) fn take_now(
        &self,
        index: Option<usize>,
        known: Option<usize>,
    ) -> (Option<Taken>, Option<MutexGuard<'_, Inbox>>) {
        let mut inbox = self.inbox();
        if known.is_some_and(|known| known != inbox.n_delivered) {
            return (Some(Taken::News), None);
        }
        if index.is_some_and(|index| index < inbox.taken_below) {
            return (Some(Taken::Nothing), None);
        }
        let Some(taken) = inbox.take(index) else { return (None, Some(inbox)) };
        let notices = std::mem::take(&mut inbox.notices);
        // Whoever waits for the same one waits in vain.
        self.tell_waiting(inbox);
        notices.into_values().for_each(Notice::deliver);
        (Some(Taken::Outcome(taken.0, taken.1)), None)
    }

    /// Wakes who waits here: a system call, if there is anybody.
    fn tell_waiting(&self, inbox: MutexGuard<'_, Inbox>) {
        let is_waited_for = inbox.n_waiting > 0;
        drop(inbox);
        if is_waited_for {
            self.news.notify_all();
        }
    }

    /// Whether [`take_or_news`](Self::take_or_news) would not wait.
    pub(crate) fn has_news(&self, index: Option<usize>, known: Option<usize>) -> bool {
        let inbox = self.inbox();
        known.is_some_and(|known| known != inbox.n_delivered)
            || index.map_or(!inbox.outcomes.is_empty(), |index| {
                index < inbox.taken_below || inbox.outcomes.has(index)
            })
    }

    /// Whether the outcome of task `index` is there.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.inbox().outcomes.has(index)
    }

    /// The failure of task `index`, if it is there: it stays.
    pub(crate) fn failure(&self, index: usize) -> Option<TaskFailed> {
        self.inbox().outcomes.get(index)?.as_ref().err().cloned()
    }

    /// Whether the outcome of task `index` is there, or was.
    pub(crate) fn is_settled(&self, index: usize) -> bool {
        let inbox = self.inbox();
        index < inbox.taken_below || inbox.outcomes.has(index)
    }

    /// How many outcomes are there.
    pub(crate) fn len(&self) -> usize {
        self.inbox().outcomes.len()
    }

    /// Whether the outcome of task `index` was taken. Only for who asks by index.
    #[cfg(feature = "async")]
    pub(crate) fn is_taken(&self, index: usize) -> bool {
        index < self.inbox().taken_below
    }

    /// Tells of the next news of this sink, if task `index` has no outcome and had none; the key to have no news after all.
    /// Else the notice comes back.
    pub(crate) fn watch(&self, index: usize, notice: Notice) -> Result<u64, Notice> {
        let mut inbox = self.inbox();
        if index < inbox.taken_below || inbox.outcomes.has(index) {
            return Err(notice);
        }
        let key = inbox.next_key;
        inbox.next_key += 1;
        inbox.notices.insert(key, notice);
        Ok(key)
    }

    #[cfg(test)]
    pub(crate) fn n_notices(&self) -> usize {
        self.inbox().notices.len()
    }

    /// No news for `key` any more.
    pub(crate) fn unwatch(&self, key: u64) {
        let notice = self.inbox().notices.remove(&key);
        drop(notice);
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
        self.nanos.store(if old == 0 { new } else { old / 4 * 3 + new / 4 + 1 }, Ordering::Relaxed);
    }

    /// Nanoseconds per item, once known.
    pub(crate) fn nanos_per_item(&self) -> Option<u64> {
        Some(self.nanos.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn take(&mut self, index: Option<usize>) -> Option<(usize, Outcome)> {
        let Some(index) = index else { return self.outcomes.pop_first() };
        let outcome = self.outcomes.remove(index)?;
        self.taken_below = index + 1;
        Some((index, outcome))
    }
}
