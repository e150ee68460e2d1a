//! What is known of a task that failed, beyond which way: for people, and for whoever writes a text of their own.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use procession_codec::{Bytes, Descriptor};
use procession_process::{Exit, Signal, Who};
use procession_sys::clock;
use procession_sys::image::FunctionToken;
use procession_sys::memory::Memfd;

use crate::chaos::ChaosPoint;
use crate::context::ContextRef;
use crate::crew::Worker;
use crate::error::TaskFailed;
use crate::job::Order;
use crate::origin::{Origin, Shown};
use crate::rules::Rules;
use crate::setup::Setup;
use crate::wire::{Call, Job, Parcel};

/// What is known of a task that failed: [`TaskFailed::report`]. The text of the error says the same.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{Pool, TaskOptions};
///
/// fn trace(frame: (u32, String)) -> u32 {
///     panic!("nothing to trace in {}", frame.1)
/// }
///
/// let pool = Pool::builder().workers(1).name("render").build()?;
/// let shown = TaskOptions::new().show_arguments::<(u32, String)>();
/// let failed = pool.submit_with(shown, trace, (7, "sky".into()))?.get().unwrap_err();
/// let report = failed.report().expect("it ran");
/// assert!(report.function().ends_with("::trace"), "{failed}");
/// assert_eq!(report.argument().as_deref(), Some("(7, \"sky\")"));
/// assert_eq!((report.attempt(), report.attempts_allowed()), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) case: Arc<Case>,
    worker: Who,
    attempt: u32,
    allowed: u32,
    ran: Option<Duration>,
    resident: Option<u64>,
    memory_limit: Option<u64>,
    oom_kills: u64,
    chaos: Option<ChaosPoint>,
    senseless: bool,
}

/// The task itself: enough to run it once more.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) function: Bytes,
    pub(crate) argument: Saved,
    pub(crate) n_handles: usize,
    pub(crate) setup: Option<Arc<Setup>>,
    pub(crate) context: Option<ContextRef>,
    origin: Origin,
    label: Option<&'static str>,
    shown: Option<Shown>,
}

/// An encoded argument.
#[derive(Debug)]
pub(crate) enum Saved {
    Here(Bytes),
    In(Descriptor, std::ops::Range<usize>),
}

impl Saved {
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Here(bytes) => Some(bytes.to_vec()),
            Self::In(memory, range) => {
                let memory = Memfd::adopt(memory.as_fd().try_clone_to_owned().ok()?).ok()?;
                let map = procession_sys::memory::Mapping::read_only(&memory).ok()?;
                (range.start <= range.end && range.end <= map.len())
                    .then(|| map.read_vec(range.start, range.end - range.start))
            }
        }
    }
}

impl Report {
    /// Of item `index` of a job that this process runs itself.
    pub(crate) fn inline(who: Who, job: &Job, index: usize, rules: Rules, setup: Option<Arc<Setup>>) -> Self {
        Self {
            case: Arc::new(Case::of(job, index, rules, setup)),
            worker: who,
            attempt: 1,
            allowed: 1,
            ran: None,
            resident: None,
            memory_limit: None,
            oom_kills: 0,
            chaos: None,
            senseless: false,
        }
    }

    /// Of item `index` of an order that `worker` has.
    pub(crate) fn of(worker: &Worker, order: &Order, index: usize) -> Self {
        Self {
            case: Arc::new(Case::of(&order.job, index, order.rules, worker.care.setup.clone())),
            worker: worker.who(),
            attempt: order.job.attempt,
            allowed: order.rules.retries.saturating_add(1),
            ran: None,
            resident: worker.care.resident(),
            memory_limit: worker.care.memory.limit,
            oom_kills: 0,
            chaos: None,
            senseless: false,
        }
    }

    /// Of the first item of an order whose worker died of it, or was ended for it.
    pub(crate) fn of_dead(worker: &Worker, order: &Order, exit: Exit) -> Self {
        let since = worker.journal.progress(order.job.number).since.filter(|since| *since > 0);
        let ran = since.map(|since| clock::uptime().saturating_sub(Duration::from_nanos(since)));
        let chaos = worker.care.fate_of(order);
        let chaos = chaos.filter(|point| {
            point.is_deadly() && order.verdict.is_none() && exit.signal() == Some(Signal::KILL)
        });
        let senseless = worker.care.is_senseless() && exit.signal() == Some(Signal::KILL);
        Self { ran, chaos, senseless, oom_kills: worker.care.oom_kills(), ..Self::of(worker, order, 0) }
    }

    pub(crate) fn with_resident(self, bytes: u64) -> Self {
        Self { resident: Some(bytes), ..self }
    }

    /// The function, as the program's own symbols name it (`render::trace`), or as it was
    /// [labelled](crate::TaskOptions::label). Its type where neither is known: the program was stripped, or it is a
    /// closure.
    pub fn function(&self) -> String {
        let case = &self.case;
        let named = || {
            let token: &[u8; 40] = case.function.as_ref().try_into().ok()?;
            FunctionToken::<Call>::from_bytes(token).name()
        };
        case.label.map(str::to_owned).or_else(named).unwrap_or_else(|| self.signature().to_owned())
    }

    /// The function's type: `fn(u32) -> f64`.
    pub fn signature(&self) -> &str {
        self.case.origin.signature
    }

    /// The beginning of the argument's debug text, some 200 characters; `None` unless the task was given with
    /// [`show_arguments`](crate::TaskOptions::show_arguments) of the argument's type, and for arguments with handles.
    ///
    /// Decodes the argument, and so runs code of its type; a panic in that is caught.
    pub fn argument(&self) -> Option<String> {
        self.case.shown.and_then(|shown| shown.text(self.case.origin, &self.case.argument.bytes()?))
    }

    /// Which attempt this was, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How many attempts it might have had.
    pub fn attempts_allowed(&self) -> u32 {
        self.allowed
    }

    /// Which worker ran it.
    pub fn worker(&self) -> &Who {
        &self.worker
    }

    /// For how long it ran, where its worker did not live to answer: until we learnt of it. In a chunk of very many short
    /// items, the time of those just before it may be in this.
    pub fn run_time(&self) -> Option<Duration> {
        self.ran
    }

    /// Bytes that its worker had in memory when we last looked: we look twice a second, more often where there is a
    /// [limit](crate::Builder::memory_limit). `None`: never yet.
    pub fn resident(&self) -> Option<u64> {
        self.resident
    }

    /// The pool's [limit](crate::Builder::memory_limit), in bytes.
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory_limit
    }

    /// How many processes of our control group the kernel has ended for lack of memory since the worker started. After a
    /// death by `SIGKILL` that says most likely why; it need not have been this worker.
    pub fn oom_kills(&self) -> u64 {
        self.oom_kills
    }

    /// Where its worker was killed on purpose, by [`Builder::chaos`](crate::Builder::chaos).
    pub fn chaos(&self) -> Option<ChaosPoint> {
        self.chaos
    }

    /// Whether the pool killed its worker, because what that said made no sense: the task, or one before it, had written over
    /// its worker's memory, or to descriptors that were not its own.
    pub fn is_senseless(&self) -> bool {
        self.senseless
    }

    /// The lines that follow the one that says what happened.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, failure: &TaskFailed) -> fmt::Result {
        write!(f, "\n  ran       {}", self.function())?;
        if let Some(ran) = self.ran {
            write!(f, ", {}", Time(ran))?;
        }
        write!(f, ", attempt {} of {}", self.attempt, self.allowed)?;
        if let Some(argument) = self.argument() {
            write!(f, "\n  argument  {argument}")?;
        }
        self.write_memory(f)?;
        match (self.chaos, self.help(failure)) {
            (Some(point), _) => {
                let who = "PROCESSION_CHAOS, or Builder::chaos, killed its worker on purpose";
                write!(f, "\n  help      {who}, {point}")
            }
            (None, _) if self.senseless => {
                let why = "the pool ended its worker, since what that said made no sense";
                write!(
                    f,
                    "\n  help      {why}: look for writes to memory or descriptors that are not the task's"
                )
            }
            (None, Some(help)) => write!(f, "\n  help      {help}"),
            (None, None) => Ok(()),
        }
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resident = self.resident.map(|bytes| format!("{} resident", Size(bytes)));
        let limit = self.memory_limit.map(|bytes| format!("limit {}", Size(bytes)));
        let kills = (self.oom_kills > 0).then(|| {
            let s = if self.oom_kills == 1 { "" } else { "s" };
            format!("the control group counted {} out-of-memory kill{s}", self.oom_kills)
        });
        let known: Vec<String> = [resident, limit, kills].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { write!(f, "\n  memory    {}", known.join(", ")) }
    }

    /// What most often helps.
    pub fn help(&self, failure: &TaskFailed) -> Option<&'static str> {
        match failure {
            TaskFailed::WorkerDied { exit, .. } => self.help_with(*exit),
            TaskFailed::Panicked { panic, .. } if !panic.backtrace.is_empty() => {
                Some("its backtrace is in the error (panic()); save_replay(path) keeps it for a debugger")
            }
            TaskFailed::Panicked { .. } => Some("save_replay(path) keeps it for a debugger"),
            TaskFailed::TimedOut { .. } => Some("a longer task_timeout(..), or smaller tasks"),
            TaskFailed::MemoryExceeded { .. } => Some(
                "a higher memory_limit(..), smaller tasks, or recycle_above(..) if it is earlier tasks that leak",
            ),
            TaskFailed::ArgumentNotDecoded { .. } | TaskFailed::ResultNotEncoded { .. } => {
                Some("look at Serialize and Deserialize of the type")
            }
            _ => None,
        }
    }

    fn help_with(&self, exit: Exit) -> Option<&'static str> {
        Some(match exit {
            Exit::Code(_) => {
                "a task that cannot go on returns an error, or panics, instead of ending its process"
            }
            Exit::Signal { signal: Signal::KILL, .. } if self.oom_kills > 0 => {
                "fewer workers, memory_limit(..), or recycle_above(..)"
            }
            Exit::Signal { signal: Signal::KILL, .. } => {
                "dmesg tells of out-of-memory kills; retries(..) if the task may be run again"
            }
            Exit::Signal { signal: Signal::TERM | Signal::INT | Signal::HUP, .. } => {
                "retries(..) if the task may be run again"
            }
            Exit::Signal { .. } => "save_replay(path), and replay(path) in a debugger",
            _ => return None,
        })
    }
}

impl Case {
    fn of(job: &Job, index: usize, rules: Rules, setup: Option<Arc<Setup>>) -> Self {
        let item = job.items.get(index);
        let range = item.map(|item| item.bytes.clone()).unwrap_or_default();
        let argument = match &job.parcel {
            Parcel::Inline(bytes) => Saved::Here(bytes.get(range).unwrap_or_default().to_vec().into()),
            Parcel::Memory(memory) => Saved::In(memory.clone(), range),
        };
        Self {
            function: job.function.clone(),
            argument,
            n_handles: item.map_or(0, |item| item.descriptors.len()),
            setup,
            context: job.extra.context.as_ref().map(ContextRef::without_lease),
            origin: job.extra.origin,
            label: rules.label,
            shown: rules.shown,
        }
    }
}

/// A length of time, as people say it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 0.001 {
            write!(f, "{:.0} us", seconds * 1e6)
        } else if seconds < 1.0 {
            write!(f, "{:.0} ms", seconds * 1e3)
        } else {
            write!(f, "{seconds:.1} s")
        }
    }
}

/// So many bytes, as people say it.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(bits, _)| self.0 >= 1 << bits) {
            Some((bits, unit)) => write!(f, "{:.1} {unit}", self.0 as f64 / f64::from(1_u32 << bits)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_as_people_say_them() {
        let sizes = [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (4 << 30, "4.0 GiB")];
        for (bytes, text) in sizes {
            assert_eq!(Size(bytes).to_string(), text);
        }
        for (nanos, text) in [(900, "1 us"), (12_000_000, "12 ms"), (12_400_000_000, "12.4 s")] {
            assert_eq!(Time(Duration::from_nanos(nanos)).to_string(), text);
        }
    }
}
