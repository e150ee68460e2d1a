//! Read-only objects that many tasks use: encoded once, decoded once in each worker, and kept there.
//!
//! The encoded object lies in sealed memory, whose descriptor travels with every job that needs it: so any worker can run
//! any job, also one that was started since. A worker keeps the last [`KEPT`] objects it decoded.
//!
//! Each job, and the handle of the user, holds a lease. With the last of them the object's number goes on a list, and with
//! the next job, or at once to who is idle, workers are told to let it go. Held by `tests/suite/contexts.rs`.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use procession_codec::{Codec, Descriptor, Message, Postcard, handles};
use procession_process::catch_panic;
use procession_sys::image::{FunctionToken, Two};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::random;
use serde::{Deserialize, Serialize};

use crate::error::{SubmitError, TaskFailed};
use crate::job::{PackError, Packing};
use crate::origin::{Extra, Origin};
use crate::par::ParProcs;
use crate::pool::Pool;
use crate::rules::TaskOptions;
use crate::task::Task;
use crate::wire::{self, Answer, Call};

/// How many decoded contexts a worker keeps.
const KEPT: usize = 4;

/// A context as it travels with a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContextRef {
    id: u128,
    memory: Descriptor,
    handles: Vec<Descriptor>,
    #[serde(skip)]
    _lease: Option<Arc<Lease>>,
}

/// Whoever has one needs the context.
#[derive(Debug)]
struct Lease {
    id: u128,
    released: Released,
}

/// Contexts that nobody needs any more.
pub(crate) type Released = Arc<Mutex<Vec<u128>>>;

impl Drop for Lease {
    fn drop(&mut self) {
        self.released.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
    }
}

impl ContextRef {
    fn new<C: Message>(context: &C, released: Released) -> Result<Self, PackError> {
        let (bytes, handles) = Packing::alone(context)?;
        let memory = Memfd::from_bytes("procession-context", &bytes).map_err(PackError::Os)?;
        let id = random::number().map_err(PackError::Os)?;
        let _lease = Some(Arc::new(Lease { id, released }));
        Ok(Self { id, memory: memory.into_fd().into(), handles, _lease })
    }

    /// A context that was encoded before, for one call.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self, PackError> {
        let memory = Memfd::from_bytes("procession-context", bytes).map_err(PackError::Os)?;
        let id = random::number().map_err(PackError::Os)?;
        Ok(Self { id, memory: memory.into_fd().into(), handles: Vec::new(), _lease: None })
    }

    /// Its encoded bytes; `None` if it has handles, or cannot be read.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        if !self.handles.is_empty() {
            return None;
        }
        Memfd::adopt(self.memory.as_fd().try_clone_to_owned().ok()?).ok()?.read_all().ok()
    }

    /// The same, for an error that may be kept for long: workers need not keep the object for it.
    pub(crate) fn without_lease(&self) -> Self {
        Self { _lease: None, ..self.clone() }
    }

    pub(crate) fn n_handles(&self) -> usize {
        self.handles.len()
    }

    fn decode<C: Message>(self) -> Result<C, String> {
        let text = |e: &dyn fmt::Display| format!("the context: {e}");
        let memory = self.memory.into_owned().map_err(|e| text(&e))?;
        let memory = Memfd::adopt(memory).map_err(|e| text(&e))?;
        let map = Mapping::read_only(&memory).map_err(|e| text(&e))?;
        let bytes = map.as_slice().ok_or("the context: its memory can still change")?;
        let handles = self.handles.into_iter().map(Descriptor::into_owned).collect::<Result<_, _>>();
        let handles = handles.map_err(|e| text(&e))?;
        handles::supply(handles, || Postcard::decode::<C>(bytes)).map_err(|e| text(&e))
    }
}

thread_local! {
    /// Decoded contexts, the one used last at the end.
    static DECODED: RefCell<VecDeque<(u128, Rc<dyn Any>)>> = const { RefCell::new(VecDeque::new()) };
}

/// The object behind a reference, decoded now if it was not yet.
fn object<C: Message + 'static>(context: Option<ContextRef>) -> Result<Rc<C>, String> {
    let context = context.ok_or("the context: it did not come with the job")?;
    let id = context.id;
    let known = DECODED.with_borrow_mut(|decoded| {
        let at = decoded.iter().position(|(known, _)| *known == id)?;
        decoded.remove(at)
    });
    let known = match known.map(|(_, object)| object.downcast::<C>()) {
        Some(Ok(object)) => object,
        _ => Rc::new(context.decode()?),
    };
    let kept: Rc<dyn Any> = Rc::clone(&known) as _;
    let last = DECODED.with_borrow_mut(|decoded| {
        decoded.push_back((id, kept));
        if decoded.len() > KEPT { decoded.pop_front() } else { None }
    });
    // Its destructor is code of the user, and may use contexts.
    drop(last);
    Ok(known)
}

/// Worker: nobody needs these any more.
pub(crate) fn forget(ids: &[u128]) {
    for id in ids {
        let forgotten = DECODED.with_borrow_mut(|decoded| {
            let at = decoded.iter().position(|(known, _)| known == id)?;
            decoded.remove(at)
        });
        // A panic in a destructor has been printed.
        let _ = catch_panic(|| drop(forgotten));
    }
}

/// Decodes the argument, calls the task with the context, encodes what it returns.
fn shim<C: Message + 'static, A: Message, R: Message>(task: Two<C, A, R>, call: &mut Call) {
    let descriptors = std::mem::take(&mut call.descriptors);
    let bytes = call.input.get(call.bytes.clone()).unwrap_or_default();
    let context = call.context.take();
    let answer = catch_panic(|| {
        let context = object::<C>(context)?;
        let argument = handles::supply(descriptors, || Postcard::decode::<A>(bytes));
        Ok(wire::encode(&task(&context, argument.map_err(|e| e.to_string())?)))
    });
    call.answer = Some(match answer {
        Ok(answer) => answer.unwrap_or_else(|e| (Answer::BadArgument(e), None)),
        Err(panic) => (Answer::Panicked(panic), None),
    });
}

pub(crate) fn token<C: Message + 'static, A: Message, R: Message>(task: Two<C, A, R>) -> [u8; 40] {
    FunctionToken::<Call>::of_two(task, shim).to_bytes()
}

/// A pool together with a read-only object that its tasks get by reference: [`Pool::with`].
///
/// The object is encoded once, when this is made, and decoded once in each worker that runs such a task: whatever it costs,
/// tasks cost no more for it. A worker keeps the last four it has used. When this is dropped and the last task with it is
/// done, workers let the object go.
///
/// Whether it encodes is told by the first task: as [`SubmitError::Argument`], or [`TaskFailed::Argument`] of each item.
/// Where it does not decode, tasks get [`TaskFailed::ArgumentNotDecoded`].
///
/// # If a worker dies
/// The one that takes its place gets the object with its first task.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{ParProcs, Pool};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Model(Vec<f32>);
///
/// fn score(model: &Model, x: f32) -> f32 {
///     model.0[0] * x
/// }
///
/// let pool = Pool::new(2)?;
/// let model = pool.with(&Model(vec![2.0]));
/// assert_eq!(model.map(score, [1.0, 2.0])?, [2.0, 4.0]);
/// assert_eq!(model.submit(score, 8.0)?.get()?, 16.0);
/// for scored in [1.5, 2.5].par_procs(&pool).unordered().map_with(&model, score) {
///     assert!(scored? >= 3.0);
/// }
/// # Ok(()) }
/// ```
pub struct With<'p, C> {
    pool: &'p Pool,
    /// `Some`, except in the drop.
    context: Option<Result<ContextRef, PackError>>,
    types: PhantomData<fn(&C)>,
}

impl<'p, C: Message + 'static> With<'p, C> {
    pub(crate) fn new(pool: &'p Pool, context: &C) -> Self {
        let released = Arc::clone(&pool.shared().crew().released);
        let context = Some(ContextRef::new(context, released));
        Self { pool, context, types: PhantomData }
    }

    /// Runs `task(context, argument)` in a worker; as [`Pool::submit`].
    pub fn submit<A: Message, R: Message>(
        &self,
        task: fn(&C, A) -> R,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        self.submit_with(TaskOptions::new(), task, argument)
    }

    /// [`submit`](Self::submit) with a time limit and so on of its own.
    pub fn submit_with<A: Message, R: Message>(
        &self,
        options: TaskOptions,
        task: fn(&C, A) -> R,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        let extra = self.extra(task).map_err(PackError::into_submit)?;
        self.pool.submit_job(options, token(task), extra, argument)
    }

    /// Runs `task` on every item and returns the values in order; as [`Pool::map`].
    pub fn map<A: Message, R: Message>(
        &self,
        task: fn(&C, A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskFailed> {
        items.par_procs(self.pool).map_with(self, task).collect()
    }

    /// What goes along with jobs of `task`.
    pub(crate) fn extra<A, R>(&self, task: fn(&C, A) -> R) -> Result<Extra, PackError> {
        let origin = Origin::of_two(task);
        match &self.context {
            Some(Ok(context)) => Ok(Extra { origin, context: Some(context.clone()), ..Extra::default() }),
            Some(Err(e)) => Err(e.again()),
            None => Ok(Extra { origin, ..Extra::default() }),
        }
    }
}

impl<C> Drop for With<'_, C> {
    fn drop(&mut self) {
        self.context = None;
        self.pool.shared().let_go();
    }
}

impl<C> fmt::Debug for With<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_encoded = matches!(self.context, Some(Ok(_)));
        f.debug_struct("With").field("pool", self.pool).field("encoded", &is_encoded).finish_non_exhaustive()
    }
}
