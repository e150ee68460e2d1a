//! The thread that reads what children write, and its life.
//!
//! It is started before the first child that is to be read, so that a child is refused rather than unread, and ends with
//! the last pipe.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use procession_sys::event::Event;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, OsError};

use super::{LOOK_AGAIN, Source};
use crate::stdio::CHUNK;

/// At the end of this process: waits until all that was written so far is handed on, no longer than `limit`.
pub(crate) fn await_all(limit: Duration) {
    let known = READER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((_, reader)) = known.filter(|(then, _)| *then == epoch()) else { return };
    let (list, deadline) = (reader.sources().list.clone(), Deadline::after(limit));
    for source in list {
        source.await_read(deadline);
    }
}

/// The thread that reads, and what it reads.
struct Reader {
    sources: Mutex<Sources>,
    news: Event,
}

#[derive(Default)]
struct Sources {
    list: Vec<Arc<Source>>,
    /// Children that are being started.
    n_seats: usize,
    is_running: bool,
}

/// That of this process; a fork has the list of its parent, but not the thread.
static READER: Mutex<Option<(Epoch, Arc<Reader>)>> = Mutex::new(None);

impl Reader {
    fn of_this_process() -> Result<Arc<Self>, OsError> {
        let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epoch();
        if let Some((_, reader)) = reader.as_ref().filter(|(then, _)| *then == epoch) {
            return Ok(Arc::clone(reader));
        }
        let new = Arc::new(Self { sources: Mutex::default(), news: Event::new()? });
        *reader = Some((epoch, Arc::clone(&new)));
        Ok(new)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            // Before looking: what is new after that wakes us again.
            self.news.clear();
            let Some(open) = self.open() else { return };
            let pipes = open.iter().map(|(_, pipe)| pipe.as_fd());
            let waits: Vec<_> = pipes.chain([self.news.as_fd()]).map(|fd| (fd, Interest::Readable)).collect();
            let Ok(ready) = poll::ready(&waits, Deadline::NEVER) else {
                thread::park_timeout(LOOK_AGAIN);
                continue;
            };
            for ((source, _), _) in open.iter().zip(ready).filter(|(_, ready)| *ready) {
                source.read(CHUNK, false);
            }
        }
    }

    /// What there is to read; `None` when the thread may end.
    fn open(&self) -> Option<Vec<(Arc<Source>, Arc<File>)>> {
        let mut sources = self.sources();
        let with_pipe = |source: &Arc<Source>| Some((Arc::clone(source), source.pipe()?));
        let open: Vec<_> = sources.list.iter().filter_map(with_pipe).collect();
        sources.list = open.iter().map(|(source, _)| Arc::clone(source)).collect();
        sources.is_running = sources.n_seats > 0 || !open.is_empty();
        sources.is_running.then_some(open)
    }
}

/// As long as it is there the thread runs.
pub(super) struct Seat(Arc<Reader>);

impl Seat {
    pub(super) fn take() -> Result<Self, OsError> {
        let reader = Reader::of_this_process()?;
        let mut sources = reader.sources();
        if !sources.is_running {
            let run = Arc::clone(&reader);
            let thread = thread::Builder::new().name("procession-lines".into()).spawn(move || run.run());
            thread.map_err(|e| OsError::new("starting the thread that reads what children write", e))?;
            sources.is_running = true;
        }
        sources.n_seats += 1;
        drop(sources);
        Ok(Self(reader))
    }

    /// The child is there: the thread reads `source`, and needs no seat for it.
    pub(super) fn give(self, source: &Arc<Source>) {
        self.0.sources().list.push(Arc::clone(source));
        // The end of the seat wakes the thread.
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sources().n_seats -= 1;
        self.0.news.notify();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
