//! The event: `src/event.rs`.
//!
//! | places | function |
//! |---|---|
//! | `WAIT`, `ANNOUNCE`, `SLEEP`, `LOOK` | `Event::wait` |
//! | `SET`, `SET_CAS`, `SET_STEP` | `Event::set` |
//! | `CLEAR`, `CLEAR_CAS` | `Event::clear` |
//!
//! A waiter may sleep for ever if the flag was not set at any moment of its call. Whether it was is noted beside the
//! words, at the instant at which the flag is raised.

use crate::machine::{Cpu, PROCESSES, State};
use crate::search::Model;

#[path = "cases/event.rs"]
mod cases;

const SET_FLAG: u8 = 1;
const SLEEPERS: u8 = 2;
const GENERATION: u8 = 4;

const WORD: usize = 0;

/// Registers: the word that was read last, the generation of the wait, whether the flag was set since it began (which
/// only the model knows), and the round.
const SEEN: usize = 0;
const BEGAN: usize = 1;
const WAS_SET: usize = 2;
const ROUND: usize = 3;

const WAIT: u8 = 1;
const ANNOUNCE: u8 = 2;
const SLEEP: u8 = 3;
const LOOK: u8 = 4;
const SET: u8 = 5;
const SET_CAS: u8 = 6;
const SET_STEP: u8 = 7;
const SET_WAKE: u8 = 8;
const CLEAR: u8 = 9;
const CLEAR_CAS: u8 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// `set` raises the flag and wakes in two calls.
    SetThenWake,
    /// `set` stores the flag over the whole word, and wakes if somebody slept when it looked.
    PlainStore,
    /// `set` wakes nobody.
    NoWake,
    /// A waiter sleeps without having set `SLEEPERS`.
    NoAnnouncement,
    /// `clear` begins no generation.
    NoGeneration,
    /// A waiter takes any wake for a set.
    TakesAnyWake,
}

/// Processes that wait, then processes that set, of which some clear what they have set.
#[derive(Clone, Copy, Debug)]
struct Events {
    waiters: usize,
    setters: usize,
    /// How many of the setters clear afterwards.
    clear: usize,
    /// Calls of each waiter.
    waits: u8,
    /// Whether the waiters have a limit.
    limits: bool,
    broken: Broken,
}

impl Events {
    fn first(&self, p: usize) -> u8 {
        if p < self.waiters { WAIT } else { SET }
    }

    /// The loop of `wait`, after a look at the word.
    fn looked(&self, cpu: &mut Cpu<'_>, word: u8) {
        cpu.set(SEEN, word);
        if word & SET_FLAG != 0 || word / GENERATION != cpu.get(BEGAN) {
            let was_set = cpu.get(WAS_SET) != 0;
            cpu.check(was_set, "a wait ended though the flag was never set");
            self.next_wait(cpu);
        } else if cpu.is_late() {
            cpu.done();
        } else {
            let is_announced = word & SLEEPERS != 0 || self.broken == Broken::NoAnnouncement;
            cpu.go(if is_announced { SLEEP } else { ANNOUNCE });
        }
    }

    fn next_wait(&self, cpu: &mut Cpu<'_>) {
        let round = cpu.get(ROUND) + 1;
        if round == self.waits {
            return cpu.done();
        }
        for register in [SEEN, BEGAN, WAS_SET] {
            cpu.set(register, 0);
        }
        cpu.set(ROUND, round);
        cpu.go(WAIT);
    }

    /// The flag is set in this step: all who wait were waiting when it was.
    fn note_set(&self, cpu: &mut Cpu<'_>) {
        for p in 0..self.waiters {
            if matches!(cpu.state.pc(p), ANNOUNCE | SLEEP | LOOK) {
                cpu.state.set_register(p, WAS_SET, 1);
            }
        }
    }

    fn after_set(&self, cpu: &mut Cpu<'_>) {
        cpu.set(SEEN, 0);
        if cpu.me < self.waiters + self.clear { cpu.go(CLEAR) } else { cpu.done() }
    }

    fn wait(&self, cpu: &mut Cpu<'_>) {
        let seen = cpu.get(SEEN);
        match cpu.pc() {
            WAIT => {
                let word = cpu.load(WORD);
                cpu.set(BEGAN, word / GENERATION);
                cpu.set(WAS_SET, word & SET_FLAG);
                self.looked(cpu, word);
            }
            ANNOUNCE => {
                let announced = cpu.exchange(WORD, seen, seen | SLEEPERS);
                cpu.go(if announced.is_ok() { SLEEP } else { LOOK });
            }
            SLEEP if cpu.is_late() => cpu.go(LOOK),
            SLEEP => {
                let asleep = if self.broken == Broken::NoAnnouncement { seen } else { seen | SLEEPERS };
                cpu.sleep([(WORD, asleep)].into_iter(), LOOK);
            }
            LOOK if self.broken == Broken::TakesAnyWake => self.looked(cpu, SET_FLAG),
            LOOK => {
                let word = cpu.load(WORD);
                self.looked(cpu, word);
            }
            pc => panic!("no step is at {pc}"),
        }
    }

    fn set(&self, cpu: &mut Cpu<'_>) {
        let seen = cpu.get(SEEN);
        let is_awake = |word: u8| word & SLEEPERS == 0;
        match cpu.pc() {
            SET => {
                let word = cpu.load(WORD);
                cpu.set(SEEN, word);
                cpu.go(if is_awake(word) { SET_CAS } else { SET_STEP });
            }
            SET_CAS => match cpu.exchange(WORD, seen, seen | SET_FLAG) {
                Ok(()) => {
                    self.note_set(cpu);
                    self.after_set(cpu);
                }
                Err(now) => {
                    cpu.set(SEEN, now);
                    cpu.go(if is_awake(now) || self.broken == Broken::NoWake { SET_CAS } else { SET_STEP });
                }
            },
            SET_STEP => {
                if self.broken == Broken::PlainStore {
                    cpu.store(WORD, SET_FLAG);
                } else {
                    _ = cpu.or(WORD, SET_FLAG);
                }
                self.note_set(cpu);
                match self.broken {
                    Broken::SetThenWake | Broken::PlainStore => return cpu.go(SET_WAKE),
                    Broken::NoWake => {}
                    _ => _ = cpu.in_the_same_step_wake(WORD, u8::MAX),
                }
                self.after_set(cpu);
            }
            SET_WAKE => {
                cpu.wake(WORD, u8::MAX);
                self.after_set(cpu);
            }
            pc => panic!("no step is at {pc}"),
        }
    }

    fn clear(&self, cpu: &mut Cpu<'_>) {
        let seen = cpu.get(SEEN);
        let now = if cpu.pc() == CLEAR {
            cpu.load(WORD)
        } else {
            let next = if self.broken == Broken::NoGeneration { 0 } else { GENERATION };
            match cpu.exchange(WORD, seen, (seen & !(SET_FLAG | SLEEPERS)).wrapping_add(next)) {
                Ok(()) => return cpu.done(),
                Err(now) => now,
            }
        };
        cpu.set(SEEN, now);
        if now & SET_FLAG != 0 { cpu.go(CLEAR_CAS) } else { cpu.done() }
    }
}

impl Model for Events {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.waiters + self.setters, WAIT);
        assert!(self.waiters + self.setters <= PROCESSES);
        (self.waiters..self.waiters + self.setters).for_each(|p| state.set_pc(p, self.first(p)));
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            WAIT..=LOOK => self.wait(cpu),
            SET..=SET_WAKE => self.set(cpu),
            _ => self.clear(cpu),
        }
    }

    fn may_rest(&self, state: &State, p: usize) -> bool {
        state.register(p, WAS_SET) == 0
    }

    fn has_limit(&self, p: usize) -> bool {
        self.limits && p < self.waiters
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            WAIT => "wait: the first look",
            ANNOUNCE => "wait: announcing a sleeper",
            SLEEP => "wait: going to sleep",
            LOOK => "wait: looking again",
            SET => "set: the look",
            SET_CAS => "set: the exchange",
            SET_STEP => "set: the step",
            SET_WAKE => "set: the wake",
            CLEAR => "clear: the look",
            CLEAR_CAS => "clear: the exchange",
            _ => "?",
        }
    }
}
