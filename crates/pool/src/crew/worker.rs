//! A worker process, as the pool holds it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::Descriptor;
use procession_pipe::{Duplex, pipe};
use procession_process::{JoinError, Panic, Process, Who};
use procession_sys::OsError;
use procession_sys::memory::Memfd;

use crate::error::BuildError;
use crate::journal::{self, Journal};
use crate::wire::{Job, Reply};
use crate::worker::{self, Desk};

/// A worker process, as the pool holds it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process<Result<(), String>>,
    pub(crate) jobs: Duplex<Job, Reply>,
    pub(crate) journal: Journal,
    pub(super) start_deadline: Instant,
    /// The last panic it told of: not the reason of its death.
    pub(super) last_panic: Mutex<Option<Panic>>,
}

impl Worker {
    pub(super) fn start(name: String, start_timeout: Duration) -> Result<Self, BuildError> {
        let memory = Memfd::sealed("procession-journal", journal::SIZE)?;
        let journal = Journal::open(&memory)?;
        let (jobs, theirs) =
            pipe().map_err(|e| OsError::new("making a worker's pipe", std::io::Error::other(e)))?;
        let desk = Desk { jobs: theirs, journal: Descriptor::from(memory.into_fd()) };
        let now = Instant::now();
        let start_deadline = now.checked_add(start_timeout).unwrap_or(now + Duration::from_secs(86_400));
        let settings = Process::builder().name(name).ignore_interrupt(true).start_timeout(start_timeout);
        let process = settings.spawn(worker::work, desk).map_err(BuildError::Worker)?;
        Ok(Self { process, jobs, journal, start_deadline, last_panic: Mutex::new(None) })
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

    pub(crate) fn who(&self) -> Who {
        Who { name: self.process.name().to_owned(), pid: self.process.pid() }
    }
}
