//! The worker's side: takes a job, runs its items one after the other, answers each.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use procession_codec::{Bytes, Codec, Descriptor, Postcard, handles};
use procession_pipe::{Duplex, SendError};
use procession_sys::image::{Function, FunctionToken};
use procession_sys::memory::{Memfd, Resident};
use procession_sys::{clock, signal};
use serde::{Deserialize, Serialize};

use crate::chaos::{Chaos, ChaosPoint};
use crate::context;
use crate::current;
use crate::insights::ledger::Ledger;
use crate::insights::stopwatch::Stopwatch;
use crate::journal::Journal;
use crate::lane::{Entry, Lane};
use crate::origin::Extra;
use crate::setup;
use crate::wire::{Answer, Call, Job, Parcel, Reply};

/// See [`is_looked_at`].
const LOOK_EVERY: usize = 64;

/// What a worker is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) jobs: Duplex<Reply, Job>,
    pub(crate) journal: Descriptor,
    /// Whether the first job is the initializer.
    pub(crate) is_set_up: bool,
    /// The token of what ends the state it made.
    pub(crate) close: Option<Bytes>,
    /// With more bytes in memory than these it is to be replaced.
    pub(crate) recycle_above: Option<u64>,
    /// Where it is to die on purpose.
    pub(crate) chaos: Option<Chaos>,
}

/// Runs in the worker until the pool closes its end. What goes wrong here ends the worker, and the pool sees that.
pub(crate) fn work(desk: Desk) -> Result<(), String> {
    let memory = desk.journal.into_owned().map_err(|e| e.to_string())?;
    let memory = Memfd::adopt(memory).map_err(|e| e.to_string())?;
    let journal = Journal::open(&memory).map_err(|e| e.to_string())?;
    let size = desk.recycle_above.and_then(|most| Some((Resident::own()?, most)));
    let (chaos, fate, watch) = (desk.chaos, Cell::new(None), RefCell::default());
    let (inlet, n_sent, function) = (RefCell::default(), Cell::new(0), RefCell::new(None));
    let worker = Worker { jobs: desk.jobs, journal, inlet, n_sent, function, watch, size, chaos, fate };
    if desk.is_set_up {
        let Ok(job) = worker.jobs.recv() else { return Ok(()) };
        if let Err(broken) = setup::open(job)? {
            // The pool ends us for it; if it is not there any more, nobody needs to know.
            let _ = worker.jobs.send(&Reply::NotSetUp(broken));
            return Ok(());
        }
    }
    worker.ledger().set_ready();
    worker.journal.set_ready();
    worker.say(&Reply::Ready).map_err(|e| e.to_string())?;
    while let Some(job) = worker.next_job()? {
        context::forget(&job.extra.forget);
        match (job.n_now, job.extra.forget.is_empty()) {
            (0, true) => break,
            (0, false) => continue,
            _ => {}
        }
        worker.run(job)?;
    }
    setup::close(desk.close.as_deref());
    Ok(())
}

struct Worker {
    jobs: Duplex<Reply, Job>,
    journal: Journal,
    inlet: RefCell<Inlet>,
    /// Messages that were sent.
    n_sent: Cell<u64>,
    /// What the last job called, by its token.
    function: RefCell<Option<([u8; 40], Function<Call>)>>,
    watch: RefCell<Stopwatch>,
    /// Its own size, and the most that it should be.
    size: Option<(Resident, u64)>,
    chaos: Option<Chaos>,
    /// Where to die on purpose, of the task that it is at.
    fate: Cell<Option<ChaosPoint>>,
}

/// Jobs on their way in.
#[derive(Debug, Default)]
struct Inlet {
    /// Bytes taken out of the ring.
    taken: u64,
    /// Jobs of the socket that came before their mark in the ring.
    held: VecDeque<Job>,
}

impl Worker {
    /// The next job; `None` if the pool is gone.
    fn next_job(&self) -> Result<Option<Job>, String> {
        let (lane, mut inlet) = (self.lane(), self.inlet.borrow_mut());
        loop {
            match lane.take(&mut inlet.taken) {
                Some(Entry::Job(job)) => return Postcard::decode(&job).map(Some).map_err(|e| e.to_string()),
                Some(Entry::Socket) => return Ok(inlet.held.pop_front().or_else(|| self.next_of_socket())),
                None => {}
            }
            if lane.look(inlet.taken, || self.say(&Reply::Bell)).map_err(|e| e.to_string())? {
                continue;
            }
            let job = self.jobs.recv();
            lane.awake();
            match job {
                Ok(job) if job.is_bell() => {}
                Ok(job) => inlet.held.push_back(job),
                Err(_) => return Ok(None),
            }
        }
    }

    fn next_of_socket(&self) -> Option<Job> {
        loop {
            match self.jobs.recv() {
                Ok(job) if job.is_bell() => {}
                job => return job.ok(),
            }
        }
    }

    fn say(&self, reply: &Reply) -> Result<(), SendError> {
        self.jobs.send(reply)?;
        self.n_sent.set(self.n_sent.get() + 1);
        Ok(())
    }

    fn run(&self, job: Job) -> Result<(), String> {
        self.journal.begin(job.number);
        self.watch.borrow_mut().begin(self.ledger());
        let token: &[u8; 40] = job.function.as_ref().try_into().map_err(|_| "a token of the wrong length")?;
        let mut last = self.function.borrow_mut();
        // As a rule it is the same as before.
        if last.as_ref().is_none_or(|(known, _)| known != token) {
            let function =
                FunctionToken::from_bytes(token).resolve().ok_or("a function of another program")?;
            *last = Some((*token, function));
        }
        let Some((_, function)) = &*last else { return Err("no function".into()) };
        let input = Arc::new(job.parcel.unpack().map_err(|e| e.to_string())?);
        let mut descriptors = job.descriptors.into_iter();
        current::set_attempt(job.attempt);
        let mut is_doomed = false;
        for (index, item) in job.items.into_iter().take(job.n_now).enumerate() {
            if self.journal.is_revoked(job.number) {
                break;
            }
            let descriptors = descriptors.by_ref().take(item.descriptors.len());
            let descriptors = descriptors.map(Descriptor::into_owned).collect::<Result<_, _>>();
            let call = Call {
                input: Arc::clone(&input),
                bytes: item.bytes,
                descriptors: descriptors.map_err(|e| e.to_string())?,
                context: job.extra.context.clone(),
                answer: None,
                marks: self.watch.borrow_mut().begin_task(self.ledger()),
            };
            if job.is_timed || is_looked_at(index, job.n_now) {
                self.journal.stamp(u64::try_from(clock::uptime().as_nanos()).unwrap_or(u64::MAX));
            }
            self.fate.set(self.fate_of(&job.extra, job.attempt, index));
            is_doomed |= self.fate.get() == Some(ChaosPoint::Idle);
            self.meet(ChaosPoint::BeforeTask);
            if !self.journal.start(index) {
                return Err("the pool ends this worker".into());
            }
            self.meet(ChaosPoint::InTask);
            let task = job.extra.task.saturating_add(index as u64);
            self.answer(function, call, (job.number, index), task).map_err(|e| e.to_string())?;
            if is_looked_at(index, job.n_now) && self.is_too_large() {
                self.journal.set_full();
                break;
            }
        }
        let nanos = self.watch.borrow_mut().end(self.ledger());
        self.lane().finish(job.number, nanos, self.n_sent.get());
        if is_doomed {
            signal::die();
        }
        Ok(())
    }

    /// Where the worker is to die of item `index` of a job, if it is.
    fn fate_of(&self, extra: &Extra, attempt: u32, index: usize) -> Option<ChaosPoint> {
        let n_killed = if index == 0 { extra.n_killed } else { 0 };
        self.chaos.and_then(|chaos| chaos.hit(extra.task + index as u64, attempt, n_killed))
    }

    /// It is at `point`: if that is its fate, nothing comes after.
    fn meet(&self, point: ChaosPoint) {
        if self.fate.get() == Some(point) {
            signal::die();
        }
    }

    fn is_too_large(&self) -> bool {
        let Some((size, most)) = &self.size else { return false };
        size.bytes().is_some_and(|bytes| bytes > *most)
    }

    fn answer(
        &self,
        function: &Function<Call>,
        mut call: Call,
        (job, index): (u64, usize),
        task: u64,
    ) -> Result<(), SendError> {
        function.call(&mut call);
        let (answer, handles) =
            call.answer.take().unwrap_or((Answer::BadResult("the task left no answer".into()), None));
        self.meet(ChaosPoint::AfterTask);
        let (is_ok, marks) = (matches!(answer, Answer::Value(_)), call.marks);
        self.hand_over(&answer, handles, job, index)?;
        self.watch.borrow_mut().end_task(self.ledger(), task, marks, is_ok);
        Ok(())
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::of(self.journal.map())
    }

    fn lane(&self) -> Lane<'_> {
        Lane::of(self.journal.map())
    }

    /// Into the journal if there is room, else in a message.
    fn hand_over(
        &self,
        answer: &Answer,
        handles: Option<handles::Outgoing>,
        job: u64,
        index: usize,
    ) -> Result<(), SendError> {
        let mut bytes = encode(answer);
        if self.fate.get() == Some(ChaosPoint::Answering) {
            self.journal.tear(&bytes);
            signal::die();
        }
        if let Some(handles) = handles {
            return self.send_alone(job, index, &bytes, Some(handles));
        }
        if bytes.len() > u32::MAX as usize {
            bytes = encode(&Answer::BadResult(format!("{} bytes are more than 4 GiB", bytes.len())));
        }
        if self.journal.append(&bytes) {
            return Ok(());
        }
        self.flush(job, index)?;
        if self.journal.append(&bytes) { Ok(()) } else { self.send_alone(job, index, &bytes, None) }
    }

    /// Sends what stands in the journal, which ends before item `next`.
    fn flush(&self, job: u64, next: usize) -> Result<(), SendError> {
        let (n, bytes) = self.journal.contents();
        if n > 0 {
            self.send(job, next - n, n, bytes, Vec::new())?;
        }
        self.journal.restart(next);
        Ok(())
    }

    /// Sends one answer by itself, after those before it.
    fn send_alone(
        &self,
        job: u64,
        index: usize,
        answer: &[u8],
        handles: Option<handles::Outgoing>,
    ) -> Result<(), SendError> {
        self.flush(job, index)?;
        let descriptors: Result<Vec<OwnedFd>, _> =
            handles.iter().flat_map(handles::Outgoing::descriptors).map(|d| d.try_clone_to_owned()).collect();
        let len = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        match descriptors {
            Ok(descriptors) => {
                let bytes = [&len.to_le_bytes(), answer].concat();
                let descriptors = descriptors.into_iter().map(Descriptor::from).collect();
                self.send(job, index, 1, bytes, descriptors)?;
                if let Some(handles) = handles {
                    handles.commit();
                }
            }
            Err(e) => {
                let refused = encode(&Answer::BadResult(format!("duplicating a handle of the value: {e}")));
                // The journal was just emptied: a text fits.
                self.journal.append(&refused);
                return Ok(());
            }
        }
        self.journal.restart(index + 1);
        Ok(())
    }

    fn send(
        &self,
        job: u64,
        first: usize,
        n: usize,
        bytes: Vec<u8>,
        descriptors: Vec<Descriptor>,
    ) -> Result<(), SendError> {
        let parcel = Parcel::pack(bytes).map_err(SendError::Os)?;
        self.say(&Reply::Answers { job, first: first as u64, n: n as u64, parcel, descriptors })
    }
}

/// Whether a clock or a measure is read at this item of `n`: at each, or where they are many and so short that it would be
/// felt, at some.
fn is_looked_at(index: usize, n: usize) -> bool {
    n <= LOOK_EVERY || index.is_multiple_of(LOOK_EVERY) || index + 1 == n
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(e) = Postcard::encode_into(answer, &mut bytes) {
        bytes.clear();
        // A text always encodes.
        let _ = Postcard::encode_into(&Answer::BadResult(e.to_string()), &mut bytes);
    }
    bytes
}
