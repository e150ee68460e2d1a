//! One thread that hands on what all children of this process write, `procession-log`.
//!
//! It is started with the first child, sleeps while nobody writes, and ends with the last child. A child rings the bell for
//! the first frame after a pause and when its ring is half full; meanwhile the thread looks every [`PAUSE`], so that
//! children seldom pay for a system call.
//!
//! A process that forks children of itself must have one thread: for such a child the thread is not started. What the
//! child writes is then handed on when its end is seen, or by the thread that runs for another.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use procession_process::{Deadline, StartMethod};
use procession_sys::event::Event;
use procession_sys::per_process::PerProcess;
use procession_sys::poll::{self, Interest};
use procession_sys::{OsError, Result};

use crate::intake::Intake;

/// How long a frame may wait that is not the first after a pause.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Collector {
    bell: OnceLock<Event>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    intakes: Vec<Intake>,
    is_running: bool,
}

static COLLECTOR: PerProcess<Collector> = PerProcess::new();

impl Collector {
    /// That of this process.
    pub(crate) fn here() -> &'static Self {
        COLLECTOR.get(Self::default)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // No code of others runs under it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a child rings.
    pub(crate) fn bell(&self, _: StartMethod) -> Result<OwnedFd> {
        let bell = match self.bell.get() {
            Some(bell) => bell,
            None => {
                let new = Event::new()?;
                self.bell.get_or_init(|| new)
            }
        };
        let clone = bell.as_fd().try_clone_to_owned();
        clone.map_err(|error| OsError::new("duplicating the bell for log records", error))
    }

    /// A child is there.
    pub(crate) fn add(&'static self, intake: Intake, method: StartMethod) {
        let mut list = self.list();
        list.intakes.retain(|intake| !intake.is_gone());
        list.intakes.push(intake);
        if !list.is_running && method != StartMethod::Fork {
            // Without a thread, records come when the end of their child is seen.
            let thread = thread::Builder::new().name("procession-log".into());
            list.is_running = thread.spawn(|| self.run()).is_ok();
        }
        drop(list);
        self.look_again();
    }

    /// Something has changed.
    pub(crate) fn look_again(&self) {
        if let Some(bell) = self.bell.get() {
            bell.notify();
        }
    }

    fn run(&self) {
        let Some(bell) = self.bell.get() else { return };
        loop {
            // Before looking: what is new after that rings again.
            bell.clear();
            let Some(intakes) = self.living() else { return };
            let n_busy = intakes.iter().filter(|intake| intake.look()).count();
            // All of them are asked, also after the first that is awake.
            let n_awake =
                if n_busy == 0 { intakes.iter().filter(|intake| intake.fall_asleep()).count() } else { 1 };
            drop(intakes);
            let until = if n_awake == 0 { Deadline::NEVER } else { Deadline::after(PAUSE) };
            if poll::one(bell, Interest::Readable, until).is_err() {
                thread::park_timeout(PAUSE);
            }
        }
    }

    /// The children that are still to be heard; `None` when the thread may end.
    fn living(&self) -> Option<Vec<Intake>> {
        let mut list = self.list();
        list.intakes.retain(|intake| !intake.is_gone());
        list.is_running = !list.intakes.is_empty();
        list.is_running.then(|| list.intakes.clone())
    }
}
