//! What the pool and a worker say to each other, over the worker's private pipe and its journal.

use std::ops::Range;
use std::sync::Arc;

use procession_codec::{Bytes, Codec, Descriptor, Message, Postcard, handles};
use procession_process::{Panic, catch_panic};
use procession_sys::OsError;
use procession_sys::image::FunctionToken;
use procession_sys::memory::Memfd;
use serde::{Deserialize, Serialize};

use crate::context::ContextRef;
use crate::insights::stopwatch::Marks;
use crate::origin::Extra;
use crate::setup::Broken;

/// Longest block of bytes that travels inside a message; longer ones travel in sealed memory, so that a message always
/// fits into the kernel's buffer and the pool never waits for a worker to read.
const INLINE: usize = 32 << 10;

/// Bytes on their way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Parcel {
    /// Here.
    Inline(Bytes),
    /// In sealed memory.
    Memory(Descriptor),
}

impl Parcel {
    pub(crate) fn pack(bytes: Vec<u8>) -> Result<Self, OsError> {
        if bytes.len() <= INLINE {
            return Ok(Self::Inline(bytes.into()));
        }
        Ok(Self::Memory(Memfd::from_bytes("procession-parcel", &bytes)?.into_fd().into()))
    }

    pub(crate) fn unpack(self) -> Result<Vec<u8>, OsError> {
        match self {
            Self::Inline(bytes) => Ok(bytes.into_vec()),
            Self::Memory(memory) => {
                Memfd::adopt(memory.into_owned().map_err(|e| OsError::new("taking a parcel", e))?)?.read_all()
            }
        }
    }
}

/// Where one item of a job lies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Its bytes in the parcel.
    pub(crate) bytes: Range<usize>,
    /// Its descriptors.
    pub(crate) descriptors: Range<usize>,
}

/// One function, to be called with each of a few arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which; never 0, never repeated in one pool.
    pub(crate) number: u64,
    /// A function token.
    pub(crate) function: Bytes,
    pub(crate) items: Vec<Item>,
    pub(crate) parcel: Parcel,
    pub(crate) descriptors: Vec<Descriptor>,
    /// Whether the pool asks when each item began.
    pub(crate) is_timed: bool,
    /// Which attempt at its items this is, from 1.
    pub(crate) attempt: u32,
    /// How many of the items to run; the rest is for others. 0: the worker is to end.
    pub(crate) n_now: usize,
    /// What else belongs to it.
    pub(crate) extra: Extra,
}

impl Job {
    /// What tells a worker to end.
    pub(crate) fn farewell() -> Self {
        let (function, parcel) = (Bytes::default(), Parcel::Inline(Bytes::default()));
        let (items, descriptors) = (Vec::new(), Vec::new());
        let extra = Extra::default();
        Self { number: 0, function, items, parcel, descriptors, is_timed: false, attempt: 0, n_now: 0, extra }
    }
}

impl Job {
    /// What wakes a worker, and is no job: one is in its lane.
    pub(crate) fn bell() -> Self {
        Self { number: u64::MAX, ..Self::farewell() }
    }

    pub(crate) fn is_bell(&self) -> bool {
        self.number == u64::MAX
    }

    /// What tells a worker that nobody needs these contexts any more.
    pub(crate) fn forget(contexts: Vec<u128>) -> Self {
        let mut job = Self::farewell();
        job.extra.forget = contexts;
        job
    }

    /// The same job, for another run.
    pub(crate) fn again(&self) -> Self {
        Self {
            function: self.function.clone(),
            items: self.items.clone(),
            parcel: self.parcel.clone(),
            descriptors: self.descriptors.clone(),
            extra: self.extra.clone(),
            ..*self
        }
    }
}

/// What came of one item, in the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The encoded value.
    Value(Bytes),
    /// The task panicked.
    Panicked(Panic),
    /// The argument did not decode.
    BadArgument(String),
    /// The value did not encode, or memory for it was missing.
    BadResult(String),
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It asks for jobs from now on; the initializer, if there is one, has done its work.
    Ready,
    /// The initializer has failed: the worker ends.
    NotSetUp(Broken),
    /// Answers that do not fit into the journal: those of the items from `first` on, encoded one after the other.
    /// The descriptors belong to the last of them.
    Answers {
        /// Of which job.
        job: u64,
        /// Index of the first item answered here.
        first: u64,
        /// How many.
        n: u64,
        /// Length (4 bytes, little-endian) and encoded [`Answer`] of each.
        parcel: Parcel,
        /// Handles in the last value.
        descriptors: Vec<Descriptor>,
    },
    /// Nothing but that it has said something in its lane.
    Bell,
}

/// What a task's shim finds and leaves.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) input: Arc<Vec<u8>>,
    pub(crate) bytes: Range<usize>,
    pub(crate) descriptors: Vec<std::os::fd::OwnedFd>,
    pub(crate) context: Option<ContextRef>,
    pub(crate) answer: Option<(Answer, Option<handles::Outgoing>)>,
    /// The clock at the bounds of the task, if it is timed.
    pub(crate) marks: Option<Marks>,
}

/// The token of a task.
pub(crate) fn token<A: Message, R: Message>(task: fn(A) -> R) -> [u8; 40] {
    FunctionToken::<Call>::of(task, shim).to_bytes()
}

/// Decodes the argument, calls the task, encodes what it returns.
fn shim<A: Message, R: Message>(task: fn(A) -> R, call: &mut Call) {
    let descriptors = std::mem::take(&mut call.descriptors);
    let bytes = call.input.get(call.bytes.clone()).unwrap_or_default();
    // Decoding and encoding run code of the user as well.
    let marks = &mut call.marks;
    let answer = catch_panic(|| match handles::supply(descriptors, || Postcard::decode::<A>(bytes)) {
        Ok(argument) => {
            Marks::decoded(marks);
            let value = task(argument);
            Marks::returned(marks);
            encode(&value)
        }
        Err(e) => (Answer::BadArgument(e.to_string()), None),
    });
    call.answer = Some(answer.unwrap_or_else(|panic| (Answer::Panicked(panic), None)));
}

pub(crate) fn encode<R: Message>(value: &R) -> (Answer, Option<handles::Outgoing>) {
    let mut bytes = Vec::new();
    match handles::collect(|| Postcard::encode_into(value, &mut bytes)) {
        Ok(((), handles)) => (Answer::Value(bytes.into()), (!handles.is_empty()).then_some(handles)),
        Err(e) => (Answer::BadResult(e.to_string()), None),
    }
}
