//! The pool as its user holds it, and the thread that collects what workers say.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::cpu;
use procession_sys::event::Event;
use procession_sys::poll::{self, Interest};

use crate::crew::{Crew, Phase, Worker};
use crate::error::{BuildError, SubmitError, TaskFailed};
use crate::job::{Order, PackError, Packing};
use crate::par::ParProcs;
use crate::sink::Sink;
use crate::task::Task;
use crate::wire::{self, Job};

/// How long workers that were asked to end may take before they are killed.
const GRACE: Duration = Duration::from_secs(1);
/// How long a worker may take until it asks for a job, unless set otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Worker processes that run tasks: one outcome for every task, whoever dies.
///
/// A task is a `fn(A) -> R`, as for a single process. Each worker has a private channel; no lock is shared between
/// workers, so the death of one costs the task it was running and nothing else: that task gets
/// [`TaskFailed::WorkerDied`], and the worker is replaced.
///
/// Send and Sync: any number of threads may submit. Dropping it ends the workers: what has no outcome yet gets
/// [`TaskFailed::Closed`]. To finish first, [`join`](Pool::join). Workers ignore Ctrl-C and end with this process,
/// however it ends.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::Pool;
///
/// let pool = Pool::new(2)?;
/// assert_eq!(pool.map(f64::sqrt, [1.0, 4.0, 9.0])?, [1.0, 2.0, 3.0]);
/// let task = pool.submit(|(w, h): (u32, u32)| w * h, (2, 3))?;
/// assert_eq!(task.get()?, 6);
/// # Ok(()) }
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    collector: Option<JoinHandle<()>>,
}

/// Settings of a pool that is still to be built.
#[derive(Clone, Debug)]
#[must_use = "settings start nothing by themselves"]
pub struct Builder {
    name: String,
    workers: Option<usize>,
    start_timeout: Duration,
}

impl Builder {
    /// The pool's name: in errors, and in the names of its workers (`NAME-1`, …). Default `pool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The number of workers. Default: the processors this process may use, by affinity and control group.
    #[doc(alias = "processes")]
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = Some(n);
        self
    }

    /// How long a worker may take from its start until it asks for work (default 10 s). One that takes longer is killed
    /// and replaced; after several in a row, waiting tasks get [`TaskFailed::NoWorker`].
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Starts the workers. Does not wait until they are ready; tasks can be submitted at once.
    pub fn build(self) -> Result<Pool, BuildError> {
        let workers = self.workers.unwrap_or_else(cpu::available);
        if workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        let name: Arc<str> = self.name.as_str().into();
        let crew = Mutex::new(Crew::start(&name, workers, self.start_timeout)?);
        let shared = Arc::new(Shared { name, crew, settled: Condvar::new(), news: Event::new()? });
        let collector = Arc::clone(&shared);
        let thread = thread::Builder::new().name(format!("{}-collector", self.name));
        let collector = thread.spawn(move || collector.collect()).map_err(|e| {
            BuildError::Os(procession_sys::OsError::new("starting the thread that collects results", e))
        })?;
        Ok(Pool { shared, collector: Some(collector) })
    }
}

impl Pool {
    /// A pool of `workers` processes.
    pub fn new(workers: usize) -> Result<Self, BuildError> {
        Self::builder().workers(workers).build()
    }

    /// Settings for a pool that is still to be built.
    pub fn builder() -> Builder {
        Builder { name: "pool".into(), workers: None, start_timeout: START_TIMEOUT }
    }

    /// Runs `task(argument)` in a worker; answers at once, with a handle for the value.
    ///
    /// The argument is encoded here and now. There is no bound on how much may wait: for many items use
    /// [`map`](Self::map) or [`par_procs`](crate::ParProcs::par_procs), which take what they need when they need it.
    #[doc(alias = "apply_async")]
    pub fn submit<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<Task<R>, SubmitError> {
        let mut packing = Packing::default();
        packing.push(&argument).map_err(|e| match e {
            PackError::Encode(e) => SubmitError::Argument(e),
            PackError::Os(e) => SubmitError::Os(e),
        })?;
        // With it goes our side of what has moved.
        drop(argument);
        let job = packing.finish(wire::token(task)).map_err(SubmitError::Os)?;
        let sink = Arc::new(Sink::default());
        let number = self.shared.submit(job, 0, &sink).map_err(|_| SubmitError::Closed)?;
        Ok(Task::new(sink, Arc::clone(&self.shared.name), number))
    }

    /// Runs `task` on every item and returns the values in order.
    ///
    /// Items are taken from the iterator as workers need them, and travel in chunks whose size follows the time they
    /// take. The first failure, in the order of the items, is returned; tasks that have not begun by then never run.
    pub fn map<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, TaskFailed> {
        items.par_procs(self).map(task).collect()
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.shared.crew().places.len()
    }

    /// The process numbers of the workers that are alive now.
    pub fn pids(&self) -> Vec<u32> {
        self.shared
            .crew()
            .places
            .iter()
            .filter_map(|place| place.worker.as_ref().map(|w| w.process.pid()))
            .collect()
    }

    /// Takes no more tasks; those it has are finished.
    pub fn close(&self) {
        let mut crew = self.shared.crew();
        if crew.phase == Phase::Open {
            crew.phase = Phase::Closed;
        }
    }

    /// Takes no more tasks, waits until every task has its outcome, and ends the workers.
    pub fn join(self) {
        self.close();
        let crew = self.shared.crew();
        drop(
            self.shared
                .settled
                .wait_while(crew, |crew| !crew.is_done())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let workers = self.shared.crew().end();
        self.shared.news.notify();
        self.shared.settled.notify_all();
        end(&workers);
        if let Some(collector) = self.collector.take() {
            // It sees the end of the crew at its next look; a panic in it has been printed.
            let _ = collector.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

/// Ends workers within a bound: all are asked, all are waited for, the rest is killed.
fn end(workers: &[Arc<Worker>]) {
    for worker in workers {
        let _ = worker.process.terminate();
    }
    let grace = Instant::now() + GRACE;
    for worker in workers {
        if !matches!(worker.process.wait_until(grace), Ok(Some(_))) {
            let _ = worker.process.kill();
        }
    }
}

/// What callers and the collector share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The pool's name, which needs no lock.
    pub(crate) name: Arc<str>,
    crew: Mutex<Crew>,
    /// Told when a task got its outcome.
    settled: Condvar,
    /// Wakes the collector.
    news: Event,
}

/// The pool takes no more work.
#[derive(Debug)]
pub(crate) struct Refused;

impl Shared {
    pub(crate) fn crew(&self) -> MutexGuard<'_, Crew> {
        // No code of users runs under the lock; what could panic there is a bug that must not hang others.
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job whose first item is item `index` of `sink`; answers its task number.
    pub(crate) fn submit(&self, job: Job, index: usize, sink: &Arc<Sink>) -> Result<u64, Refused> {
        let mut crew = self.crew();
        let task = crew.number_tasks(job.items.len());
        let version = crew.version;
        let order = Order { job, task, index, sink: Arc::clone(sink), n_settled: 0, blame: 0 };
        crew.submit(order).ok_or(Refused)?;
        if crew.version != version {
            self.news.notify();
        }
        Ok(task)
    }

    /// The collector's thread: waits for words and deaths of workers until the crew ends.
    fn collect(&self) {
        let _end = EndOnDrop(self);
        let mut watch = Watch::default();
        loop {
            let late = {
                let crew = self.crew();
                if crew.phase == Phase::Ended {
                    return;
                }
                if watch.version != Some(crew.version) {
                    watch = Watch::of(&crew);
                }
                crew.next_late_start()
            };
            let Ok(ready) = poll::ready(&watch.descriptors(&self.news), late) else { return };
            let mut crew = self.crew();
            let mut ready = ready.into_iter();
            if ready.next() == Some(true) {
                self.news.clear();
            }
            for entry in &watch.entries {
                let has_ended = ready.next() == Some(true);
                if entry.socket.is_some() && ready.next() == Some(true) {
                    crew.listen(entry.place);
                }
                if has_ended {
                    crew.bury(entry.place);
                }
            }
            if late.has_passed() {
                crew.lose_late_starts();
            }
            crew.pump();
            if crew.is_done() {
                self.settled.notify_all();
            }
        }
    }
}

/// Leaves nobody waiting if the collector's thread ends, of whatever.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        let workers = self.0.crew().end();
        self.0.settled.notify_all();
        end(&workers);
    }
}

/// What the collector polls, made anew when a worker was replaced or lost.
#[derive(Default)]
struct Watch {
    version: Option<u64>,
    entries: Vec<Entry>,
}

struct Entry {
    place: usize,
    worker: Arc<Worker>,
    /// `None` if the worker is lost: what it says counts no more, and its socket may stay readable until it has ended.
    socket: Option<Arc<OwnedFd>>,
}

impl Watch {
    fn of(crew: &Crew) -> Self {
        let places = crew.places.iter().enumerate();
        let entries = places.filter_map(|(place, p)| {
            let worker = Arc::clone(p.worker.as_ref()?);
            let socket = if p.lost.is_some() { None } else { worker.jobs.descriptor() };
            Some(Entry { place, worker, socket })
        });
        Self { version: Some(crew.version), entries: entries.collect() }
    }

    /// The event, then of each worker the process and, unless it is lost, the socket.
    fn descriptors<'a>(&'a self, news: &'a Event) -> Vec<(BorrowedFd<'a>, Interest)> {
        let of_workers = self
            .entries
            .iter()
            .flat_map(|entry| [Some(entry.worker.process.as_fd()), entry.socket.as_ref().map(AsFd::as_fd)]);
        [news.as_fd()].into_iter().chain(of_workers.flatten()).map(|fd| (fd, Interest::Readable)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The socket of a lost worker may stay readable for as long as it takes to die: it must not keep the collector
    /// busy.
    #[test]
    fn a_lost_worker_is_watched_for_its_end_only() {
        let mut crew = Crew::start(&"crew".into(), 2, START_TIMEOUT).unwrap();
        let news = Event::new().unwrap();
        let watch = Watch::of(&crew);
        assert_eq!(watch.descriptors(&news).len(), 1 + 2 + 2);
        crew.lose(1, 1);
        assert_ne!(watch.version, Some(crew.version), "the watch is made anew");
        assert_eq!(Watch::of(&crew).descriptors(&news).len(), 1 + 2 + 1);
    }
}
