//! What a pool keeps about the memory of its workers.
//!
//! Two limits: a worker above the one is replaced between two tasks ([`Builder::recycle_above`]), which is nobody's
//! failure; one above the other is killed while it runs a task ([`Builder::memory_limit`]), which is the task's.
//!
//! [`Builder::recycle_above`]: crate::Builder::recycle_above
//! [`Builder::memory_limit`]: crate::Builder::memory_limit

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use procession_sys::memory;

use crate::chaos::{Chaos, ChaosPoint};
use crate::crew::Settings;
use crate::job::Order;
use crate::setup::Setup;

/// Between two looks at the memory of workers that may not have too much of it.
const OFTEN: Duration = Duration::from_millis(50);
/// Between two looks only for what an error says.
const RARELY: Duration = Duration::from_millis(500);

/// How much memory workers may have, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryRules {
    /// Above this a worker is replaced between two tasks.
    pub(crate) recycle_above: Option<u64>,
    /// Above this its task is ended.
    pub(crate) limit: Option<u64>,
}

impl MemoryRules {
    /// Between two looks.
    pub(crate) fn period(self) -> Duration {
        if self.limit.is_some() { OFTEN } else { RARELY }
    }
}

/// What is known of one worker beyond its work.
#[derive(Debug)]
pub(crate) struct Care {
    pub(crate) memory: MemoryRules,
    pub(crate) setup: Option<Arc<Setup>>,
    pub(crate) chaos: Option<Chaos>,
    /// Resident bytes at the last look; 0: never looked.
    resident: AtomicU64,
    /// What the control group had counted when the worker started.
    oom_before: Option<u64>,
    /// It said something that makes no sense, and was ended by us for it.
    senseless: AtomicBool,
}

impl Care {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (memory, setup, chaos) = (settings.memory, settings.setup.clone(), settings.chaos);
        let (resident, senseless) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { memory, setup, chaos, resident, oom_before: memory::oom_kills(), senseless }
    }

    /// Where the worker is to be killed on purpose that runs the first item of `order`.
    pub(crate) fn fate_of(&self, order: &Order) -> Option<ChaosPoint> {
        self.chaos?.hit(order.task, order.job.attempt, order.job.extra.n_killed)
    }

    /// What it said makes no sense.
    pub(crate) fn note_nonsense(&self) {
        self.senseless.store(true, Relaxed);
    }

    pub(crate) fn is_senseless(&self) -> bool {
        self.senseless.load(Relaxed)
    }

    pub(crate) fn note(&self, resident: u64) {
        self.resident.store(resident, Relaxed);
    }

    /// Resident bytes at the last look.
    pub(crate) fn resident(&self) -> Option<u64> {
        Some(self.resident.load(Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// How many processes of our control group were ended for lack of memory since the worker started.
    pub(crate) fn oom_kills(&self) -> u64 {
        let now = memory::oom_kills();
        now.zip(self.oom_before).map_or(0, |(now, before)| now.saturating_sub(before))
    }
}
