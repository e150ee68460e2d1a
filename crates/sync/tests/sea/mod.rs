//! What the processes of the storm share: the objects, and what is counted of them.

use procession_shm::{Atomic, Plain, Shared};
use procession_sync::{Barrier, Event, LazyShared, Participant, RwLock, Semaphore, SignalSemaphore};

pub(crate) const N_SAILORS: usize = 5;
pub(crate) const N_PERMITS: u32 = 3;
pub(crate) const N_LAZIES: usize = 32;

/// Equal for whoever holds the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
pub(crate) struct Pair {
    pub(crate) a: u64,
    pub(crate) b: u64,
}

/// What is known of a sailor.
#[derive(Clone, Shared)]
pub(crate) struct Berth {
    /// Its process number; 0 from just before it is killed.
    pub(crate) pid: Atomic<u32>,
    /// Odd while it has a permit. It changes only by the sailor, and when the dead one was reaped.
    pub(crate) inside: Atomic<u32>,
    /// How often a kill of a sailor of this berth began or was over: odd from just before it until the dead one was reaped.
    pub(crate) kills: Atomic<u32>,
}

#[derive(Clone, Shared)]
pub(crate) struct Sea {
    pub(crate) pair: RwLock<Pair>,
    pub(crate) permits: Semaphore,
    pub(crate) tokens: SignalSemaphore,
    pub(crate) event: Event,
    pub(crate) gate: Barrier,
    pub(crate) lazies: [LazyShared<Pair>; N_LAZIES],
    /// Which of the lazies is to be made now, and how often somebody began to.
    pub(crate) lazy: Atomic<u32>,
    pub(crate) n_made: Atomic<u32>,
    pub(crate) n_written: Atomic<u64>,
    pub(crate) n_given: Atomic<u32>,
    pub(crate) n_taken: Atomic<u32>,
    pub(crate) n_met: Atomic<u32>,
    pub(crate) berths: [Berth; N_SAILORS],
    pub(crate) n_visits: Atomic<u32>,
    pub(crate) n_deaths: Atomic<u32>,
    pub(crate) n_faults: Atomic<u32>,
    pub(crate) stop: Atomic<bool>,
    pub(crate) n_home: Atomic<u32>,
}

impl Sea {
    pub(crate) fn new() -> Self {
        let lazies = [((), Pair::default()); N_LAZIES];
        let berths = [(0, 0, 0); N_SAILORS];
        Self::create((
            Pair::default(),
            N_PERMITS,
            [0, SignalSemaphore::MAX],
            (),
            2,
            lazies,
            0,
            0,
            0,
            0,
            0,
            0,
            berths,
            0,
            0,
            0,
            false,
            0,
        ))
        .unwrap()
    }

    pub(crate) fn told(&self, dead: Option<Participant>) {
        let dead = dead.expect("a dead holder has a name");
        assert!(self.berths.iter().all(|berth| berth.pid.load() != dead.pid), "the living are not dead");
        self.n_deaths.fetch_add(1);
    }
}
