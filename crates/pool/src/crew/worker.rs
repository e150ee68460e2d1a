//! A worker process, as the pool holds it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::{Codec, Descriptor, Postcard, handles};
use procession_pipe::{Duplex, SendError, pipe};
use procession_process::{Exit, JoinError, Panic, Process, Who};
use procession_sys::OsError;
use procession_sys::memory::Memfd;

use super::Settings;
use crate::care::Care;
use crate::error::BuildError;
use crate::insights::ledger::{self, Ledger};
use crate::journal::{self, Journal};
use crate::lane::{Lane, NoRoom};
use crate::setup::InitializerFailure;
use crate::streams::Streams;
use crate::wire::{Job, Reply};
use crate::worker::{self, Desk};

/// A worker process, as the pool holds it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process<Result<(), String>>,
    pub(crate) jobs: Duplex<Job, Reply>,
    pub(crate) journal: Journal,
    pub(super) outlet: Mutex<Outlet>,
    pub(super) start_deadline: Instant,
    /// When it was started, in nanoseconds of the monotonic clock.
    pub(crate) started: u64,
    pub(crate) care: Care,
    /// The last panic it told of: not the reason of its death.
    pub(super) last_panic: Mutex<Option<Panic>>,
    /// How its initializer failed, if it told that.
    pub(super) not_set_up: Mutex<Option<InitializerFailure>>,
}

/// Our end of its lane.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    /// Bytes put into the ring.
    head: u64,
    /// Messages of its that were taken in.
    n_heard: u64,
    /// For jobs as they are encoded.
    bytes: Vec<u8>,
}

impl Worker {
    pub(super) fn start(name: String, settings: &Settings) -> Result<Self, BuildError> {
        let memory = Memfd::sealed("procession-journal", journal::SIZE)?;
        let journal = Journal::open(&memory)?;
        let (jobs, theirs) =
            pipe().map_err(|e| OsError::new("making a worker's pipe", std::io::Error::other(e)))?;
        let setup = settings.setup.as_deref();
        let desk = Desk {
            jobs: theirs,
            journal: Descriptor::from(memory.into_fd()),
            is_set_up: setup.is_some(),
            chaos: settings.chaos,
            recycle_above: settings.memory.recycle_above,
            close: setup.and_then(|setup| setup.close).map(|token| token.to_vec().into()),
        };
        let start_timeout = settings.start_timeout;
        let (now, started) = (Instant::now(), ledger::now());
        let start_deadline = now.checked_add(start_timeout).unwrap_or(now + Duration::from_secs(86_400));
        let process = Process::builder().name(name).ignore_interrupt(true).start_timeout(start_timeout);
        let Streams { stdout, stderr } = settings.streams.clone();
        let process = process.stdout(stdout).stderr(stderr).start_method(settings.start_method());
        let process = process.spawn(worker::work, desk).map_err(BuildError::Worker)?;
        // Nobody could read them: without a reader a write is an error, and waits for nobody.
        drop((process.take_stdout(), process.take_stderr()));
        if let Some(setup) = setup {
            match jobs.try_send(&setup.job) {
                // If it is dead already, its end says more.
                Ok(()) | Err(SendError::Closed) => {}
                Err(e) => {
                    let error = std::io::Error::other(e);
                    return Err(OsError::new("sending a worker its initializer", error).into());
                }
            }
        }
        Ok(Self {
            process,
            jobs,
            journal,
            outlet: Mutex::default(),
            start_deadline,
            started,
            care: Care::new(settings),
            last_panic: Mutex::new(None),
            not_set_up: Mutex::new(None),
        })
    }

    /// Gives it a job, and wakes it if it sleeps. Never waits.
    pub(crate) fn post(&self, job: &Job) -> Result<(), SendError> {
        let mut outlet = self.outlet();
        let Outlet { head, bytes, .. } = &mut *outlet;
        bytes.clear();
        // What has descriptors does not encode here.
        let encoded = handles::refuse(|| Postcard::encode_into(job, bytes));
        let inline = (encoded.is_ok() && Lane::fits(bytes.len())).then_some(&bytes[..]);
        if inline.is_none() {
            self.jobs.try_send(job)?;
        }
        self.lane().post(head, inline).map_err(|NoRoom| SendError::Full)?;
        if !self.lane().must_ring() {
            return Ok(());
        }
        match self.jobs.try_send(&Job::bell()) {
            // There is something else that wakes it.
            Err(SendError::Full) => Ok(()),
            rung => rung,
        }
    }

    /// Notes that a message of its was taken in.
    pub(crate) fn note_heard(&self) {
        self.outlet().n_heard += 1;
    }

    /// Messages of its that were taken in.
    pub(crate) fn n_heard(&self) -> u64 {
        self.outlet().n_heard
    }

    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its lane, in the memory of its journal.
    pub(crate) fn lane(&self) -> Lane<'_> {
        Lane::of(self.journal.map())
    }

    /// What it notes of its time.
    pub(crate) fn ledger(&self) -> Ledger<'_> {
        Ledger::of(self.journal.map())
    }

    /// It told of `panic`, and lived on.
    pub(crate) fn remember(&self, panic: &Panic) {
        *self.last_panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic.clone());
    }

    /// The panic that ended it, if one did.
    pub(super) fn deadly_panic(&self) -> Option<Box<Panic>> {
        let Err(JoinError::Panicked(panic)) = self.process.try_join() else { return None };
        let told = self.last_panic.lock().unwrap_or_else(PoisonError::into_inner);
        (told.as_ref() != Some(&panic)).then(|| Box::new(panic))
    }

    /// Its initializer has failed.
    pub(crate) fn remember_failure(&self, failure: InitializerFailure) {
        *self.not_set_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Why its initializer did not do its work; `late` if we ended it for the time it took.
    pub(super) fn failure(&self, exit: Exit, late: Option<Duration>) -> InitializerFailure {
        let told = self.not_set_up.lock().unwrap_or_else(PoisonError::into_inner).take();
        told.unwrap_or_else(|| match (self.process.try_join(), late) {
            (Err(JoinError::Panicked(panic)), _) => InitializerFailure::Panicked(Box::new(panic)),
            (_, Some(limit)) => InitializerFailure::TimedOut(limit),
            (_, None) => InitializerFailure::Died(exit),
        })
    }

    pub(crate) fn who(&self) -> Who {
        Who { name: self.process.name().to_owned(), pid: self.process.pid() }
    }
}
