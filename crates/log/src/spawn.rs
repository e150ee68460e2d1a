//! The start of a child: what it is given, if this process collects records at all.
//!
//! Invariant: a process in which nobody asked for records of children gives them nothing, and neither does one whose
//! levels are all off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use procession_process::StartMethod;
use procession_process::companion::{Gift, at_spawn};
use procession_sys::OsError;

use crate::collector::Collector;
use crate::emit::Emitter;
use crate::frame::{Frame, Kind, Reader};
use crate::intake::Intake;
use crate::notice::OURS;
use crate::{outlet, ring};

/// How many bytes of records a child may be ahead of its parent, unless set otherwise.
const CAPACITY: usize = 1 << 20;

static CAPACITY_SET: AtomicUsize = AtomicUsize::new(CAPACITY);

/// Has children that this process starts from now on ship what they log, and theirs, to the loggers of this process.
///
/// [`layer`](crate::layer()), [`logger`](crate::logger()) and [`log_to_stderr`](crate::log_to_stderr()) do this by themselves;
/// this is for programs that install others and want no wrapper around them. Children that are [forked] keep the loggers of
/// this process, then, and write where these write.
///
/// [forked]: procession_process::StartMethod::Fork
///
/// ```
/// procession_log::collect();
/// ```
pub fn collect() {
    static IS_ON: AtomicBool = AtomicBool::new(false);
    if !IS_ON.swap(true, Ordering::Relaxed) {
        at_spawn(gift);
    }
}

/// Sets how many bytes of records each child that is started from now on, and its children, may be ahead of their parent
/// (default 1 MiB): a power of two, or the next one, from 4 KiB to 1 GiB. Memory is taken as it is used.
///
/// ```
/// procession_log::set_capacity(1 << 16);
/// ```
pub fn set_capacity(bytes: usize) {
    CAPACITY_SET.store(bytes, Ordering::Relaxed);
}

/// The most that loggers here let through: 0 is nothing, 5 all, for `log` and for `tracing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) log: u8,
    pub(crate) tracing: u8,
}

impl Levels {
    /// Those of this moment.
    pub(crate) fn now() -> Self {
        #[cfg(feature = "log")]
        let log = log::max_level() as u8;
        #[cfg(not(feature = "log"))]
        let log = 0;
        #[cfg(feature = "tracing")]
        let tracing = crate::level::of_filter(tracing::level_filters::LevelFilter::current());
        #[cfg(not(feature = "tracing"))]
        let tracing = 0;
        Self { log, tracing }
    }

    fn is_off(self) -> bool {
        self.log == 0 && self.tracing == 0
    }

    /// The kind of frame that what this crate says has where these are the levels.
    pub(crate) fn kind_of_notices(self) -> Kind {
        if self.tracing == 0 { Kind::Log } else { Kind::Event }
    }

    #[cfg(feature = "log")]
    pub(crate) fn log(self) -> log::LevelFilter {
        crate::level::log_filter(self.log)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn tracing(self) -> tracing::level_filters::LevelFilter {
        crate::level::filter(self.tracing)
    }
}

/// A span, wherever in the tree it is: the process that it was made in, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpanKey {
    pub(crate) pid: u32,
    pub(crate) id: u64,
}

impl SpanKey {
    pub(crate) fn write(key: Option<Self>, frame: &mut Frame) {
        frame.u8(key.is_some().into());
        if let Some(Self { pid, id }) = key {
            frame.u32(pid);
            frame.u64(id);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        match reader.u8()? {
            0 => Some(None),
            _ => Some(Some(Self { pid: reader.u32()?, id: reader.u64()? })),
        }
    }
}

/// What a child is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) levels: Levels,
    capacity: u64,
    /// The span that it was started in.
    pub(crate) root: Option<SpanKey>,
}

impl Given {
    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let fill = |frame: &mut Frame| {
            frame.u8(self.levels.log);
            frame.u8(self.levels.tracing);
            frame.u64(self.capacity);
            SpanKey::write(self.root, frame);
        };
        Frame::make(Kind::Gone, &[], fill, |frame| bytes = frame[ring::LENGTH + 1..].to_vec());
        bytes
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let levels = Levels { log: reader.u8()?, tracing: reader.u8()? };
        Some(Self { levels, capacity: reader.u64()?, root: SpanKey::read(reader)? })
    }
}

/// In a child: its own children are given the same.
pub(crate) fn take_over(given: Given) {
    set_capacity(usize::try_from(given.capacity).unwrap_or(CAPACITY));
    collect();
}

/// Called before each start.
fn gift(method: StartMethod) -> Option<Gift> {
    let levels = Levels::now();
    if levels.is_off() {
        return None;
    }
    let mut emitter = Emitter::here(levels);
    match prepare(method, levels, &mut emitter) {
        Ok((sent, ring, bell, consumer)) => {
            let intake = Intake::new(consumer, emitter, method);
            Some(Gift::new(outlet::enter, sent, vec![ring, bell], Arc::new(intake)))
        }
        Err(error) => {
            let me = procession_process::current();
            emitter.note(&Frame::who(me.name(), me.pid()), OURS, format_args!("a child cannot log: {error}"));
            None
        }
    }
}

type Prepared = (Vec<u8>, std::os::fd::OwnedFd, std::os::fd::OwnedFd, ring::Consumer);

fn prepare(method: StartMethod, levels: Levels, emitter: &mut Emitter) -> Result<Prepared, OsError> {
    let capacity = CAPACITY_SET.load(Ordering::Relaxed);
    let bell = Collector::here().bell(method)?;
    let (consumer, ring) = ring::create(capacity)?;
    let given = Given { levels, capacity: capacity as u64, root: emitter.root() };
    Ok((given.write(), ring, bell, consumer))
}
