//! Ends of queues as things that are waited for together with others.
//!
//! What is slept on, and who is woken, is as in [`Link::wait`]; here the sleep is somebody else's.
//!
//! Invariants: who is about to sleep has read the bell and the obituary before it looked whether anybody is left, and the
//! other side's counter before it looked whether there is something; who leaves wakes another if the counter has moved since,
//! because the wake may have been for one of them. Held by `tests/wait.rs` and by the contract `wait` of the umbrella.

use procession_raw::{Limit, Side};
use procession_shm::Wait;
use procession_sys::Deadline;
use procession_sys::wait::{Waitable, Watch};

use crate::link::{Link, Place};
use crate::{Queue, Receiver, Sender};

impl<M: Place> Link<M> {
    /// Looks whether `is_there`, which the other side makes so by moving its counter; also if that will never happen.
    pub(crate) fn look_for<'a>(&'a self, watch: &mut Watch<'a>, is_there: impl Fn() -> bool) -> bool {
        if watch.lies_down() { self.lie_down(watch, is_there) } else { self.glance(watch, is_there) }
    }

    fn glance<'a>(&'a self, watch: &mut Watch<'a>, is_there: impl Fn() -> bool) -> bool {
        let ring = self.memory().ring();
        let seen = ring.counter(self.side().other());
        if is_there() || self.seems_alone_to_who_tries(seen) && self.is_alone_as_others_hear() {
            return true;
        }
        let (bell, value) = self.memory().bell().watch();
        watch.word(bell, value);
        false
    }

    fn lie_down<'a>(&'a self, watch: &mut Watch<'a>, is_there: impl Fn() -> bool) -> bool {
        let ring = self.memory().ring();
        let (bell, obituary) = (self.memory().bell().watch(), self.obituary());
        if self.is_alone_as_others_hear() {
            return true;
        }
        let words = loop {
            let seen = ring.counter(self.side().other());
            if is_there() || ring.is_closed() {
                return true;
            }
            if let Some(words) = ring.lie_down(self.side(), seen) {
                watch.note(seen);
                break words;
            }
        };
        words.into_iter().chain([bell, obituary]).for_each(|(word, value)| watch.word(word, value));
        watch.look_again(Wait(Deadline::NEVER).tick(watch.n_naps()));
        false
    }

    pub(crate) fn leave(&self, watch: &Watch<'_>) {
        let moved = |seen| self.memory().ring().counter(self.side().other()) != seen;
        if watch.noted().is_some_and(moved) {
            self.pass_on();
        }
    }
}

impl Link {
    /// Looks for something to do.
    pub(crate) fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.look_for(watch, || self.has_something())
    }

    /// Whether this side has something to do.
    fn has_something(&self) -> bool {
        let ring = self.memory().ring();
        let is_there = match self.side() {
            Side::Producers => ring.len() < self.memory().layout().capacity,
            Side::Consumers => !ring.is_empty(),
        };
        is_there || ring.is_closed()
    }
}

/// Ready when there is a message, the queue is closed, or no sender is left.
impl<T, W> Waitable for Receiver<T, W> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.link().leave(watch);
    }
}

/// Ready when one more message can be queued, the queue is closed, or no receiver is left. A message may need more bytes
/// than have room.
impl<T, W> Waitable for Sender<T, W> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.link().look(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.link().leave(watch);
    }
}

/// Ready when there is a message, or the queue is closed.
impl<T, W> Waitable for Queue<T, W> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.receiver().look(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.receiver().leave(watch);
    }
}
