//! The tokens: `src/tokens.rs`.
//!
//! | places | function |
//! |---|---|
//! | `ACQUIRE`, `TAKE`, `ANNOUNCE`, `SLEEP` | `Tokens::acquire` |
//! | `RELEASE`, `ADD`, `ADD_STEP` | `Tokens::release`, of one |
//! | `RELEASE`, `ADD_UP_TO`, `WAKE` | `Tokens::release_up_to` |
//! | `LOWER`, `LOWER_CAS`, `LOWER_WAKE` | `Tokens::lower` |
//!
//! Some give tokens, others take one each; whoever takes may sleep for ever if there is none.

use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/tokens.rs"]
mod cases;

const SLEEPERS: u8 = 1;
const TOKEN: u8 = 2;
const WORD: usize = 0;
/// Notes: tokens that were given, and taken.
const GIVEN: usize = 1;
const TAKEN: usize = 2;

/// Registers: the word that was read last, and the round.
const SEEN: usize = 0;
const ROUND: usize = 1;

const ACQUIRE: u8 = 1;
const TAKE: u8 = 2;
const ANNOUNCE: u8 = 3;
const SLEEP: u8 = 4;
const RELEASE: u8 = 5;
const ADD: u8 = 6;
const ADD_STEP: u8 = 7;
const ADD_UP_TO: u8 = 8;
const WAKE: u8 = 9;
const LOWER: u8 = 10;
const LOWER_CAS: u8 = 11;
const LOWER_WAKE: u8 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A sleeper has not set `SLEEPERS`.
    NoAnnouncement,
    /// Lowering `SLEEPERS` wakes nobody.
    LowersSilently,
    /// A token is taken by a store.
    PlainStore,
}

#[derive(Clone, Copy, Debug)]
struct Givers {
    takers: usize,
    givers: usize,
    /// Calls of each.
    rounds: u8,
    /// Whether givers call `release_up_to`, with a bound that they do not come to.
    up_to: bool,
    broken: Broken,
}

impl Givers {
    fn looked(&self, cpu: &mut Cpu<'_>, word: u8) {
        cpu.set(SEEN, word);
        let is_announced = word == SLEEPERS || self.broken == Broken::NoAnnouncement;
        cpu.go(match word {
            TOKEN.. => TAKE,
            _ if is_announced => SLEEP,
            _ => ANNOUNCE,
        });
    }

    fn acquire(&self, cpu: &mut Cpu<'_>) {
        let seen = cpu.get(SEEN);
        match cpu.pc() {
            ACQUIRE => {
                let word = cpu.load(WORD);
                self.looked(cpu, word);
            }
            TAKE => {
                let taken = if self.broken == Broken::PlainStore {
                    cpu.store(WORD, seen - TOKEN);
                    Ok(())
                } else {
                    cpu.exchange(WORD, seen, seen - TOKEN)
                };
                match taken {
                    Ok(()) => {
                        cpu.state.note(TAKEN, cpu.state.word(TAKEN) + 1);
                        self.next(cpu);
                    }
                    Err(now) => self.looked(cpu, now),
                }
            }
            ANNOUNCE => {
                let announced = cpu.exchange(WORD, seen, SLEEPERS);
                cpu.go(if announced.is_ok() { SLEEP } else { ACQUIRE });
            }
            _ => {
                let asleep = if self.broken == Broken::NoAnnouncement { seen } else { SLEEPERS };
                cpu.set(SEEN, 0);
                cpu.sleep([(WORD, asleep)].into_iter(), ACQUIRE);
            }
        }
    }

    fn release(&self, cpu: &mut Cpu<'_>) {
        let seen = cpu.get(SEEN);
        match cpu.pc() {
            RELEASE => {
                let word = cpu.load(WORD);
                self.found(cpu, word);
            }
            ADD | ADD_UP_TO => match cpu.exchange(WORD, seen, seen + TOKEN) {
                Ok(()) => {
                    self.note_given(cpu);
                    if seen & SLEEPERS == 0 { self.next(cpu) } else { cpu.go(WAKE) }
                }
                Err(now) => self.found(cpu, now),
            },
            ADD_STEP => {
                cpu.add(WORD, TOKEN);
                self.note_given(cpu);
                let woken = cpu.in_the_same_step_wake(WORD, 1);
                if woken == 0 { cpu.go(LOWER) } else { self.next(cpu) }
            }
            WAKE => {
                let woken = cpu.wake(WORD, 1);
                if woken == 0 { cpu.go(LOWER) } else { self.next(cpu) }
            }
            LOWER => {
                let word = cpu.load(WORD);
                cpu.set(SEEN, word);
                if word & SLEEPERS == 0 { self.next(cpu) } else { cpu.go(LOWER_CAS) }
            }
            LOWER_CAS => {
                let lowered = cpu.exchange(WORD, seen, seen & !SLEEPERS).is_ok();
                let wakes = lowered && self.broken != Broken::LowersSilently;
                if wakes { cpu.go(LOWER_WAKE) } else { self.next(cpu) }
            }
            _ => {
                cpu.wake(WORD, u8::MAX);
                self.next(cpu);
            }
        }
    }

    fn found(&self, cpu: &mut Cpu<'_>, word: u8) {
        cpu.set(SEEN, word);
        cpu.go(match word & SLEEPERS {
            _ if self.up_to => ADD_UP_TO,
            0 => ADD,
            _ => ADD_STEP,
        });
    }

    fn note_given(&self, cpu: &mut Cpu<'_>) {
        cpu.state.note(GIVEN, cpu.state.word(GIVEN) + 1);
    }

    fn next(&self, cpu: &mut Cpu<'_>) {
        let round = cpu.get(ROUND) + 1;
        if round == self.rounds {
            return cpu.done();
        }
        cpu.set(SEEN, 0);
        cpu.set(ROUND, round);
        cpu.go(if cpu.me < self.takers { ACQUIRE } else { RELEASE });
    }
}

impl Model for Givers {
    fn name(&self) -> String {
        format!("Tokens {self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.takers + self.givers, ACQUIRE);
        (self.takers..self.takers + self.givers).for_each(|p| state.set_pc(p, RELEASE));
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        if cpu.pc() <= SLEEP { self.acquire(cpu) } else { self.release(cpu) }
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        let count = state.word(WORD) / TOKEN + state.word(TAKEN);
        (count != state.word(GIVEN)).then_some("tokens are not those that were given and not taken")
    }

    fn may_rest(&self, state: &State, _p: usize) -> bool {
        state.word(WORD) < TOKEN
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            ACQUIRE => "acquire: the look",
            TAKE => "acquire: the exchange",
            ANNOUNCE => "acquire: announcing a sleeper",
            SLEEP => "acquire: going to sleep",
            RELEASE => "release: the look",
            ADD | ADD_UP_TO => "release: the exchange",
            ADD_STEP => "release: the step",
            WAKE => "release: the wake",
            LOWER => "lowering: the look",
            LOWER_CAS => "lowering: the exchange",
            LOWER_WAKE => "lowering: the wake",
            _ => "?",
        }
    }
}
