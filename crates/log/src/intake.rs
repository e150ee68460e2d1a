//! The parent's side: the ring of one child, and who hands on what stands in it.
//!
//! | state | what is true | who moves it |
//! |---|---|---|
//! | `Here` | nobody reads | whoever takes the work, to `Busy` |
//! | `Busy` | one thread reads and hands on | that thread, back to `Here`, or to `Gone` |
//! | `Gone` | the child has ended, and all that it wrote was handed on | nobody |
//!
//! Invariants: one thread at a time hands on, so records of a child keep their order; who finishes after the child's end
//! looks once more, so none is left; nobody waits for another who hands on longer than [`PATIENCE`], so a logger that
//! blocks on what the waiter holds is no deadlock. Held by `tests/collect.rs`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use procession_process::companion::Companion;
use procession_process::{Deadline, StartMethod, Who};
use procession_sys::fork::{Epoch, epoch};

use crate::collector::Collector;
use crate::emit::Emitter;
use crate::frame::Frame;
use crate::notice::OURS;
use crate::ring::{self, Consumer, Garbled};

/// How long who reports an end waits for another thread that hands on what the child wrote.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether this thread hands on a record: loggers run below.
    static HANDS_ON: Cell<bool> = const { Cell::new(false) };
}

/// What one child writes.
#[derive(Clone, Debug)]
pub(crate) struct Intake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    epoch: Epoch,
    method: StartMethod,
    who: OnceLock<Who>,
    state: Mutex<State>,
    /// Told when a thread has put the work back.
    free: Condvar,
}

#[derive(Debug)]
struct State {
    place: Place,
    has_ended: bool,
}

#[derive(Debug)]
enum Place {
    Here(Box<Work>),
    Busy,
    Gone,
}

#[derive(Debug)]
struct Work {
    consumer: Consumer,
    emitter: Emitter,
    /// How many lost frames were told of.
    n_told: u64,
    is_garbled: bool,
    frames: Vec<u8>,
}

impl Intake {
    pub(crate) fn new(consumer: Consumer, emitter: Emitter, method: StartMethod) -> Self {
        let work = Work { consumer, emitter, n_told: 0, is_garbled: false, frames: Vec::new() };
        let state = State { place: Place::Here(Box::new(work)), has_ended: false };
        Self(Arc::new(Shared {
            epoch: epoch(),
            method,
            who: OnceLock::new(),
            state: Mutex::new(state),
            free: Condvar::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code of others runs under it.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the child has ended and all is handed on.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state().place, Place::Gone)
    }

    /// Hands on what there is now, unless somebody else does; whether there was something.
    pub(crate) fn look(&self) -> bool {
        self.work(Deadline::now())
    }

    /// Asks for the bell; whether there is something already, so that nobody may sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        match &mut self.state().place {
            Place::Here(work) => !work.is_garbled && work.consumer.fall_asleep(),
            // Who is at it ends with a look of his own, and rings the bell.
            Place::Busy | Place::Gone => false,
        }
    }

    /// Takes the work; `None` where there is none any more, or still somebody at it at `deadline`.
    fn begin(&self, deadline: Deadline) -> Option<Box<Work>> {
        let mut state = self.state();
        loop {
            match std::mem::replace(&mut state.place, Place::Busy) {
                Place::Here(work) => return Some(work),
                Place::Gone => {
                    state.place = Place::Gone;
                    return None;
                }
                Place::Busy => {}
            }
            let left = deadline.remaining().unwrap_or(PATIENCE);
            if left.is_zero() {
                return None;
            }
            state = self.0.free.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn work(&self, deadline: Deadline) -> bool {
        let Some(mut work) = self.begin(deadline) else { return false };
        let mut was_something = false;
        loop {
            let had_ended = self.state().has_ended;
            while work.step(self.0.who.get()) {
                was_something = true;
            }
            let mut state = self.state();
            if had_ended {
                state.place = Place::Gone;
            } else if state.has_ended {
                // What was written until the end.
                continue;
            } else {
                state.place = Place::Here(work);
                drop(state);
                self.0.free.notify_all();
                return was_something;
            }
            drop(state);
            // Its spans are closed, which is code of others.
            guarded(|| work.emitter.end(self.0.who.get()));
            guarded(|| drop(work));
            self.0.free.notify_all();
            return was_something;
        }
    }
}

impl Work {
    /// Hands on some of what there is; whether there was something.
    fn step(&mut self, who: Option<&Who>) -> bool {
        if self.is_garbled {
            return false;
        }
        let taken = self.consumer.take(&mut self.frames);
        for frame in ring::frames(&self.frames) {
            guarded(|| self.emitter.hand_on(frame));
        }
        let n_lost = self.consumer.n_lost();
        if n_lost > self.n_told {
            let n = n_lost - self.n_told;
            self.n_told = n_lost;
            self.say(who, format_args!("{n} records of {} were lost: it was too far ahead", Named(who)));
        }
        if taken == Err(Garbled) {
            self.is_garbled = true;
            self.say(who, format_args!("what {} logs makes no sense, and is not read any more", Named(who)));
        }
        taken == Ok(true)
    }

    fn say(&mut self, who: Option<&Who>, message: std::fmt::Arguments<'_>) {
        let who = who.map_or_else(|| Frame::who("", 0), |who| Frame::who(&who.name, who.pid));
        guarded(|| self.emitter.note(&who, OURS, message));
    }
}

struct Named<'w>(Option<&'w Who>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(who) => who.fmt(f),
            None => f.write_str("a process"),
        }
    }
}

/// Calls code of others: a panic in it has been told of by the panic hook, and concerns nobody here.
fn guarded(call: impl FnOnce()) {
    let outer = HANDS_ON.replace(true);
    let _ = catch_unwind(AssertUnwindSafe(call));
    HANDS_ON.set(outer);
}

impl Companion for Intake {
    fn started(&self, who: &Who) {
        let _ = self.0.who.set(who.clone());
        Collector::here().add(self.clone(), self.0.method);
    }

    fn ended(&self, _: &Who, deadline: Deadline) {
        // A copy of this process has the ring, but not the child.
        if self.0.epoch != epoch() {
            return;
        }
        self.state().has_ended = true;
        // A logger that waits for a child must not wait for itself.
        let patience = if HANDS_ON.get() { Duration::ZERO } else { PATIENCE };
        self.work(deadline.min(Deadline::after(patience)));
        Collector::here().look_again();
    }
}
