//! What each worker does before its first task and after its last, and the state that tasks find in between.
//!
//! The initializer travels as the first job of each worker. What it makes stays in the thread that runs the tasks.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use procession_codec::{Bytes, Codec, Descriptor, Message, Postcard, handles};
use procession_process::{Exit, Panic, TaskError, catch_panic};
use procession_sys::OsError;
use procession_sys::image::kept::OwnFile;
use procession_sys::image::{Function, FunctionToken};
use serde::{Deserialize, Serialize};

use crate::job::{PackError, Packing};
use crate::replay::{self, ReplayError};
use crate::wire::Job;

thread_local! {
    static STATE: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Calls `use_it` with what the pool's [initializer](crate::Builder::initializer) made in this worker. For tasks: the state
/// lives as long as the worker, and no two tasks run in one at a time.
///
/// # Panics
/// If the worker has no state of type `S`: there was no initializer, it made something else, or this is not the thread
/// that runs the task. In a call inside of a call. And if `use_it` does: the state stays as it is then.
pub fn with_state<S: 'static, R>(use_it: impl FnOnce(&mut S) -> R) -> R {
    let mut taken = Taken(STATE.take());
    let state = taken.0.as_mut().and_then(|state| state.downcast_mut());
    let Some(state) = state else {
        panic!("this worker has no state of type {}", std::any::type_name::<S>())
    };
    use_it(state)
}

/// The state while it is used. Elsewhere meanwhile, so that a pool inside of the call can have its own.
struct Taken(Option<Box<dyn Any>>);

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            let _ = STATE.try_with(|place| place.replace(Some(state)));
        }
    }
}

/// Puts another state into its place; answers the one before.
pub(crate) fn swap(state: Option<Box<dyn Any>>) -> Option<Box<dyn Any>> {
    STATE.replace(state)
}

/// Why an initializer did not do its work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InitializerFailure {
    /// It returned an error.
    Failed(Box<TaskError>),
    /// It panicked.
    Panicked(Box<Panic>),
    /// Its argument could not be decoded.
    ArgumentNotDecoded(String),
    /// The worker ended in it, or was killed meanwhile.
    Died(Exit),
    /// It took longer than the pool's [`start_timeout`](crate::Builder::start_timeout).
    TimedOut(Duration),
}

impl fmt::Display for InitializerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Panicked(panic) => panic.fmt(f),
            Self::ArgumentNotDecoded(error) => write!(f, "its argument could not be decoded: {error}"),
            Self::Died(exit) => write!(f, "the worker {exit}"),
            Self::TimedOut(limit) => write!(f, "it took longer than {limit:?}"),
        }
    }
}

/// Why an initializer did not do its work, as the worker tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Broken {
    Failed(TaskError),
    Panicked(Panic),
    Argument(String),
}

impl From<Broken> for InitializerFailure {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(error) => Self::Failed(Box::new(error)),
            Broken::Panicked(panic) => Self::Panicked(Box::new(panic)),
            Broken::Argument(error) => Self::ArgumentNotDecoded(error),
        }
    }
}

/// An initializer and its argument, as every worker gets them.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) job: Job,
    /// What ends the state.
    pub(crate) close: Option<[u8; 40]>,
}

impl Setup {
    pub(crate) fn new<A: Message, S: 'static>(
        open: fn(A) -> Result<S, TaskError>,
        argument: &A,
        close: Option<fn(S)>,
    ) -> Result<Self, PackError> {
        let mut packing = Packing::default();
        packing.push(argument)?;
        let token = FunctionToken::<Opening>::of(open, open_shim).to_bytes();
        let close = close.map(|close| FunctionToken::<()>::of(close, close_shim).to_bytes());
        Ok(Self { job: packing.finish(token).map_err(PackError::Os)?, close })
    }
}

/// What the shim of an initializer finds and leaves.
struct Opening {
    input: Arc<Vec<u8>>,
    bytes: Range<usize>,
    descriptors: Vec<OwnedFd>,
    outcome: Result<(), Broken>,
}

fn open_shim<A: Message, S: 'static>(open: fn(A) -> Result<S, TaskError>, opening: &mut Opening) {
    let descriptors = std::mem::take(&mut opening.descriptors);
    let bytes = opening.input.get(opening.bytes.clone()).unwrap_or_default();
    let made = catch_panic(|| {
        let argument = handles::supply(descriptors, || Postcard::decode::<A>(bytes))
            .map_err(|e| Broken::Argument(e.to_string()))?;
        open(argument).map_err(Broken::Failed)
    });
    opening.outcome = made.unwrap_or_else(|panic| Err(Broken::Panicked(panic))).map(|state| {
        STATE.set(Some(Box::new(state)));
    });
}

fn close_shim<S: 'static>(close: fn(S), (): &mut ()) {
    if let Some(Ok(state)) = STATE.take().map(<Box<dyn Any>>::downcast) {
        close(*state);
    }
}

impl Setup {
    /// Function and argument, for a file.
    pub(crate) fn keep(&self) -> Result<(Bytes, Bytes), OsError> {
        let token: Result<&[u8; 40], _> = self.job.function.as_ref().try_into();
        let odd = || OsError::new("reading an initializer", std::io::ErrorKind::InvalidData);
        let kept = FunctionToken::<Opening>::from_bytes(token.map_err(|_| odd())?).keep()?;
        Ok((kept.to_vec().into(), self.job.parcel.clone().unpack()?.into()))
    }
}

/// An initializer that a file names.
#[derive(Debug)]
pub(crate) struct Restored(Function<Opening>);

pub(crate) fn restored(file: &OwnFile, bytes: &[u8]) -> Result<Restored, ReplayError> {
    replay::restore(file, bytes).map(Restored)
}

/// Runs it in the calling thread.
pub(crate) fn open_again(initializer: Restored, argument: Vec<u8>) -> Result<(), Broken> {
    let bytes = 0..argument.len();
    let mut opening = Opening { input: Arc::new(argument), bytes, descriptors: Vec::new(), outcome: Ok(()) };
    initializer.0.call(&mut opening);
    opening.outcome
}

/// Worker: runs the initializer that travelled as `job`. The outer error: the job makes no sense.
pub(crate) fn open(job: Job) -> Result<Result<(), Broken>, String> {
    let token: &[u8; 40] = job.function.as_ref().try_into().map_err(|_| "a token of the wrong length")?;
    let function = FunctionToken::<Opening>::from_bytes(token).resolve();
    let function = function.ok_or("a function of another program")?;
    let input = Arc::new(job.parcel.unpack().map_err(|e| e.to_string())?);
    let descriptors = job.descriptors.into_iter().map(Descriptor::into_owned).collect::<Result<_, _>>();
    let descriptors = descriptors.map_err(|e| e.to_string())?;
    let bytes = job.items.into_iter().next().map(|item| item.bytes).unwrap_or_default();
    let mut opening = Opening { input, bytes, descriptors, outcome: Ok(()) };
    function.call(&mut opening);
    Ok(opening.outcome)
}

/// Worker: calls what ends the state, if anything does, and lets the state go.
pub(crate) fn close(token: Option<&[u8]>) {
    let token = token.and_then(|token| token.try_into().ok());
    let function = token.and_then(|token| FunctionToken::<()>::from_bytes(token).resolve());
    // The worker ends in any case; a panic has been printed.
    let _ = catch_panic(|| {
        if let Some(function) = function {
            function.call(&mut ());
        }
        drop(STATE.take());
    });
}
