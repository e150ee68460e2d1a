//! The barrier: `src/barrier.rs`, over the event count.
//!
//! | places | function |
//! |---|---|
//! | `WAIT`, `ARRIVE`, `LOOK`, `ALL`, `SLEEP` | `Barrier::wait` |
//! | `ENROLL`, `WATCH` | `Barrier::watch` |
//! | `DEAD`, `ARRIVED` | `Barrier::missing` |
//! | `PASS`, `PASS_ON` | `Barrier::pass_on` |
//! | `END`, and `ALL` of the event count | `Barrier::end` |
//! | `ABORT` | `Barrier::abort` |
//!
//! All parties are attached from the beginning, and there is no reset: who finds the barrier broken goes away. How each
//! generation ended is noted beside the words when the first party returns from it.

use crate::event_count;
use crate::lock;
use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/barrier.rs"]
mod cases;

const BROKEN: u8 = 1;
const RESET: u8 = 1 << 1;
const GENERATION: u8 = 1 << 2;

const STATE: usize = 0;
const QUEUE: usize = 1;
const ARRIVALS: usize = 2;
/// Notes: how each generation ended.
const ENDS: usize = 6;
const MET: u8 = 1;
const UNMET: u8 = 2;

/// Registers: the state in which the wait began, the record, whom the sleeper watches (bits), the party that the pass
/// has come to, what the exchange of the state is for, whether the call has slept, the round.
const BEGAN: usize = 0;
const RECORD: usize = 1;
const LIVES: usize = 2;
const AT: usize = 3;
const ENDING: usize = event_count::FREE;
const SLEPT: usize = ENDING + 1;
const ROUND: usize = ENDING + 2;

const BY_MEETING: u8 = 1;
const BY_DEATH: u8 = 2;
const BY_LIMIT: u8 = 3;
const BY_ABORT: u8 = 4;

const WAIT: u8 = lock::CALLER;
const ARRIVE: u8 = WAIT + 1;
const ENROLL: u8 = WAIT + 2;
const WATCH: u8 = WAIT + 3;
const LOOK: u8 = WAIT + 4;
const ALL: u8 = WAIT + 5;
const DEAD: u8 = WAIT + 6;
const ARRIVED: u8 = WAIT + 7;
const SLEEP: u8 = WAIT + 8;
const PASS: u8 = WAIT + 9;
const PASS_ON: u8 = WAIT + 10;
const END: u8 = WAIT + 11;
const ABORT: u8 = WAIT + 12;
/// No place of its own: what comes next.
const ENDED: u8 = WAIT + 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twin {
    Nothing,
    /// Only who finds all arrivals at its first look ends the generation.
    OnlyTheLastEnds,
    /// A sleeper gathers the lives after it has looked.
    LooksThenWatches,
    /// A sleeper enrolls after it has looked.
    LooksThenEnrolls,
    /// Who looks for the missing reads the arrival before the death.
    ArrivalBeforeDeath,
    /// The end of a generation is a store.
    PlainStore,
    /// Nobody watches lives.
    NoWatch,
    /// Who is woken by a death does not pass it on.
    NoPassOn,
    /// A party takes the arrivals of others for granted.
    NoLook,
    Count(event_count::Broken),
}

#[derive(Clone, Copy, Debug)]
struct Barriers {
    parties: usize,
    rounds: u8,
    limits: usize,
    /// Whether there is somebody besides the parties, who aborts.
    abort: bool,
    twin: Twin,
}

const fn arrival(state: u8) -> u8 {
    state & !(BROKEN | RESET) | 1
}

const fn next(state: u8) -> u8 {
    (state & !(BROKEN | RESET)).wrapping_add(GENERATION)
}

impl Barriers {
    fn wait(&self, cpu: &mut Cpu<'_>) {
        let began = cpu.get(BEGAN);
        match cpu.pc() {
            WAIT => {
                let state = cpu.load(STATE);
                cpu.set(BEGAN, state);
                if state & BROKEN == 0 { cpu.go(ARRIVE) } else { self.back(cpu, UNMET) }
            }
            ARRIVE => {
                cpu.store(ARRIVALS + cpu.me, arrival(began));
                self.again(cpu);
            }
            ENROLL => {
                let record = event_count::enroll(cpu, QUEUE);
                cpu.set(RECORD, record);
                cpu.go(match self.twin {
                    Twin::LooksThenEnrolls => SLEEP,
                    Twin::LooksThenWatches | Twin::NoWatch => LOOK,
                    _ => WATCH,
                });
            }
            WATCH => {
                let party = cpu.get(AT);
                if cpu.watch(party) {
                    let lives = cpu.get(LIVES) | 1 << party;
                    cpu.set(LIVES, lives);
                }
                let next = if self.twin == Twin::LooksThenWatches { SLEEP } else { LOOK };
                self.pass(cpu, WATCH, next);
            }
            LOOK => {
                let now = cpu.load(STATE);
                if now == began {
                    self.looks(cpu);
                } else {
                    self.back(cpu, if now & !BROKEN == next(began) { MET } else { UNMET });
                }
            }
            SLEEP => self.sleep(cpu),
            PASS => {
                let is_dead = cpu.is_dead(cpu.get(AT)) && self.twin != Twin::NoPassOn;
                if is_dead { cpu.go(PASS_ON) } else { self.pass(cpu, PASS, ENROLL) }
            }
            PASS_ON => {
                cpu.pass_on(cpu.get(AT));
                self.pass(cpu, PASS, ENROLL);
            }
            _ => self.look(cpu),
        }
    }

    /// The loop of `wait` begins again.
    fn again(&self, cpu: &mut Cpu<'_>) {
        for register in [RECORD, LIVES, AT, ENDING] {
            cpu.set(register, 0);
        }
        cpu.go(if self.twin == Twin::LooksThenEnrolls { LOOK } else { ENROLL });
    }

    /// Goes to the next party, or on if this was the last.
    fn pass(&self, cpu: &mut Cpu<'_>, again: u8, next: u8) {
        let at = cpu.get(AT) + 1;
        let is_over = usize::from(at) == self.parties;
        cpu.set(AT, if is_over { 0 } else { at });
        match next {
            _ if !is_over => cpu.go(again),
            ENROLL => self.again(cpu),
            SLEEP => self.before_sleep(cpu),
            next => cpu.go(next),
        }
    }

    fn looks(&self, cpu: &mut Cpu<'_>) {
        let never = self.twin == Twin::OnlyTheLastEnds && cpu.get(SLEPT) != 0;
        cpu.go(if never { DEAD } else { ALL });
        if self.twin == Twin::NoLook {
            self.end_by(cpu, BY_MEETING);
        }
    }

    fn look(&self, cpu: &mut Cpu<'_>) {
        let (party, mine) = (cpu.get(AT), arrival(cpu.get(BEGAN)));
        let first = self.twin == Twin::ArrivalBeforeDeath;
        match cpu.pc() {
            ALL => {
                let has_arrived = cpu.load(ARRIVALS + usize::from(party)) == mine;
                if has_arrived && usize::from(party) + 1 == self.parties {
                    self.end_by(cpu, BY_MEETING);
                } else if has_arrived {
                    cpu.set(AT, party + 1);
                } else {
                    cpu.set(AT, 0);
                    cpu.go(if first { ARRIVED } else { DEAD });
                }
            }
            DEAD => match (cpu.is_dead(party), first) {
                (true, true) => self.end_by(cpu, BY_DEATH),
                (true, false) => cpu.go(ARRIVED),
                (false, _) => self.pass(cpu, if first { ARRIVED } else { DEAD }, SLEEP),
            },
            ARRIVED => match (cpu.load(ARRIVALS + usize::from(party)) == mine, first) {
                (false, true) => cpu.go(DEAD),
                (false, false) => self.end_by(cpu, BY_DEATH),
                (true, _) => self.pass(cpu, if first { ARRIVED } else { DEAD }, SLEEP),
            },
            pc => panic!("no step is at {pc}"),
        }
    }

    fn before_sleep(&self, cpu: &mut Cpu<'_>) {
        if cpu.is_late() {
            return self.end_by(cpu, BY_LIMIT);
        }
        let watches = self.twin == Twin::LooksThenWatches && cpu.pc() != WATCH;
        let enrolls = self.twin == Twin::LooksThenEnrolls;
        cpu.go(if watches {
            WATCH
        } else if enrolls {
            ENROLL
        } else {
            SLEEP
        });
    }

    fn sleep(&self, cpu: &mut Cpu<'_>) {
        let (record, lives) = (cpu.get(RECORD), cpu.get(LIVES));
        let lives = (0..8).filter(move |id| lives >> id & 1 != 0).map(Cpu::life);
        cpu.sleep([(QUEUE, record)].into_iter().chain(lives), PASS);
        cpu.set(RECORD, 0);
        cpu.set(LIVES, 0);
        cpu.set(SLEPT, u8::from(self.twin == Twin::OnlyTheLastEnds));
    }

    fn end_by(&self, cpu: &mut Cpu<'_>, ending: u8) {
        for register in [RECORD, LIVES, AT] {
            cpu.set(register, 0);
        }
        cpu.set(ENDING, ending);
        cpu.go(END);
    }

    fn end(&self, cpu: &mut Cpu<'_>) {
        let (began, ending) = (cpu.get(BEGAN), cpu.get(ENDING));
        let new = if ending == BY_MEETING { next(began) } else { began | BROKEN };
        let is_ours = if self.twin == Twin::PlainStore {
            cpu.store(STATE, new);
            true
        } else {
            cpu.exchange(STATE, began, new).is_ok()
        };
        match ending {
            _ if is_ours => event_count::call(cpu, event_count::ALL, ENDED),
            BY_ABORT => cpu.go(ABORT),
            _ => self.again(cpu),
        }
        if is_ours && ending == BY_DEATH {
            let is_missing =
                |p: usize| cpu.state.is_dead(p) && cpu.state.word(ARRIVALS + p) != arrival(began);
            let is_right = (0..self.parties).any(is_missing);
            cpu.check(is_right, "broken though everybody who died had arrived");
        }
    }

    /// The call returns.
    fn back(&self, cpu: &mut Cpu<'_>, end: u8) {
        let began = cpu.get(BEGAN);
        let note = ENDS + usize::from(began / GENERATION);
        let before = cpu.state.word(note);
        cpu.check(before == 0 || before == end, "some met and some did not");
        cpu.state.note(note, end);
        let have_arrived = (0..self.parties).all(|p| cpu.state.word(ARRIVALS + p) >= arrival(began));
        cpu.check(end == UNMET || have_arrived, "a meeting without all parties");
        let round = cpu.get(ROUND) + 1;
        if end == UNMET || round == self.rounds {
            return cpu.done();
        }
        self.again(cpu);
        cpu.set(BEGAN, 0);
        cpu.set(SLEPT, 0);
        cpu.set(ROUND, round);
        cpu.go(WAIT);
    }
}

impl Model for Barriers {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.parties + usize::from(self.abort), WAIT);
        if self.abort {
            state.set_pc(self.parties, ABORT);
        }
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            END => self.end(cpu),
            ABORT => {
                let state = cpu.load(STATE);
                cpu.set(BEGAN, state);
                if state & BROKEN == 0 { self.end_by(cpu, BY_ABORT) } else { cpu.done() }
            }
            WAIT..END => self.wait(cpu),
            _ => {
                let count =
                    if let Twin::Count(broken) = self.twin { broken } else { event_count::Broken::Nothing };
                event_count::step(cpu, QUEUE, count);
            }
        }
        if cpu.pc() == ENDED {
            match cpu.get(ENDING) {
                BY_MEETING => self.back(cpu, MET),
                BY_LIMIT => self.back(cpu, UNMET),
                BY_ABORT => cpu.done(),
                _ => self.again(cpu),
            }
        }
    }

    fn has_limit(&self, p: usize) -> bool {
        (self.parties - self.limits..self.parties).contains(&p)
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            WAIT => "wait: reading the state",
            ARRIVE => "wait: arriving",
            ENROLL => "wait: recording the count",
            WATCH => "wait: watching a party",
            LOOK => "wait: looking at the state",
            ALL => "wait: looking whether all have arrived",
            DEAD => "wait: looking for the dead",
            ARRIVED => "wait: looking for the missing",
            SLEEP => "wait: going to sleep",
            PASS | PASS_ON => "wait: passing the obituary on",
            END => "the exchange of the state",
            ABORT => "abort: reading the state",
            _ => event_count::place(pc),
        }
    }
}
