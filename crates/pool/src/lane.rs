//! A worker's lane: jobs on their way in, and the word that one is done, in the memory of its journal. While both sides
//! are awake nothing of that costs a system call.
//!
//! One writer of each word; the socket beside it carries what does not fit (descriptors, long jobs, long answers) and
//! wakes who sleeps. The order of jobs is that of the ring: what goes through the socket leaves a mark in it.
//!
//! | word | meaning | written |
//! |---|---|---|
//! | `POSTED` | bytes of the ring that were ever filled | by the pool: a job's commit |
//! | `ARMED` | the job that the worker is to ring for when it is done, since nobody looks; 0: none | by the pool; by the worker, when it has rung |
//! | `TAKEN` | bytes of the ring that were ever taken | by the worker |
//! | `ASLEEP` | 1: the worker sleeps at its socket, or is about to | by the worker; by the pool, when it has rung |
//! | `DONE` | the job that was done last: its other answers stand in the journal | by the worker |
//! | `NANOS` | the time spent in it | before `DONE` |
//! | `SENT` | messages that the worker has ever sent | before `DONE` |
//!
//! Who goes to sleep says so first and looks once more then; who has something to say says it first and looks then
//! whether anybody sleeps. So one of them sees the other. A dead worker's `DONE` stays readable: what it said counts.
//! The pool believes nothing: `TAKEN` says only how much room there is, `DONE` only where to look.
//!
//! | killed | before | after |
//! |---|---|---|
//! | the pool, posting | nothing of the job is there | it is there whole: the store to `POSTED` is the commit |
//! | the worker, taking | its job is lost with it, or given to another if nothing of it was begun | the same: the journal says what was begun |
//! | the worker, done | the job still runs, and is lost with it | it is done, with its notes: the store to `DONE` is the commit |
//! | the worker, falling asleep | nobody rings | one ring that nobody hears |
//!
//! Held by the tests below, by `tests/lane_kills.rs`, `crew/tests.rs` and `tests/storm.rs`.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::{Duration, Instant};
use std::{hint, thread};

use procession_sys::memory::Mapping;

use crate::journal::{LANE, LANE_LEN};

const POSTED: usize = LANE;
const ARMED: usize = LANE + 8;
const TAKEN: usize = LANE + 64;
const ASLEEP: usize = LANE + 72;
const DONE: usize = LANE + 128;
const NANOS: usize = LANE + 136;
const SENT: usize = LANE + 144;
const RING: usize = LANE + 192;
const RING_LEN: u64 = (LANE_LEN - 192) as u64;

/// Bytes before each job: its length.
const HEAD: u64 = 8;
/// Instead of a length: the rest of the ring is empty.
const SKIP: u64 = u64::MAX;
/// Instead of a length: the job is the next one of the socket.
const SOCKET: u64 = u64::MAX - 1;

/// How long to look before sleeping: to wake who sleeps costs more.
pub(crate) const LOOK: Duration = Duration::from_micros(12);
/// Looks between two yields.
const LOOKS: u32 = 32;
/// So many of them before the worker rings: who is about to look has come by then.
const BEFORE_RINGING: u32 = 96;

/// The words and the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane<'m>(&'m Mapping);

/// What the worker takes out of the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An encoded job.
    Job(Vec<u8>),
    /// The next job of the socket.
    Socket,
}

/// There is no room: the worker does not take what it should have taken long ago.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl<'m> Lane<'m> {
    /// In the memory of a journal.
    pub(crate) fn of(map: &'m Mapping) -> Self {
        Self(map)
    }

    fn load(self, at: usize) -> u64 {
        self.0.atomic_u64(at).load(Acquire)
    }

    fn place(position: u64) -> usize {
        // Less than the length of the ring.
        RING + (position % RING_LEN) as usize
    }

    /// Pool: whether a job of so many bytes goes through the ring, if that is empty.
    pub(crate) fn fits(len: usize) -> bool {
        len as u64 <= RING_LEN / 2 - 2 * HEAD
    }

    /// Pool: puts a job behind those that `head` bytes were written for; with `None` a mark for the next of the socket.
    pub(crate) fn post(self, head: &mut u64, job: Option<&[u8]>) -> Result<(), NoRoom> {
        let len = job.map_or(0, <[u8]>::len) as u64;
        let need = HEAD + len.next_multiple_of(HEAD);
        let used = head.checked_sub(self.load(TAKEN)).filter(|used| *used <= RING_LEN).ok_or(NoRoom)?;
        let to_end = RING_LEN - *head % RING_LEN;
        let skipped = if need > to_end { to_end } else { 0 };
        if used + skipped + need > RING_LEN {
            return Err(NoRoom);
        }
        if skipped > 0 {
            self.0.atomic_u64(Self::place(*head)).store(SKIP, Relaxed);
            *head += skipped;
        }
        self.0.atomic_u64(Self::place(*head)).store(job.map_or(SOCKET, |_| len), Relaxed);
        if let Some(job) = job {
            self.0.write(Self::place(*head + HEAD), job);
        }
        *head += need;
        self.0.atomic_u64(POSTED).store(*head, SeqCst);
        Ok(())
    }

    /// Pool, after it has posted: whether the worker sleeps, and nobody has rung yet.
    pub(crate) fn must_ring(self) -> bool {
        let asleep = self.0.atomic_u64(ASLEEP);
        asleep.load(SeqCst) != 0 && asleep.swap(0, SeqCst) != 0
    }

    /// Pool: the worker is to ring when this job is done, and for no other; 0: for none.
    pub(crate) fn arm(self, job: u64) {
        let armed = self.0.atomic_u64(ARMED);
        if armed.load(Relaxed) != job {
            armed.store(job, SeqCst);
        }
    }

    /// Pool: the job that was done last, as far as the worker says.
    pub(crate) fn done(self) -> u64 {
        self.0.atomic_u64(DONE).load(SeqCst)
    }

    /// Pool, of a job that is done: the nanoseconds it took, and how many messages the worker had sent by then.
    pub(crate) fn done_notes(self) -> (u64, u64) {
        (self.load(NANOS), self.load(SENT))
    }

    /// Worker: takes the first job of the ring, if there is one. `taken` bytes were taken before.
    pub(crate) fn take(self, taken: &mut u64) -> Option<Entry> {
        if self.load(POSTED) == *taken {
            return None;
        }
        let mut len = self.0.atomic_u64(Self::place(*taken)).load(Relaxed);
        if len == SKIP {
            *taken += RING_LEN - *taken % RING_LEN;
            len = self.0.atomic_u64(Self::place(*taken)).load(Relaxed);
        }
        let at = Self::place(*taken + HEAD);
        let entry = match usize::try_from(len).ok().filter(|_| len != SOCKET) {
            Some(len) => {
                let job = self.0.read_vec(at, len);
                *taken += len.next_multiple_of(HEAD as usize) as u64;
                Entry::Job(job)
            }
            None => Entry::Socket,
        };
        *taken += HEAD;
        self.0.atomic_u64(TAKEN).store(*taken, Release);
        Some(entry)
    }

    /// Worker: looks for a while whether there is something in the ring, and calls `ring` if nobody has looked by then for
    /// what was done. False: it may sleep now, at its socket, and is to say that it is [awake](Self::awake) then.
    pub(crate) fn look<E>(self, taken: u64, mut ring: impl FnMut() -> Result<(), E>) -> Result<bool, E> {
        let is_there = || self.load(POSTED) != taken;
        let (mut began, mut n) = (None, 0);
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    return Ok(true);
                }
                hint::spin_loop();
            }
            n += LOOKS;
            if n == BEFORE_RINGING && self.is_to_ring() {
                ring()?;
            }
            if began.get_or_insert_with(Instant::now).elapsed() >= LOOK {
                break;
            }
            thread::yield_now();
        }
        if self.is_to_ring() {
            ring()?;
        }
        self.0.atomic_u64(ASLEEP).store(1, SeqCst);
        if self.0.atomic_u64(POSTED).load(SeqCst) == taken {
            return Ok(false);
        }
        self.awake();
        Ok(true)
    }

    /// Worker: sleeps no more.
    pub(crate) fn awake(self) {
        self.0.atomic_u64(ASLEEP).store(0, Relaxed);
    }

    /// Worker: job `job` is done.
    pub(crate) fn finish(self, job: u64, nanos: u64, n_sent: u64) {
        self.0.atomic_u64(NANOS).store(nanos, Relaxed);
        self.0.atomic_u64(SENT).store(n_sent, Relaxed);
        self.0.atomic_u64(DONE).store(job, SeqCst);
    }

    /// Worker, after it is done: whether it is to ring, and has not yet. The word may speak of the next job already.
    fn is_to_ring(self) -> bool {
        let (armed, done) = (self.0.atomic_u64(ARMED), self.0.atomic_u64(DONE).load(Relaxed));
        done != 0 && armed.load(SeqCst) == done && armed.compare_exchange(done, 0, SeqCst, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use procession_sys::memory::Memfd;

    use super::*;
    use crate::journal::SIZE;

    fn memory() -> Mapping {
        Mapping::shared(&Memfd::sealed("test", SIZE).unwrap()).unwrap()
    }

    #[test]
    fn jobs_come_whole_and_in_order_however_often_the_ring_is_gone_around() {
        let map = memory();
        let (lane, mut head, mut taken) = (Lane::of(&map), 0, 0);
        let job = |n: usize| (!n.is_multiple_of(3)).then(|| vec![n as u8; n * 7919 % 20_000]);
        for n in 0..200 {
            lane.post(&mut head, job(n).as_deref()).unwrap();
            if n % 2 == 1 {
                for n in [n - 1, n] {
                    assert_eq!(lane.take(&mut taken), Some(job(n).map_or(Entry::Socket, Entry::Job)));
                }
                assert_eq!(lane.take(&mut taken), None);
            }
        }
        assert!(head > 10 * RING_LEN && head == taken);
    }

    #[test]
    fn a_full_ring_refuses_and_stays_as_it_is() {
        let map = memory();
        let (lane, mut head, mut taken) = (Lane::of(&map), 0, 0);
        let job = vec![1; RING_LEN as usize / 2 - 2 * HEAD as usize];
        assert!(Lane::fits(job.len()) && !Lane::fits(job.len() + 1));
        lane.post(&mut head, Some(&job)).unwrap();
        lane.post(&mut head, Some(&job)).unwrap();
        let before = head;
        assert!(lane.post(&mut head, Some(&job)).is_err() && head == before);
        assert_eq!(lane.take(&mut taken), Some(Entry::Job(job.clone())));
        lane.post(&mut head, Some(&job)).unwrap();
        // What it says of its room is not believed.
        for lie in [u64::MAX, head + 1] {
            map.atomic_u64(TAKEN).store(lie, Relaxed);
            assert!(lane.post(&mut head, None).is_err());
        }
    }

    #[test]
    fn who_is_about_to_sleep_is_rung_for_once() {
        let map = memory();
        let (lane, mut head) = (Lane::of(&map), 0);
        let rings = std::cell::Cell::new(0);
        let look = |taken| {
            let ring = || -> Result<(), Infallible> {
                rings.set(rings.get() + 1);
                Ok(())
            };
            lane.look(taken, ring).unwrap()
        };
        assert!(!look(head) && rings.get() == 0);
        lane.post(&mut head, Some(b"job")).unwrap();
        assert!(lane.must_ring() && !lane.must_ring());
        assert!(look(0) && rings.get() == 0, "it is there");
        lane.arm(7);
        lane.finish(6, 50, 3);
        assert!(!look(head) && rings.get() == 0, "the next one is meant");
        lane.finish(7, 50, 3);
        assert_eq!((lane.done(), lane.done_notes()), (7, (50, 3)));
        assert!(!look(head) && rings.get() == 1, "nobody has looked");
        assert!(!look(head) && rings.get() == 1, "it has rung");
    }
}
