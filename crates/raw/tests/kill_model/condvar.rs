//! The condition variable: `src/condvar.rs`, over the lock, the event count and `src/obituary.rs`.
//!
//! | places | function |
//! |---|---|
//! | those of the lock | `Lock::lock`, `Lock::unlock` |
//! | those of the event count | `Condvar::notify_one`, `Condvar::notify_all` |
//! | `ENROLL`, `DEATHS` | `Condvar::enroll`, under the lock; then `Condvar::wait` gives the lock back |
//! | `COUNT`, `RUNG`, `SLEEP` | `Condvar::sleep`; then `Condvar::wait` takes the lock again |
//! | `LOOK`, `CHANGE` | the callers: some take items, and wait while there are none; others bring them |
//!
//! Somebody outside the model rings the obituary after each death, some time later, if the model has one. A waiter may
//! sleep for ever if there are no items.

use crate::event_count::{self, ALL, NOTIFY};
use crate::lock::{self, CALLER, LOCK, Steps, UNLOCK};
use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/condvar.rs"]
mod cases;

const ITEMS: usize = 1;
const COUNT_WORD: usize = 2;
const OBITUARY: usize = 3;

/// Registers: the two records, whether somebody notified since the first of them (which only the model knows), the round,
/// and whether the wait is over at its limit.
const RECORD: usize = event_count::FREE;
const SEEN_DEATHS: usize = RECORD + 1;
const NOTIFIED: usize = RECORD + 2;
const ROUND: usize = RECORD + 3;
const TIMED_OUT: usize = RECORD + 4;

const LOOK: u8 = CALLER;
const ENROLL: u8 = CALLER + 1;
const DEATHS: u8 = CALLER + 2;
const COUNT: u8 = CALLER + 3;
const RUNG: u8 = CALLER + 4;
const SLEEP: u8 = CALLER + 5;
const NO_LOOK: u8 = CALLER + 6;
const CHANGE: u8 = CALLER + 7;
/// No places of their own: what comes next.
const CHANGED: u8 = CALLER + 8;
const TAKEN: u8 = CALLER + 9;
const NOTIFY_NEXT: u8 = CALLER + 10;
const GIVEN: u8 = CALLER + 11;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Who waits records the count after it has given the lock back.
    RecordsLate,
    /// Who waits does not watch the obituary.
    NoObituary,
    /// A waiter takes any wake for a notification.
    TakesAnyWake,
    Count(event_count::Broken),
}

#[derive(Clone, Copy, Debug)]
struct Condvars {
    takers: usize,
    givers: usize,
    /// Items of each.
    items: u8,
    /// Whether givers notify before they give the lock back.
    inside: bool,
    notify_all: bool,
    limits: bool,
    rings: bool,
    broken: Broken,
}

impl Condvars {
    fn first(&self, p: usize) -> u8 {
        if p < self.takers { LOOK } else { CHANGE }
    }

    fn take(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            LOOK => {
                let items = cpu.load(ITEMS);
                if items > 0 {
                    // Nobody else looks at it meanwhile: the lock's model proves that.
                    cpu.state.note(ITEMS, items - 1);
                    Steps::call(cpu, UNLOCK, TAKEN);
                } else if cpu.get(TIMED_OUT) != 0 {
                    cpu.set(ROUND, self.items - 1);
                    Steps::call(cpu, UNLOCK, TAKEN);
                } else if self.broken == Broken::RecordsLate {
                    Steps::call(cpu, UNLOCK, ENROLL);
                } else {
                    cpu.go(ENROLL);
                }
            }
            ENROLL => {
                let record = event_count::enroll(cpu, COUNT_WORD);
                cpu.set(RECORD, record);
                cpu.set(NOTIFIED, 0);
                cpu.go(DEATHS);
            }
            DEATHS => {
                let deaths = cpu.load(OBITUARY);
                cpu.set(SEEN_DEATHS, deaths);
                if self.broken == Broken::RecordsLate {
                    cpu.go(COUNT);
                } else {
                    Steps::call(cpu, UNLOCK, COUNT);
                }
            }
            _ => self.sleep(cpu),
        }
    }

    fn sleep(&self, cpu: &mut Cpu<'_>) {
        let (record, deaths) = (cpu.get(RECORD), cpu.get(SEEN_DEATHS));
        match cpu.pc() {
            COUNT => {
                if cpu.load(COUNT_WORD) == record {
                    cpu.go(RUNG);
                } else {
                    self.notified(cpu);
                }
            }
            RUNG if cpu.load(OBITUARY) != deaths => self.again(cpu),
            RUNG => cpu.go(SLEEP),
            SLEEP if cpu.is_late() => {
                cpu.set(TIMED_OUT, 1);
                self.again(cpu);
            }
            SLEEP => {
                let words = [(COUNT_WORD, record), (OBITUARY, deaths)];
                let n = if self.broken == Broken::NoObituary { 1 } else { 2 };
                let next = if self.broken == Broken::TakesAnyWake { NO_LOOK } else { COUNT };
                cpu.sleep(words.into_iter().take(n), next);
            }
            NO_LOOK => self.notified(cpu),
            pc => panic!("no step is at {pc}"),
        }
    }

    fn notified(&self, cpu: &mut Cpu<'_>) {
        let notified = cpu.get(NOTIFIED) != 0;
        cpu.check(notified, "a wait ended though nobody notified");
        self.again(cpu);
    }

    /// The wait is over, and takes the lock again.
    fn again(&self, cpu: &mut Cpu<'_>) {
        for register in [RECORD, SEEN_DEATHS, NOTIFIED] {
            cpu.set(register, 0);
        }
        Steps::call(cpu, LOCK, LOOK);
    }

    fn give(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            CHANGE => {
                cpu.add(ITEMS, 1);
                if self.inside { self.notify(cpu, CHANGED) } else { Steps::call(cpu, UNLOCK, NOTIFY_NEXT) }
            }
            pc => panic!("no step is at {pc}"),
        }
    }

    fn notify(&self, cpu: &mut Cpu<'_>, next: u8) {
        event_count::call(cpu, if self.notify_all { ALL } else { NOTIFY }, next);
    }

    /// From a call to the next, without an access.
    fn go_on(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            CHANGED => Steps::call(cpu, UNLOCK, GIVEN),
            NOTIFY_NEXT => self.notify(cpu, GIVEN),
            TAKEN | GIVEN => {
                let round = cpu.get(ROUND) + 1;
                if round == self.items {
                    return cpu.done();
                }
                cpu.set(ROUND, round);
                Steps::call(cpu, LOCK, self.first(cpu.me));
            }
            _ => {}
        }
    }

    fn note_notification(&self, cpu: &mut Cpu<'_>) {
        for p in 0..self.takers {
            if matches!(cpu.state.pc(p), DEATHS..=NO_LOOK) || cpu.state.register(p, RECORD) != 0 {
                cpu.state.set_register(p, NOTIFIED, 1);
            }
        }
    }
}

impl Model for Condvars {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.takers + self.givers, LOCK);
        for p in 0..self.takers + self.givers {
            Cpu::run(&mut state, p, |cpu| Steps::call(cpu, LOCK, self.first(p)));
        }
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        let count =
            if let Broken::Count(broken) = self.broken { broken } else { event_count::Broken::Nothing };
        match cpu.pc() {
            LOOK..=NO_LOOK => self.take(cpu),
            CHANGE => self.give(cpu),
            NOTIFY..CALLER => {
                self.note_notification(cpu);
                event_count::step(cpu, COUNT_WORD, count);
            }
            _ => Steps { word: lock::WORD, broken: lock::Broken::Nothing, has_limit: false }.step(cpu),
        }
        self.go_on(cpu);
    }

    fn may_rest(&self, state: &State, p: usize) -> bool {
        state.pc(p) == COUNT && state.word(ITEMS) == 0
    }

    fn has_limit(&self, p: usize) -> bool {
        self.limits && p < self.takers
    }

    fn obituary(&self) -> Option<usize> {
        self.rings.then_some(OBITUARY)
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            LOOK => "wait: the caller's look",
            ENROLL => "wait: recording the count",
            DEATHS => "wait: recording the deaths",
            COUNT => "wait: looking at the count",
            RUNG => "wait: looking at the obituary",
            SLEEP => "wait: going to sleep",
            CHANGE => "before notify: the change",
            NOTIFY..CALLER => event_count::place(pc),
            _ => lock::place(pc),
        }
    }
}
