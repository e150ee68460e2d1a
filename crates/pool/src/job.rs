//! Work that waits: encoded arguments of one function, and where their outcomes go.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::{Codec, Descriptor, EncodeError, Message, Postcard, handles};
use procession_sys::OsError;

use crate::error::{SubmitError, TaskFailed, TaskId};
use crate::origin::Extra;
use crate::rules::Rules;
use crate::sink::{Outcome, Sink};
use crate::wire::{Item, Job, Parcel};

/// A job in the pool: waiting, or given to a worker.
#[derive(Debug)]
pub(crate) struct Order {
    /// What the worker gets; its number is set anew each time.
    pub(crate) job: Job,
    /// Task number of the job's first item.
    pub(crate) task: u64,
    /// The same item's index at the sink.
    pub(crate) index: usize,
    pub(crate) sink: Arc<Sink>,
    /// Items of the job as the worker was given it that have their outcome.
    pub(crate) n_settled: usize,
    /// How much it is to blame for the deaths of workers that were given it and did not begin it.
    pub(crate) blame: u32,
    /// Decided while a worker has it: what its first item gets once that worker has ended.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) rules: Rules,
    /// What became of earlier attempts. Then it has one item.
    pub(crate) attempts: Vec<TaskFailed>,
    /// How far the worker was when that was seen first.
    pub(crate) seen: Option<(u64, Instant)>,
}

/// Why we end a worker, for the sake of the item that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its user wants it no more. The order has this one item.
    Cancelled,
    /// It ran into its limit, or its worker did not get on with the order.
    TooSlow,
    /// Its worker has so many bytes in memory, which is more than it may.
    TooLarge(u64),
}

impl Order {
    pub(crate) fn new(mut job: Job, task: u64, index: usize, sink: &Arc<Sink>, rules: Rules) -> Self {
        job.is_timed = rules.timeout.is_some();
        let sink = Arc::clone(sink);
        Self {
            job,
            task,
            index,
            sink,
            n_settled: 0,
            blame: 0,
            verdict: None,
            rules,
            attempts: Vec::new(),
            seen: None,
        }
    }

    /// Takes away the first `n` items: they have their outcomes.
    pub(crate) fn advance(&mut self, n: usize) {
        let gone = self.job.items.drain(..n);
        let descriptors: usize = gone.map(|item| item.descriptors.len()).sum();
        self.job.descriptors.drain(..descriptors);
        self.task += n as u64;
        self.index += n;
        self.n_settled += n;
        self.job.extra.n_killed = 0;
    }

    /// Whether its worker begins no further item, since we end it for the one that it runs.
    pub(crate) fn is_condemned(&self) -> bool {
        matches!(self.verdict, Some(Verdict::TooSlow | Verdict::TooLarge(_)))
    }

    /// The limit that the worker was ended for, if it was.
    pub(crate) fn slow_limit(&self) -> Option<Duration> {
        self.rules.timeout.filter(|_| self.verdict == Some(Verdict::TooSlow))
    }

    /// An attempt at the first item cost its worker: either it is to be tried again, as the order that this answers, or it
    /// has its outcome.
    pub(crate) fn fail_attempt(&mut self, failure: TaskFailed) -> Option<Self> {
        let Rules { retries, poison_after, .. } = self.rules;
        if retries == 0 {
            self.settle(vec![Err(failure)]);
            return None;
        }
        let mut first = self.split_first()?;
        first.attempts.push(failure);
        let died = |failure: &&TaskFailed| matches!(failure, TaskFailed::WorkerDied { .. });
        let is_poison = first.attempts.iter().filter(died).count() >= poison_after.max(1) as usize;
        let n_attempts = first.attempts.len();
        let has_left = n_attempts <= retries as usize;
        if has_left && !is_poison {
            first.job.attempt = u32::try_from(n_attempts + 1).unwrap_or(u32::MAX);
            return Some(first);
        }
        let task = first.attempts[0].task().clone();
        let attempts = std::mem::take(&mut first.attempts).into();
        first.settle(vec![Err(TaskFailed::GivenUp { task, is_poison: is_poison && has_left, attempts })]);
        None
    }

    /// Takes the first item away, as an order of its own.
    fn split_first(&mut self) -> Option<Self> {
        let item = self.job.items.first()?.clone();
        let job = Job {
            number: 0,
            function: self.job.function.clone(),
            parcel: self.job.parcel.clone(),
            descriptors: self.job.descriptors.iter().take(item.descriptors.len()).cloned().collect(),
            items: vec![item],
            extra: self.job.extra.clone(),
            ..self.job
        };
        let mut first = Self::new(job, self.task, self.index, &self.sink, self.rules);
        first.attempts = std::mem::take(&mut self.attempts);
        first.job.extra.n_killed = 0;
        self.advance(1);
        Some(first)
    }

    /// Delivers the outcomes of the first items, as many as there are, and takes them away.
    pub(crate) fn settle(&mut self, outcomes: Vec<Outcome>) {
        let n = outcomes.len().min(self.job.items.len());
        if n > 0 {
            self.sink.deliver(self.index, outcomes);
            self.advance(n);
        }
    }

    /// Gives every item left the same failure; a cancelled one stays cancelled.
    pub(crate) fn fail(mut self, pool: &Arc<str>, failure: impl Fn(TaskId) -> TaskFailed) {
        let ids = (self.task..).take(self.job.items.len());
        let is_cancelled = self.verdict == Some(Verdict::Cancelled);
        let failure = |task| if is_cancelled { TaskFailed::Cancelled { task } } else { failure(task) };
        let outcomes = ids.map(|number| Err(failure(TaskId { pool: Arc::clone(pool), number }))).collect();
        self.settle(outcomes);
    }
}

/// Collects encoded arguments until they make a job.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    bytes: Vec<u8>,
    items: Vec<Item>,
    descriptors: Vec<Descriptor>,
}

/// Why an argument was not packed.
#[derive(Debug)]
pub(crate) enum PackError {
    Encode(EncodeError),
    Os(OsError),
}

impl PackError {
    /// The same error, for another item.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Encode(e) => Self::Encode(e.clone()),
            Self::Os(e) => Self::Os(OsError::new("packing a context", std::io::Error::other(e.to_string()))),
        }
    }

    pub(crate) fn into_submit(self) -> SubmitError {
        match self {
            Self::Encode(e) => SubmitError::Argument(e),
            Self::Os(e) => SubmitError::Os(e),
        }
    }
}

impl Packing {
    /// The bytes and descriptors of one value by itself.
    pub(crate) fn alone<A: Message>(value: &A) -> Result<(Vec<u8>, Vec<Descriptor>), PackError> {
        let mut packing = Self::default();
        packing.push(value)?;
        Ok((packing.bytes, packing.descriptors))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Encodes one more argument. Unique handles in it move now: the pool keeps them.
    pub(crate) fn push<A: Message>(&mut self, argument: &A) -> Result<(), PackError> {
        let start = self.bytes.len();
        let ((), handles) = handles::collect(|| Postcard::encode_into(argument, &mut self.bytes))
            .map_err(PackError::Encode)?;
        let first = self.descriptors.len();
        for descriptor in handles.descriptors() {
            match descriptor.as_fd().try_clone_to_owned() {
                Ok(copy) => self.descriptors.push(copy.into()),
                Err(e) => {
                    self.bytes.truncate(start);
                    self.descriptors.truncate(first);
                    return Err(PackError::Os(OsError::new("duplicating a handle of an argument", e)));
                }
            }
        }
        handles.commit();
        self.items.push(Item { bytes: start..self.bytes.len(), descriptors: first..self.descriptors.len() });
        Ok(())
    }

    /// The job of what was packed.
    pub(crate) fn finish(self, function: [u8; 40]) -> Result<Job, OsError> {
        Ok(Job {
            number: 0,
            function: function.to_vec().into(),
            items: self.items,
            parcel: Parcel::pack(self.bytes)?,
            descriptors: self.descriptors,
            is_timed: false,
            attempt: 1,
            n_now: 0,
            extra: Extra::default(),
        })
    }
}
