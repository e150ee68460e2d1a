//! A worker's journal: answers in memory that outlives it, so that its death costs the task it was running and no other.
//!
//! One writer, the worker; one reader, the pool, which reads only after the worker said that a job is done, or after
//! its death. Answers are appended one after the other; an answer counts once the commit word says so.
//!
//! | word | bytes | meaning | written |
//! |---|---|---|---|
//! | `JOB` | 0–7 | the job that the other words speak of | last, when a job begins |
//! | `COMMIT` | 8–15 | answers in the journal (upper half), their bytes (lower half) | after each answer: its commit |
//! | `BASE` | 16–23 | index of the journal's first answer among the job's items | after a flush |
//! | `STARTED` | 24–31 | index + 1 of the item that is being run; its top bit: no other may begin | before each item; the bit by the pool |
//! | `READY` | 32–39 | 1: the worker has come so far that it asks for jobs; 2: it has grown too large for more | once each |
//! | `REVOKED` | 40–47 | a job of which nobody wants what has not begun | by the pool |
//! | `SINCE` | 48–55 | when that item began, in nanoseconds of the monotonic clock | before `STARTED`, if the job has a time limit or few items, else of each 64th |
//!
//! | worker killed | the pool sees |
//! |---|---|
//! | before `JOB` is stored | another job: none of this one's items was begun |
//! | while an item runs | `STARTED` is one more than the answers: that item is lost |
//! | while an answer is copied in | the same: the answer does not count |
//! | after `COMMIT` is stored | the answer; the next item was not begun |
//! | in a flush, after its message | the answers in the message; in the journal none, or the same ones again |
//!
//! A worker that is to be killed for an item must not be killed for the one after it: the pool sets the top bit of
//! `STARTED` with the value it has seen, so either the item has changed meanwhile, or no other begins.
//!
//! The reader trusts nothing: lengths are checked against the mapping, indices against the job. Held by the tests below
//! and by `tests/contract.rs` (`killed_*`).

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use procession_sys::OsError;
use procession_sys::memory::{Mapping, Memfd};

/// Bytes of a journal, and of the lane in it.
pub(crate) const SIZE: u64 = (128 << 10) + LANE_LEN as u64;

const JOB: usize = 0;
const COMMIT: usize = 8;
const BASE: usize = 16;
const STARTED: usize = 24;
const READY: usize = 32;
const REVOKED: usize = 40;
const SINCE: usize = 48;
/// Bytes 64–191 are the worker's notes of its time: `insights/ledger.rs`.
/// From here on is its lane: `lane.rs`.
pub(crate) const LANE: usize = 192;
pub(crate) const LANE_LEN: usize = 64 << 10;
const ANSWERS: usize = LANE + LANE_LEN;

/// In `STARTED`: the worker begins no further item.
const CONDEMNED: u64 = 1 << 63;
/// In `READY`: it asks for no more jobs.
const FULL: u64 = 2;

/// The memory of a journal, as both sides map it.
#[derive(Debug)]
pub(crate) struct Journal {
    map: Mapping,
}

/// What the pool reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entries {
    /// Index of the first answer.
    pub(crate) base: usize,
    /// The encoded answers.
    pub(crate) answers: Vec<Vec<u8>>,
    /// Index + 1 of the item that was begun last; 0: none; the most there is if the journal is damaged: then any item
    /// may have been begun.
    pub(crate) started: usize,
}

/// How far a worker is, as the pool looks at it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether it has begun the job.
    pub(crate) is_begun: bool,
    /// Changes with each item that is begun.
    pub(crate) mark: u64,
    /// When the item began that is being run, in nanoseconds of the monotonic clock; `None` while none is.
    pub(crate) since: Option<u64>,
}

impl Progress {
    /// Index of the item that is being run, or was last; `None` before the first.
    pub(crate) fn index(self) -> Option<u64> {
        (self.mark & !CONDEMNED).checked_sub(1)
    }
}

impl Journal {
    pub(crate) fn open(memory: &Memfd) -> Result<Self, OsError> {
        let map = Mapping::shared(memory)?;
        if map.len() < ANSWERS {
            let short = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is too short");
            return Err(OsError::new("opening a journal", short));
        }
        Ok(Self { map })
    }

    /// The memory, at least as long as its head.
    pub(crate) fn map(&self) -> &Mapping {
        &self.map
    }

    /// Worker: asks for jobs from now on.
    pub(crate) fn set_ready(&self) {
        self.map.atomic_u64(READY).store(1, Release);
    }

    /// Pool: whether the worker has ever come so far.
    pub(crate) fn is_ready(&self) -> bool {
        self.map.atomic_u64(READY).load(Acquire) != 0
    }

    /// Worker: it has grown beyond what it should have, and is to be replaced. It may leave items out from now on.
    pub(crate) fn set_full(&self) {
        self.map.atomic_u64(READY).store(FULL, Release);
    }

    /// Pool: whether the worker says so.
    pub(crate) fn is_full(&self) -> bool {
        self.map.atomic_u64(READY).load(Acquire) == FULL
    }

    /// Pool: nobody wants the items of `job` that have not begun.
    pub(crate) fn revoke(&self, job: u64) {
        self.map.atomic_u64(REVOKED).store(job, Release);
    }

    /// Worker: whether `job` is wanted no more.
    pub(crate) fn is_revoked(&self, job: u64) -> bool {
        self.map.atomic_u64(REVOKED).load(Acquire) == job
    }

    /// Worker: the journal is about `job` from now on, and empty.
    pub(crate) fn begin(&self, job: u64) {
        // In this order: until the last store the words are those of a finished job, or of none.
        self.map.atomic_u64(COMMIT).store(0, Release);
        self.map.atomic_u64(BASE).store(0, Release);
        self.map.atomic_u64(STARTED).store(0, Release);
        self.map.atomic_u64(JOB).store(job, Release);
    }

    /// Worker: the next item begins at `nanos`.
    pub(crate) fn stamp(&self, nanos: u64) {
        self.map.atomic_u64(SINCE).store(nanos, Release);
    }

    /// Worker: item `index` is being run; false if no further item may begin.
    pub(crate) fn start(&self, index: usize) -> bool {
        let next = |before: u64| (before & CONDEMNED == 0).then_some(index as u64 + 1);
        self.map.atomic_u64(STARTED).fetch_update(AcqRel, Acquire, next).is_ok()
    }

    /// Pool: how far the worker is with `job`.
    pub(crate) fn progress(&self, job: u64) -> Progress {
        let word = |at| self.map.atomic_u64(at).load(Acquire);
        if word(JOB) != job {
            return Progress { is_begun: false, mark: 0, since: None };
        }
        // In this order: the time is that of the item, or a later one's.
        let (mark, since) = (word(STARTED), word(SINCE));
        let (n, _) = self.committed();
        let is_running = mark > word(BASE).saturating_add(n as u64);
        Progress { is_begun: true, mark, since: is_running.then_some(since) }
    }

    /// Pool: how many items of `job` are finished.
    pub(crate) fn n_finished(&self, job: u64) -> usize {
        if self.map.atomic_u64(JOB).load(Acquire) != job {
            return 0;
        }
        let (n, _) = self.committed();
        usize::try_from(self.map.atomic_u64(BASE).load(Acquire)).unwrap_or(0).saturating_add(n)
    }

    /// Pool: the worker begins no further item, unless it has begun one since `progress` was looked at. A job that it has
    /// not begun it may begin. Not to be called while the worker may be given another.
    pub(crate) fn condemn(&self, progress: Progress) -> bool {
        let (now, then) = (progress.mark, progress.mark | CONDEMNED);
        !progress.is_begun
            || self.map.atomic_u64(STARTED).compare_exchange(now, then, AcqRel, Acquire).is_ok()
    }

    /// Worker: appends an answer; false when there is no room for it.
    pub(crate) fn append(&self, answer: &[u8]) -> bool {
        let (n, used) = self.committed();
        let at = ANSWERS + used;
        let Some(end) = at.checked_add(4 + answer.len()).filter(|end| *end <= self.map.len()) else {
            return false;
        };
        let Ok(len) = u32::try_from(answer.len()) else { return false };
        self.map.write(at, &len.to_le_bytes());
        self.map.write(at + 4, answer);
        let commit = (n as u64 + 1) << 32 | (end - ANSWERS) as u64;
        self.map.atomic_u64(COMMIT).store(commit, Release);
        true
    }

    /// Worker: writes an answer that does not count. Who does this dies of it.
    pub(crate) fn tear(&self, answer: &[u8]) {
        let at = ANSWERS + self.committed().1 + 4;
        if at.checked_add(answer.len()).is_some_and(|end| end <= self.map.len()) {
            self.map.write(at, answer);
        }
    }

    /// Worker: the answers so far, as a message carries them, and how many.
    pub(crate) fn contents(&self) -> (usize, Vec<u8>) {
        let (n, used) = self.committed();
        (n, self.map.read_vec(ANSWERS, used))
    }

    /// Worker: forgets the answers, which a message took; the next is that of item `base`.
    pub(crate) fn restart(&self, base: usize) {
        // The commit word first: a base never counts answers that were before it.
        self.map.atomic_u64(COMMIT).store(0, Release);
        self.map.atomic_u64(BASE).store(base as u64, Release);
    }

    /// Pool: what stands here of `job`; `None` if the worker never began it.
    pub(crate) fn read(&self, job: u64) -> Option<Entries> {
        if self.map.atomic_u64(JOB).load(Acquire) != job {
            return None;
        }
        let word = |at| usize::try_from(self.map.atomic_u64(at).load(Acquire)).unwrap_or(usize::MAX);
        let (base, started) = (word(BASE), word(STARTED) & !(CONDEMNED as usize));
        let (n, used) = self.committed();
        let bytes = (used <= self.map.len() - ANSWERS).then(|| self.map.read_vec(ANSWERS, used));
        let answers = bytes.map(|bytes| split(&bytes)).filter(|answers| answers.len() == n);
        let damaged = Entries { base: 0, answers: Vec::new(), started: usize::MAX };
        Some(answers.map_or(damaged, |answers| Entries { base, answers, started }))
    }

    /// As a worker that writes where it should not might leave it.
    #[cfg(test)]
    pub(crate) fn damage(&self) {
        self.map.atomic_u64(COMMIT).store(u64::MAX, Release);
    }

    /// Number of answers, and their bytes.
    fn committed(&self) -> (usize, usize) {
        let commit = self.map.atomic_u64(COMMIT).load(Acquire);
        ((commit >> 32) as usize, commit as u32 as usize)
    }
}

/// Cuts answers apart that stand one after the other, each behind its length.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let Some((answer, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else { break };
        answers.push(answer.to_vec());
        bytes = rest;
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (Journal, Journal) {
        let memory = Memfd::sealed("test", SIZE).unwrap();
        (Journal::open(&memory).unwrap(), Journal::open(&memory).unwrap())
    }

    fn entries(base: usize, answers: &[&[u8]], started: usize) -> Option<Entries> {
        Some(Entries { base, answers: answers.iter().map(|a| a.to_vec()).collect(), started })
    }

    #[test]
    fn every_step_as_the_pool_sees_it() {
        let (worker, pool) = journal();
        assert_eq!(pool.read(7), None);
        worker.begin(7);
        assert_eq!(pool.read(7), entries(0, &[], 0));
        assert!(worker.start(0));
        assert_eq!(pool.read(7), entries(0, &[], 1));
        assert!(worker.append(b"one"));
        assert!(worker.start(1));
        assert!(worker.append(b""));
        assert_eq!(pool.read(7), entries(0, &[b"one", b""], 2));
        let (n, bytes) = worker.contents();
        assert_eq!((n, split(&bytes)), (2, vec![b"one".to_vec(), Vec::new()]));
        worker.restart(2);
        assert!(worker.start(2));
        assert_eq!(pool.read(7), entries(2, &[], 3));
        worker.begin(8);
        assert_eq!(pool.read(7), None);
    }

    #[test]
    fn no_item_begins_after_the_one_that_is_condemned() {
        let (worker, pool) = journal();
        worker.begin(7);
        let none = pool.progress(7);
        assert_eq!((none.since, pool.progress(6).since), (None, None));
        worker.stamp(50);
        assert!(worker.start(0));
        let first = pool.progress(7);
        assert_eq!(first.since, Some(50));
        assert!(!pool.condemn(none), "an item has begun since");
        assert!(worker.append(b"one"));
        assert_eq!(pool.progress(7).since, None, "between two items");
        worker.stamp(60);
        assert!(worker.start(1));
        assert!(!pool.condemn(first), "that one is done");
        assert!(pool.condemn(pool.progress(7)));
        assert!(worker.append(b"two") && !worker.start(2));
        assert_eq!(pool.read(7), entries(0, &[b"one", b"two"], 2));
    }

    #[test]
    fn full_is_said_and_nonsense_may_have_been_anything() {
        let (worker, pool) = journal();
        worker.begin(1);
        assert!(!worker.append(&vec![0; usize::try_from(SIZE).unwrap()]));
        assert!(worker.append(&[1; 1000]));
        assert_eq!(pool.read(1).unwrap().answers.len(), 1);
        for commit in [u64::MAX, 2 << 32 | 1004, 1 << 32, u64::from(u32::MAX)] {
            worker.map.atomic_u64(COMMIT).store(commit, Release);
            assert_eq!(pool.read(1), entries(0, &[], usize::MAX), "{commit:x}");
            assert_eq!(pool.read(2), None);
        }
    }
}
