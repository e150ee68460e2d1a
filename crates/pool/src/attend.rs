//! A caller that waits looks at the workers' lanes itself, for a moment: then no other thread has to be woken for it.
//!
//! One at a time does. Meanwhile workers need not ring; when it ends they must, and what they were done with until then
//! has been taken in. The collector sleeps on: it serves when no caller looks, and buries the dead.
//!
//! Invariants: whoever looks runs no code of users before it has ended that, since such code may wait for the pool; and
//! when nobody looks every worker that has a job is to ring. Held by `tests/attend.rs`.

use std::hint;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use procession_sys::Deadline;

use crate::collector::Shared;
use crate::crew::Crew;
use crate::lane::LOOK;
use crate::sink::{Outcome, Sink, Taken};

/// Looks at the lanes between two yields, and pauses between two looks: others may want the lock.
const LOOKS: u32 = 8;
const PAUSES: u32 = 4;

impl Shared {
    /// As [`Sink::take`].
    pub(crate) fn take(
        &self,
        sink: &Sink,
        index: Option<usize>,
        deadline: Deadline,
    ) -> Option<(usize, Outcome)> {
        match self.take_or_news(sink, index, None, deadline) {
            Taken::Outcome(index, outcome) => Some((index, outcome)),
            Taken::News | Taken::Nothing => None,
        }
    }

    /// As [`Sink::take_or_news`].
    pub(crate) fn take_or_news(
        &self,
        sink: &Sink,
        index: Option<usize>,
        known: Option<usize>,
        deadline: Deadline,
    ) -> Taken {
        if let (Some(taken), _) = sink.take_now(index, known) {
            return taken;
        }
        if !deadline.has_passed() {
            self.look(deadline, || sink.has_news(index, known));
        }
        sink.take_or_news(index, known, deadline)
    }

    /// Looks at lanes until what is waited for is there, or for a moment.
    fn look(&self, deadline: Deadline, is_there: impl Fn() -> bool) {
        if self.serial.is_some() || self.is_attended.swap(true, Ordering::Acquire) {
            return;
        }
        let mut looking = Looking { shared: self, is_over: false };
        let mut crew = self.crew();
        crew.attend(true);
        let began = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if crew.hear() {
                    self.has_heard(&mut crew);
                }
                if self.outbox.has_some() || is_there() {
                    return looking.end(&mut crew);
                }
                drop(crew);
                (0..PAUSES).for_each(|_| hint::spin_loop());
                crew = self.crew();
            }
            if began.elapsed() >= LOOK || deadline.has_passed() {
                return looking.end(&mut crew);
            }
            drop(crew);
            thread::yield_now();
            crew = self.crew();
        }
    }

    /// Goes on after something was taken in.
    fn has_heard(&self, crew: &mut Crew) {
        crew.pump();
        self.wake_collector(crew);
        self.tell_settled(crew);
    }
}

/// Somebody looks, until this is over.
struct Looking<'a> {
    shared: &'a Shared,
    is_over: bool,
}

impl Looking<'_> {
    fn end(&mut self, crew: &mut Crew) {
        self.is_over = true;
        crew.attend(false);
        self.shared.is_attended.store(false, Ordering::Release);
        if crew.hear() {
            self.shared.has_heard(crew);
        }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(&mut self.shared.crew());
        }
    }
}
