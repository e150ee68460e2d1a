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
//! | `STARTED` | 24–31 | index + 1 of the item that is being run | before each item |
//! | `READY` | 32–39 | 1: the worker has come so far that it asks for jobs | once |
//! | `REVOKED` | 40–47 | a job of which nobody wants what has not begun | by the pool |
//!
//! | worker killed | the pool sees |
//! |---|---|
//! | before `JOB` is stored | another job: none of this one's items was begun |
//! | while an item runs | `STARTED` is one more than the answers: that item is lost |
//! | while an answer is copied in | the same: the answer does not count |
//! | after `COMMIT` is stored | the answer; the next item was not begun |
//! | in a flush, after its message | the answers in the message; in the journal none, or the same ones again |
//!
//! The reader trusts nothing: lengths are checked against the mapping, indices against the job. Held by the tests below
//! and by `tests/contract.rs` (`killed_*`).

use std::sync::atomic::Ordering::{Acquire, Release};

use procession_sys::OsError;
use procession_sys::memory::{Mapping, Memfd};

/// Bytes of a journal.
pub(crate) const SIZE: u64 = 128 << 10;

const JOB: usize = 0;
const COMMIT: usize = 8;
const BASE: usize = 16;
const STARTED: usize = 24;
const READY: usize = 32;
const REVOKED: usize = 40;
const ANSWERS: usize = 64;

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

impl Journal {
    pub(crate) fn open(memory: &Memfd) -> Result<Self, OsError> {
        let map = Mapping::shared(memory)?;
        if map.len() < ANSWERS {
            let short = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is too short");
            return Err(OsError::new("opening a journal", short));
        }
        Ok(Self { map })
    }

    /// Worker: asks for jobs from now on.
    pub(crate) fn set_ready(&self) {
        self.map.atomic_u64(READY).store(1, Release);
    }

    /// Pool: whether the worker has ever come so far.
    pub(crate) fn is_ready(&self) -> bool {
        self.map.atomic_u64(READY).load(Acquire) != 0
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

    /// Worker: item `index` is being run.
    pub(crate) fn start(&self, index: usize) {
        self.map.atomic_u64(STARTED).store(index as u64 + 1, Release);
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
        let (base, started) = (word(BASE), word(STARTED));
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
        worker.start(0);
        assert_eq!(pool.read(7), entries(0, &[], 1));
        assert!(worker.append(b"one"));
        worker.start(1);
        assert!(worker.append(b""));
        assert_eq!(pool.read(7), entries(0, &[b"one", b""], 2));
        let (n, bytes) = worker.contents();
        assert_eq!((n, split(&bytes)), (2, vec![b"one".to_vec(), Vec::new()]));
        worker.restart(2);
        worker.start(2);
        assert_eq!(pool.read(7), entries(2, &[], 3));
        worker.begin(8);
        assert_eq!(pool.read(7), None);
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
