//! Pools without workers: tasks run in the thread that asks for them, one after the other, for debuggers and coverage.
//!
//! Arguments and values are encoded and decoded as ever, so that what does not travel fails here too. A thread that runs
//! tasks is as one worker: it has a state of its own, made by the initializer before its first task of the pool.
//!
//! No lock is held while a task runs: tasks may use the pool they run in.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use procession_codec::Descriptor;
use procession_process::{Who, record_panics};
use procession_sys::image::{Function, FunctionToken};

use crate::current;
use crate::error::{TaskFailed, TaskId};
use crate::report::Report;
use crate::rules::Rules;
use crate::setup::{self, InitializerFailure, Setup};
use crate::sink::{Outcome, Sink, Value};
use crate::wire::{Answer, Call, Job};

/// The variable that makes all pools serial.
pub(crate) const SWITCH: &str = "PROCESSION_SERIAL";

/// Whether the environment asks for it.
pub(crate) fn is_asked_for() -> bool {
    std::env::var_os(SWITCH).is_some_and(|value| value == "1")
}

/// What runs the tasks of a pool without workers.
#[derive(Debug)]
pub(crate) struct Serial {
    /// Which pool of this process.
    key: u64,
    pool: Arc<str>,
    setup: Option<Arc<Setup>>,
}

/// A state that an initializer made.
type State = Option<Box<dyn Any>>;

thread_local! {
    /// States of serial pools that run nothing in this thread now.
    static ROOMS: RefCell<BTreeMap<u64, State>> = const { RefCell::new(BTreeMap::new()) };
    /// The pools whose tasks run now, one inside of the other.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The tasks of one submission.
pub(crate) struct Batch<'a> {
    /// Number of the first.
    pub(crate) task: u64,
    /// Index of the first at the sink.
    pub(crate) index: usize,
    pub(crate) sink: &'a Sink,
    pub(crate) rules: Rules,
}

impl Serial {
    pub(crate) fn new(pool: &Arc<str>, setup: Option<Arc<Setup>>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        record_panics();
        Self { key: NEXT.fetch_add(1, Relaxed), pool: Arc::clone(pool), setup }
    }

    /// What errors call this process.
    pub(crate) fn who(&self) -> Who {
        Who { name: format!("{}-serial", self.pool), pid: std::process::id() }
    }

    /// Makes the state of this thread, if there is to be one.
    pub(crate) fn open(&self) -> Result<(), InitializerFailure> {
        self.enter().map(drop)
    }

    /// Ends the state of this thread, if there is one.
    pub(crate) fn close(&self) {
        let Some(state) = ROOMS.with_borrow_mut(|rooms| rooms.remove(&self.key)) else { return };
        let _room = Room { key: None, before: setup::swap(state) };
        setup::close(self.setup.as_ref().and_then(|setup| setup.close.as_ref()).map(|token| &token[..]));
    }

    /// Runs every item, and delivers its outcome.
    pub(crate) fn run(&self, mut job: Job, batch: &Batch<'_>) {
        let room = self.enter();
        let token = job.function.as_ref().try_into().ok();
        let function = token.and_then(|token| FunctionToken::<Call>::from_bytes(token).resolve());
        let input = job.parcel.clone().unpack().map(Arc::new);
        let mut descriptors = std::mem::take(&mut job.descriptors).into_iter();
        for (i, number) in (0..job.items.len()).zip(batch.task..) {
            let task = TaskId { pool: Arc::clone(&self.pool), number };
            let of_item = descriptors.by_ref().take(job.items[i].descriptors.len());
            let of_item = of_item.map(Descriptor::into_owned).collect::<Result<Vec<_>, _>>();
            let refuse =
                |reason: String| Err(TaskFailed::NoWorker { task: task.clone(), reason: reason.into() });
            let outcome = match (&room, &function, &input, of_item) {
                (Err(e), ..) => refuse(format!("initializing {}: {e}", self.who())),
                (_, None, ..) => refuse("a function of another program".into()),
                (.., Err(e), _) => refuse(e.to_string()),
                (.., Err(e)) => refuse(e.to_string()),
                (_, Some(function), Ok(input), Ok(of_item)) => {
                    let call = call(&job, input, job.items[i].bytes.clone(), of_item);
                    self.outcome(run_one(function, call, 1), task, &job, i, batch.rules)
                }
            };
            batch.sink.deliver(batch.index + i, vec![outcome]);
        }
    }

    fn outcome(&self, done: Done, task: TaskId, job: &Job, index: usize, rules: Rules) -> Outcome {
        let report = || Box::new(Report::inline(self.who(), job, index, rules, self.setup.clone()));
        match done {
            Ok((bytes, descriptors)) => Ok(Value { task: task.number, bytes, descriptors }),
            Err(Answer::Panicked(panic)) => {
                let panic = Box::new(panic);
                Err(TaskFailed::Panicked { task, worker: self.who(), panic, report: report() })
            }
            Err(Answer::BadArgument(error)) => {
                Err(TaskFailed::ArgumentNotDecoded { task, error, report: report() })
            }
            Err(Answer::BadResult(error)) => {
                Err(TaskFailed::ResultNotEncoded { task, error, report: report() })
            }
            Err(Answer::Value(_)) => {
                let error = "its handles could not be duplicated".into();
                Err(TaskFailed::ResultNotEncoded { task, error, report: report() })
            }
        }
    }

    /// This thread runs tasks of this pool until the answer is dropped.
    fn enter(&self) -> Result<Option<Room>, InitializerFailure> {
        if INSIDE.with_borrow(|inside| inside.last() == Some(&self.key)) {
            // A task inside of a task has the same state.
            return Ok(None);
        }
        let known = ROOMS.with_borrow_mut(|rooms| rooms.remove(&self.key));
        let is_new = known.is_none();
        INSIDE.with_borrow_mut(|inside| inside.push(self.key));
        let room = Room { key: Some(self.key), before: setup::swap(known.flatten()) };
        if let Some(setup) = self.setup.as_ref().filter(|_| is_new) {
            let opened = setup::open(setup.job.again());
            let failed = match opened {
                Ok(Ok(())) => return Ok(Some(room)),
                Ok(Err(broken)) => broken.into(),
                Err(e) => InitializerFailure::ArgumentNotDecoded(e),
            };
            // Nothing is kept: the next task tries again.
            return Err(failed);
        }
        Ok(Some(room))
    }
}

/// A state is in its place; dropped, the one before is again.
struct Room {
    /// Whose state it is; `None`: it is not kept.
    key: Option<u64>,
    before: State,
}

impl Drop for Room {
    fn drop(&mut self) {
        let ours = setup::swap(self.before.take());
        if let Some(key) = self.key {
            INSIDE.with_borrow_mut(Vec::pop);
            if ours.is_some() {
                ROOMS.with_borrow_mut(|rooms| rooms.insert(key, ours));
            }
        }
    }
}

fn call(job: &Job, input: &Arc<Vec<u8>>, bytes: Range<usize>, descriptors: Vec<OwnedFd>) -> Call {
    let context = job.extra.context.clone();
    Call { input: Arc::clone(input), bytes, descriptors, context, answer: None, marks: None }
}

/// The value's bytes and handles, or what came instead of them.
type Done = Result<(Vec<u8>, Vec<OwnedFd>), Answer>;

/// Runs one item as a worker does.
pub(crate) fn run_one(function: &Function<Call>, mut call: Call, attempt: u32) -> Done {
    let before = current::attempt();
    current::set_attempt(attempt);
    function.call(&mut call);
    current::set_attempt(before);
    match call.answer.take() {
        Some((Answer::Value(bytes), handles)) => {
            let handles = handles.unwrap_or_default();
            let copies = handles.descriptors().map(|d| d.try_clone_to_owned()).collect::<Result<_, _>>();
            let copies =
                copies.map_err(|e| Answer::BadResult(format!("duplicating a handle of the value: {e}")))?;
            handles.commit();
            Ok((bytes.into_vec(), copies))
        }
        Some((answer, _)) => Err(answer),
        None => Err(Answer::BadResult("the task left no answer".into())),
    }
}
