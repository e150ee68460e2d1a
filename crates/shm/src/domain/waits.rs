//! Who waits for what, and for whom: what threads publish before they sleep, for reports of trouble.
//!
//! For each slot of the table there is a record. It is hearsay: nothing but reports depends on it, and whoever reads it
//! may find it late, or written by a process that lies.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | 0, or the id of the waiting thread: a record of another id than the slot's is stale |
//! | 4 | 4 | 0, or the id of the thread that it waits for, and `ANY` if others can let it go on too |
//! | 8 | 8 | inode of the object that it waits for |
//! | 16 | 8 | where in the object |
//! | 24 | 8 | since when, in milliseconds of the monotonic clock |
//! | 32 | 16 | what it is called, as text with zeros behind it |
//! | 48 | 4 | 0, or the number of the process that it waits for, if it waits for no single thread |
//! | 52 | 4 | the pid namespace of that process; 0: not known |
//! | 56 | 8 | the start time of that process |
//!
//! Invariants: the id is stored last and removed first; a thread writes its own record only, and only on the way to a
//! sleep. Who is killed meanwhile leaves a record of a dead id. Held by `tests/waits.rs`.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use procession_raw::{Id, Owners};
use procession_sys::clock::uptime;
use procession_sys::memory::Mapping;

use super::header::waits_at;
use super::{Domain, Participant};
use crate::space::Space;
use crate::wait::Whom;

/// Bytes of a record: a cache line.
pub(super) const SIZE: usize = 64;
const NAME: usize = 16;
/// Beside an id, so that no id looks like none.
const SOME: u32 = 1 << 29;
const ANY: u32 = 1 << 30;

/// What somebody waits for: a place in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Awaited {
    pub(crate) inode: u64,
    pub(crate) offset: u64,
}

/// A thread that waits for something that others hold, as it said before it lay down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiter {
    /// Who waits.
    pub who: Participant,
    /// Who held it then; of something that several hold, one of them; of parts of an [`Array`](crate::Array), a process
    /// by its first thread.
    pub holder: Option<Participant>,
    /// What kind of thing it waits for, such as `Mutex`; 16 bytes of it.
    pub what: String,
    /// The number of the file behind the thing, and the place in it: two waiters with the same wait for the same thing.
    pub place: (u64, u64),
    /// How long it has waited by now.
    pub since: Duration,
    pub(super) id: Id,
    /// Without whom it cannot go on.
    pub(super) holder_id: Option<Id>,
}

impl Domain {
    /// The calling thread, whose id is `me`, is about to sleep.
    pub(crate) fn publish_wait(&self, me: Id, whom: Whom, awaited: Awaited, name: &str, since: Duration) {
        let Some(record) = Record::of(self, me.slot()) else { return };
        record.word(0).store(0, Relaxed);
        let (thread, process) = match whom {
            Whom::Holder(id) => (SOME | id.to_bits(), None),
            Whom::OneOfSeveral(id) => (SOME | ANY | id.to_bits(), None),
            Whom::Process(process) => (0, Some(process)),
            Whom::Others => (0, None),
        };
        record.word(4).store(thread, Release);
        record.store_process(process);
        let mut text = [0; NAME];
        name.bytes().zip(&mut text).for_each(|(byte, place)| *place = byte);
        let (low, high) = text.split_at(NAME / 2);
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let longs = [awaited.inode, awaited.offset, since, long(low), long(high)];
        for (at, value) in longs.into_iter().enumerate() {
            record.long(8 + at * 8).store(value, Relaxed);
        }
        record.word(0).store(SOME | me.to_bits(), Release);
    }

    /// It does not wait any more.
    pub(crate) fn withdraw_wait(&self, me: Id) {
        if let Some(record) = Record::of(self, me.slot()) {
            record.word(0).store(0, Relaxed);
        }
    }

    /// Everybody in this domain who waits for a lock, a permit or items that somebody has, and has slept for it already.
    ///
    /// A look at all slots in use, and no proof: by the time it is read, the wait may be over. Does not wait.
    ///
    /// # Examples
    /// ```
    /// let domain = procession_shm::domain::Domain::current()?;
    /// assert!(domain.waiters().is_empty());
    /// # Ok::<(), procession_shm::domain::DomainError>(())
    /// ```
    pub fn waiters(&self) -> Vec<Waiter> {
        self.0.numbers().filter_map(|slot| Record::of(self, slot)?.read(self, slot)).collect()
    }
}

/// Who waits for what lives in this space: of all that wait, those who wait for that place.
pub(crate) fn waiters_for(space: &Space) -> Vec<Participant> {
    let Some(domain) = space.domain() else { return Vec::new() };
    let Ok(file) = space.file() else { return Vec::new() };
    let place = (file.inode, space.offset() as u64);
    domain.waiters().into_iter().filter(|waiter| waiter.place == place).map(|waiter| waiter.who).collect()
}

/// The record of a slot.
struct Record<'a> {
    mapping: &'a Mapping,
    at: usize,
}

impl<'a> Record<'a> {
    fn of(domain: &'a Domain, slot: u32) -> Option<Self> {
        let n_slots = domain.n_slots();
        let at = waits_at(n_slots) + slot as usize * SIZE;
        (slot < n_slots).then_some(Self { mapping: &domain.0.mapping, at })
    }

    fn word(&self, offset: usize) -> &std::sync::atomic::AtomicU32 {
        self.mapping.atomic_u32(self.at + offset)
    }

    fn long(&self, offset: usize) -> &std::sync::atomic::AtomicU64 {
        self.mapping.atomic_u64(self.at + offset)
    }

    fn store_process(&self, process: Option<Participant>) {
        let (pid, namespace, started) =
            process.map_or((0, 0, 0), |Participant { pid, namespace, started, .. }| {
                (pid, u32::try_from(namespace).unwrap_or(0), started)
            });
        self.word(48).store(pid, Relaxed);
        self.word(52).store(namespace, Relaxed);
        self.long(56).store(started, Relaxed);
    }

    fn process(&self) -> Option<Participant> {
        let [pid, namespace] = [48, 52].map(|offset| self.word(offset).load(Acquire));
        let started = self.long(56).load(Acquire);
        (pid != 0).then_some(Participant { pid, tid: pid, namespace: namespace.into(), started })
    }

    fn read(&self, domain: &Domain, slot: u32) -> Option<Waiter> {
        let first = self.word(0).load(Acquire);
        let whom = self.word(4).load(Relaxed);
        let [inode, offset, since, low, high] =
            [8, 16, 24, 32, 40].map(|offset| self.long(offset).load(Acquire));
        let process = if whom == 0 { self.process() } else { None };
        let id = Id::from_bits(first);
        if first == 0 || self.word(0).load(Relaxed) != first || id.slot() != slot || domain.is_dead(id) {
            return None;
        }
        let text = [low.to_ne_bytes(), high.to_ne_bytes()].concat();
        let holder = (whom != 0).then(|| Id::from_bits(whom));
        Some(Waiter {
            who: domain.participant(id)?,
            holder: holder.and_then(|id| domain.participant(id)).or(process),
            what: String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned(),
            place: (inode, offset),
            since: uptime().saturating_sub(Duration::from_millis(since)),
            id,
            holder_id: holder.filter(|_| whom & ANY == 0),
        })
    }
}

fn long(bytes: &[u8]) -> u64 {
    let mut long = [0; 8];
    long.copy_from_slice(bytes);
    u64::from_ne_bytes(long)
}
