//! The pieces of memory that jobs lie in: a cell for each, and a room for the bytes that do not fit into it.
//!
//! | bytes of a cell | what | who writes it |
//! |---|---|---|
//! | 0 to 3 | where the job is: [`Job`] | see there |
//! | 8 to 15 | its length, and in the upper two bytes [`LADEN`] if it has luggage | who owns the cell |
//! | 16 to 23 | how many bytes of the room have memory | who owns the cell |
//! | 24 to 47 | the worker that had it last: number, start time, namespace | who gives it up: the holder of the consumers' lock, or who has leased it |
//! | 48 to 127 | the bytes, if they fit, of a job without luggage | who owns the cell |
//! | 48 to 55 | the number of the luggage, if there is any: then the bytes are in the room | who owns the cell, under the producers' lock |
//!
//! Invariants: a job keeps its cell from being written to being done, so the bytes are read without a lock, and are there
//! again for the next worker if one dies. What is read is a copy, and checked.

use std::io::ErrorKind;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use procession_raw::{Id, Job, Owners, Stage};
use procession_shm::{Party, ShmError};
use procession_sys::OsError;
use procession_sys::futex::SharedPark;

use super::layout::CELL;
use super::memory::Memory;
use super::seats::Worker;

/// How many bytes a job may have to lie in its cell.
pub(super) const INLINE: usize = CELL - INLINE_AT;
const INLINE_AT: usize = 48;
const LEN: usize = 1;
const MEMORY: usize = 2;
const WORKER: usize = 3;
const NUMBER: usize = INLINE_AT / 8;
/// In the upper two bytes of the length: no length is as long, and no mere bit is taken for it.
const LADEN: u64 = 0x4c67;
const LADEN_AT: u32 = 48;
/// So many cells keep the memory of their rooms if it is not more than all jobs may have together.
const WARM: u32 = 32;

/// A cell that the calling thread is writing. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Owned<'a> {
    memory: &'a Memory,
    me: Id,
    pub(super) cell: u32,
    pub(super) len: u64,
}

impl<'a> Owned<'a> {
    /// A cell with these bytes; `None` if all are in use.
    pub(super) fn fill(
        memory: &'a Memory,
        party: &Party<'_>,
        me: Id,
        bytes: &[u8],
        is_laden: bool,
    ) -> Result<Option<Self>, ShmError> {
        let Some(cell) = memory.take_cell(party, me)? else { return Ok(None) };
        let owned = Self { memory, me, cell, len: bytes.len() as u64 };
        let laden = if is_laden { LADEN << LADEN_AT } else { 0 };
        memory.words_of(cell)?[LEN].store(owned.len | laden, Relaxed);
        if bytes.len() <= INLINE && !is_laden {
            memory.arena().write(memory.layout().cell_at(cell) + INLINE_AT, bytes)?;
        } else {
            owned.reserve()?;
            memory.arena().write(memory.layout().room_at(cell), bytes)?;
        }
        Ok(Some(owned))
    }

    fn reserve(&self) -> Result<(), ShmError> {
        let has = self.memory.memory_of(self.cell)?;
        if has < self.len {
            let at = self.memory.layout().room_at(self.cell);
            self.memory.arena().reserve(at + has as usize, (self.len - has) as usize)?;
            self.memory.words_of(self.cell)?[MEMORY].store(self.len, Relaxed);
        }
        Ok(())
    }

    /// Says that the job has the luggage with this number. Only for the holder of the producers' lock.
    pub(super) fn lade(&self, number: u64) -> Result<(), ShmError> {
        self.memory.words_of(self.cell)?[NUMBER].store(number, Relaxed);
        Ok(())
    }

    /// Says that the job is at this position. Only for the holder of the producers' lock.
    pub(super) fn enqueue(&self, position: u32) {
        // It fails only if a peer has stored over the word.
        if let Ok(job) = self.memory.job(self.cell) {
            job.change(Stage::Owned(self.me), Stage::queued(position));
        }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // Not if it was queued.
        if let Ok(job) = self.memory.job(self.cell)
            && job.change(Stage::Owned(self.me), Stage::Free)
        {
            self.memory.freed(self.cell);
        }
    }
}

impl Memory {
    /// The words of a cell.
    fn words_of(&self, cell: u32) -> Result<&[AtomicU64], ShmError> {
        self.arena().atomics(self.layout().cell_at(cell), NUMBER + 1)
    }

    /// How many bytes of a room have memory.
    fn memory_of(&self, cell: u32) -> Result<u64, ShmError> {
        Ok(self.words_of(cell)?[MEMORY].load(Relaxed).min(self.layout().room))
    }

    /// A free cell for the calling thread; `None` if all of those that have memory are in use.
    fn take_cell(&self, owners: &impl Owners, me: Id) -> Result<Option<u32>, ShmError> {
        let top = self.top();
        let start = self.hint.load(Relaxed).min(top);
        for cell in (start..top).chain(0..start) {
            if self.job(cell)?.take(owners, me) {
                self.hint.store(cell + 1, Relaxed);
                return Ok(Some(cell));
            }
        }
        Ok(None)
    }

    /// A cell became free: it is the first to look at if no earlier one did, because it has memory.
    pub(super) fn freed(&self, cell: u32) {
        self.hint.fetch_min(cell, Relaxed);
        self.trim(cell);
    }

    /// Gives the memory of a free cell's room back, if it is more than the cell may keep.
    fn trim(&self, cell: u32) {
        let layout = self.layout();
        let has = self.memory_of(cell).unwrap_or(0);
        let share = 2 * layout.budget / u64::from(layout.n_cells);
        if has <= share {
            return;
        }
        let all = || (0..WARM.min(self.top())).filter_map(|cell| self.memory_of(cell).ok()).sum::<u64>();
        if cell < WARM && all() <= layout.budget.saturating_mul(2) {
            return;
        }
        // Nobody else has it meanwhile: it is taken like one to be filled, by a thread that may well be the only one.
        let (Ok(me), Ok(job)) = (self.arena().party().me(), self.job(cell)) else { return };
        if job.change(Stage::Free, Stage::Owned(me)) {
            // First the memory: who is killed in between leaves a room that has less than it says, which is only slow.
            if self.arena().release(layout.room_at(cell), has as usize).is_ok()
                && let Ok(words) = self.words_of(cell)
            {
                words[MEMORY].store(0, Relaxed);
            }
            job.change(Stage::Owned(me), Stage::Free);
        }
    }

    /// The length of a job, if it can be.
    pub(super) fn len_of(&self, cell: u32) -> Option<usize> {
        let word = self.words_of(cell).ok()?[LEN].load(Relaxed);
        let len = if word >> LADEN_AT == LADEN { word ^ LADEN << LADEN_AT } else { word };
        (len <= self.layout().limit).then_some(len as usize)
    }

    /// The number of a job's luggage, if it has any.
    #[inline]
    pub(super) fn luggage_of(&self, cell: u32) -> Option<u64> {
        let words = self.words_of(cell).ok()?;
        (words[LEN].load(Relaxed) >> LADEN_AT == LADEN).then(|| words[NUMBER].load(Relaxed))
    }

    /// Appends a copy of a job's bytes to `into`, where there is room for them.
    pub(super) fn read(&self, cell: u32, len: usize, into: &mut Vec<u8>) -> Result<(), ShmError> {
        let old = into.len();
        reserve(len, into)?;
        into.resize(old + len, 0);
        let is_inline = len <= INLINE && self.luggage_of(cell).is_none();
        let at =
            if is_inline { self.layout().cell_at(cell) + INLINE_AT } else { self.layout().room_at(cell) };
        self.arena().read(at, &mut into[old..])
    }

    /// Notes who had the job last. For who is about to give it up.
    pub(super) fn set_worker(&self, cell: u32, worker: Worker) {
        if let Ok(words) = self.words_of(cell) {
            words[WORKER].store(worker.pid.into(), Relaxed);
            words[WORKER + 1].store(worker.started, Relaxed);
            words[WORKER + 2].store(worker.namespace, Relaxed);
        }
    }

    /// Who had a job last that was given up.
    pub(super) fn last_worker(&self, cell: u32) -> Option<Worker> {
        let words = self.words_of(cell).ok()?;
        let [pid, started, namespace] = [0, 1, 2].map(|at: usize| words[WORKER + at].load(Relaxed));
        (pid != 0).then_some(Worker { pid: pid as u32, started, namespace })
    }

    /// Ends a job that this process has leased.
    pub(super) fn finish(&self, cell: u32, stage: Stage) {
        if self.job(cell).is_ok_and(|job| job.finish(&SharedPark, stage)) {
            self.freed(cell);
        }
    }

    /// The job at a stage, to wait for its end.
    pub(super) fn find(&self, mut is_it: impl FnMut(Stage) -> bool) -> Option<(&Job, Stage)> {
        self.jobs().map(|(_, job)| (job, job.current())).find(|(_, stage)| is_it(*stage))
    }
}

/// Makes room for a job in `into`.
pub(super) fn reserve(len: usize, into: &mut Vec<u8>) -> Result<(), ShmError> {
    let refused = |_| OsError::new(format!("receiving {len} bytes"), ErrorKind::OutOfMemory).into();
    into.try_reserve(len).map_err(refused)
}
