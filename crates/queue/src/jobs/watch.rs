//! Ends of queues of jobs as things that are waited for together with others.
//!
//! | who waits, and finds | sleeps on |
//! |---|---|
//! | no job to receive | what receivers sleep on, the bell and the obituary |
//! | no job, and no more will be sent, but a living worker has one that may come back | the end of that one, the bell and the obituary |
//! | no room in the queue | what senders sleep on, the bell and the obituary |
//! | room, but all cells in use | the same, and the end of an unfinished job |
//!
//! Invariants: as of `../wait.rs`; who says that something came back sees to it that the next who tries looks for that, as
//! it would not without a reason. Held by `tests/jobs_wait.rs` and by the contract `wait` of the umbrella.

use std::sync::atomic::Ordering::Relaxed;

use procession_raw::{Job, Limit, Owners, Side, Stage};
use procession_shm::Wait;
use procession_sys::Deadline;
use procession_sys::wait::{Waitable, Watch};

use super::memory::Memory;
use super::receiver::JobReceiver;
use super::sender::JobSender;
use crate::link::{Link, Place};

/// So many cells are looked at before each sleep, more only for a reason: a sleep costs as much.
const FEW: u32 = 1024;

/// What a receiver waits for.
enum Hope<'a> {
    /// Nothing: there is a job, or there will be none.
    Over,
    /// That one is sent or comes back; the producers' counter.
    Sent(u32),
    /// The end of this one, which a worker has: no more are sent.
    Back(&'a Job, Stage),
}

impl Link<Memory> {
    /// Looks for a job to receive, or that nothing more comes.
    pub(super) fn look_for_a_job<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        let ring = self.memory().ring();
        loop {
            let watched = self.watch();
            match self.hope(watch) {
                Hope::Over => return true,
                _ if !watch.lies_down() => {}
                Hope::Sent(seen) => {
                    let Some(words) = ring.lie_down(Side::Consumers, seen) else { continue };
                    watch.note(seen);
                    words.into_iter().for_each(|(word, value)| watch.word(word, value));
                }
                Hope::Back(job, stage) => {
                    let Some((word, value)) = job.await_end(stage) else { continue };
                    watch.word(word, value);
                }
            }
            watched.into_iter().for_each(|(word, value)| watch.word(word, value));
            if watch.lies_down() {
                watch.look_again(Wait(Deadline::NEVER).tick(watch.n_naps()));
            }
            return false;
        }
    }

    /// What there is to wait for. The dead are looked for if there is a reason: news, a tick, or that it was long ago.
    fn hope(&self, watch: &Watch<'_>) -> Hope<'_> {
        let (ring, memory, news) = (self.memory().ring(), self.memory(), self.news());
        let seen = ring.counter(Side::Producers);
        let asks = self.asks_without_a_reason() || watch.n_naps() > 0;
        let lies_down = watch.lies_down();
        let looks = asks || lies_down && memory.top() <= FEW || news != memory.looked.load(Relaxed);
        if !ring.is_empty() || looks && self.is_left_by_the_dead(false) {
            return Hope::Over;
        }
        let is_alone = || (asks || lies_down || self.seems_alone(seen)) && self.is_alone_as_others_hear();
        if !ring.is_closed() && !is_alone() {
            return Hope::Sent(seen);
        }
        // What was sent before that was known; and what the dead had, also if it is given up then.
        if !ring.is_empty() || self.is_left_by_the_dead(true) {
            return Hope::Over;
        }
        match self.leased_by_others() {
            Some((job, stage @ Stage::Leased { .. })) => Hope::Back(job, stage),
            _ => Hope::Over,
        }
    }

    /// Whether a job came back, or would if somebody looked; `also` if it would be given up. If so, the next who tries
    /// looks.
    fn is_left_by_the_dead(&self, also: bool) -> bool {
        let (memory, party, news) = (self.memory(), self.party(), self.news());
        let mut living: Vec<u32> = Vec::new();
        let is_left = memory.jobs().any(|(_, job)| match job.current() {
            Stage::Left(_) => true,
            now @ Stage::Leased { seat, n } if (also || memory.comes_back(n)) && !living.contains(&seat) => {
                let is_dead = memory.is_dead(&party, seat);
                if !is_dead {
                    living.push(seat);
                }
                // As long as it has a job, the seat is nobody else's.
                is_dead && job.current() == now
            }
            _ => false,
        });
        memory.looked.store(if is_left { !news } else { news }, Relaxed);
        is_left
    }

    /// Looks for room for one more job.
    pub(super) fn look_for_room<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.look_for(watch, || self.has_room()) || self.awaits_a_cell(watch) && self.has_room()
    }

    /// If all cells are in use, and not the queue: the end of a job ends the sleep too. Whether to look again.
    pub(super) fn awaits_a_cell<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        if !watch.lies_down() || !self.has_place() {
            return false;
        }
        while let Some((job, stage)) = self.memory().find(Stage::is_unfinished) {
            if let Some((word, value)) = job.await_end(stage) {
                watch.word(word, value);
                break;
            }
        }
        true
    }

    fn has_place(&self) -> bool {
        self.memory().ring().len() < self.memory().layout().capacity
    }

    /// Whether a job can be queued that is short enough.
    pub(super) fn has_room(&self) -> bool {
        self.has_place() && self.memory().has_cell(&self.party()) || self.memory().ring().is_closed()
    }
}

impl Memory {
    /// Whether a job that was delivered so often is delivered again when its worker dies.
    fn comes_back(&self, n: u32) -> bool {
        self.layout().fails == 0 && !self.is_last(n)
    }

    /// Whether a cell is free, or there can be more.
    pub(super) fn has_cell(&self, owners: &impl Owners) -> bool {
        let top = self.top();
        let start = self.hint.load(Relaxed).min(top);
        let is_free = |cell| match self.job(cell).map(Job::current) {
            Ok(Stage::Free) => true,
            Ok(Stage::Owned(id)) => owners.is_dead(id),
            _ => false,
        };
        top < self.layout().n_cells || (start..top).chain(0..start).any(is_free)
    }
}

/// Ready when there is a job, sent or given back by who had it or died with it; or when nothing more can come.
///
/// # If a peer dies
/// The jobs of a worker that is killed make it ready: at once if the death is told, else at a tick.
///
/// # Examples
/// ```
/// use procession_sys::Deadline;
/// use procession_sys::wait;
///
/// let (tx, rx) = procession_queue::jobs::<u32>(10)?;
/// let (_other, silent) = procession_queue::jobs::<u32>(10)?;
/// tx.send(7)?;
/// assert_eq!(wait::any(&[&silent, &rx], Deadline::NEVER)?, [1]);
/// assert_eq!(rx.try_recv()?.into_inner(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T, W> Waitable for JobReceiver<T, W> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link.look_for_a_job(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.link.leave(watch);
    }
}

/// Ready when one more job can be queued, the queue is closed, or no receiver is left. A job may need more bytes than have
/// room.
///
/// # If a peer dies
/// The last receiver: it is ready, at once if the death is told, else at a tick. What dead workers had makes no room before
/// it is done.
///
/// # Examples
/// ```
/// use procession_sys::Deadline;
/// use procession_sys::wait;
///
/// let (tx, rx) = procession_queue::jobs::<u32>(1)?;
/// tx.send(1)?;
/// assert!(wait::any(&[&tx], Deadline::now())?.is_empty());
/// let _job = rx.recv()?;
/// assert_eq!(wait::any(&[&tx, &rx], Deadline::NEVER)?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T, W> Waitable for JobSender<T, W> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link.look_for_room(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.link.leave(watch);
    }
}
