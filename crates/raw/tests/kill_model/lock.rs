//! The lock: `src/lock.rs`.
//!
//! | places | function |
//! |---|---|
//! | `LOCK` | `Lock::lock` |
//! | `LOAD` to `PASS_ON` | `Lock::lock_contended`, with `take` and `announce` |
//! | `UNLOCK_CAS`, `UNLOCK_STEP` | `Lock::unlock` |
//! | `ENTER`, `LEAVE`, `MARK` | the caller, who changes what the lock protects, and `Lock::mark_consistent` |
//!
//! The caller makes the data inconsistent when it enters and consistent before it leaves: whoever finds the data
//! inconsistent was told so. Processes with odd numbers repair nothing. Other models take and give back this lock with [`Steps`].

use crate::machine::{Cpu, DONE, State};
use crate::search::Model;

#[path = "cases/lock.rs"]
mod cases;

const WAITERS: u8 = 1 << 7;
pub(crate) const POISON: u8 = 1 << 6;
const OWNED: u8 = 1 << 5;

/// The word of the lock, in models that have one; and the data.
pub(crate) const WORD: usize = 0;
const DATA: usize = 1;

/// Registers: the word that was read last, whether the call has slept, where it goes on, and what it got. The callers
/// have those from `FREE` on.
const SEEN: usize = 0;
const SLEPT: usize = 1;
const RETURN: usize = 2;
pub(crate) const STATE: usize = 3;
pub(crate) const FREE: usize = 4;
const ROUND: usize = FREE;

pub(crate) const CONSISTENT: u8 = 0;
const OWNER_DIED: u8 = 1;
const POISONED: u8 = 2;
pub(crate) const TIMED_OUT: u8 = 3;

pub(crate) const LOCK: u8 = 1;
const LOAD: u8 = 2;
const TAKE_FREE: u8 = 3;
const IS_DEAD: u8 = 4;
const TAKE_DEAD: u8 = 5;
const ANNOUNCE: u8 = 6;
const WATCH: u8 = 7;
const SLEEP: u8 = 8;
const WOKEN: u8 = 9;
const PASS_ON: u8 = 10;
pub(crate) const UNLOCK: u8 = 11;
const UNLOCK_CAS: u8 = 11;
const UNLOCK_STEP: u8 = 12;
const UNLOCK_WAKE: u8 = 13;
/// The first place of a caller.
pub(crate) const CALLER: u8 = 20;
const ENTER: u8 = CALLER;
const LEAVE: u8 = CALLER + 1;
const MARK: u8 = CALLER + 2;

pub(crate) fn place(pc: u8) -> &'static str {
    match pc {
        LOCK => "lock: the first exchange",
        LOAD => "lock: reading the word",
        TAKE_FREE => "lock: taking a free word",
        IS_DEAD => "lock: looking whether the holder is dead",
        TAKE_DEAD => "lock: following a dead holder",
        ANNOUNCE => "lock: announcing a waiter",
        WATCH => "lock: watching the holder",
        SLEEP => "lock: going to sleep",
        WOKEN => "lock: woken",
        PASS_ON => "lock: passing the obituary on",
        UNLOCK_CAS => "unlock: the exchange",
        UNLOCK_STEP => "unlock: the step",
        UNLOCK_WAKE => "unlock: the wake",
        ENTER => "inside: making the data inconsistent",
        LEAVE => "inside: making the data consistent",
        MARK => "inside: saying that it is consistent",
        _ => "?",
    }
}

/// What may be wrong with the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// `unlock` stores and wakes in two calls.
    StoreThenWake,
    /// A waiter sleeps without having set `WAITERS`.
    NoAnnouncement,
    /// Who has slept takes a free word without `WAITERS`.
    ForgetsTheOthers,
    /// Who gives up at its limit does so without setting `WAITERS` again.
    GivesUpSilently,
    /// A waiter does not watch the life of the holder.
    NoWatch,
    /// A waiter follows a holder who is not proved dead.
    NoProof,
    /// Who follows a dead holder does not set `POISON`.
    NoPoison,
}

/// The lock as part of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) word: usize,
    pub(crate) broken: Broken,
    /// Whether a limit of the process is one of `lock`.
    pub(crate) has_limit: bool,
}

impl Steps {
    /// Goes on with `lock` or `unlock`, and then with `next`.
    pub(crate) fn call(cpu: &mut Cpu<'_>, function: u8, next: u8) {
        cpu.set(RETURN, next);
        cpu.set(SEEN, OWNED | cpu.me as u8);
        cpu.go(function);
    }

    fn is_late(self, cpu: &Cpu<'_>) -> bool {
        self.has_limit && cpu.is_late()
    }

    fn owner(cpu: &Cpu<'_>) -> u8 {
        cpu.get(SEEN) & (OWNED - 1)
    }

    fn back(cpu: &mut Cpu<'_>, state: u8) {
        cpu.set(STATE, state);
        cpu.set(SEEN, 0);
        cpu.set(SLEPT, 0);
        let next = cpu.get(RETURN);
        cpu.set(RETURN, 0);
        cpu.go(next);
    }

    pub(crate) fn step(self, cpu: &mut Cpu<'_>) {
        let mine = OWNED | cpu.me as u8;
        let seen = cpu.get(SEEN);
        let kept = if cpu.get(SLEPT) != 0 && self.broken != Broken::ForgetsTheOthers { WAITERS } else { 0 };
        match cpu.pc() {
            LOCK => match cpu.exchange(self.word, 0, mine) {
                Ok(()) => Self::back(cpu, CONSISTENT),
                Err(_) => cpu.go(LOAD),
            },
            LOAD => {
                let word = cpu.load(self.word);
                cpu.set(SEEN, word);
                cpu.check(word & !(WAITERS | POISON) != mine, "a thread waits for itself");
                cpu.go(if word & OWNED == 0 { TAKE_FREE } else { IS_DEAD });
            }
            TAKE_FREE => match cpu.exchange(self.word, seen, mine | kept | seen & (POISON | WAITERS)) {
                Ok(()) => Self::back(cpu, if seen & POISON == 0 { CONSISTENT } else { POISONED }),
                Err(_) => cpu.go(LOAD),
            },
            IS_DEAD => self.is_dead(cpu),
            TAKE_DEAD => {
                let poison = if self.broken == Broken::NoPoison { 0 } else { POISON };
                match cpu.exchange(self.word, seen, mine | WAITERS | poison) {
                    Ok(()) => Self::back(cpu, OWNER_DIED),
                    Err(_) => cpu.go(LOAD),
                }
            }
            ANNOUNCE => match cpu.exchange(self.word, seen, seen | WAITERS) {
                Ok(()) => cpu.go(WATCH),
                Err(_) => cpu.go(LOAD),
            },
            WATCH => {
                let is_alive = cpu.watch(Self::owner(cpu));
                cpu.go(if is_alive { SLEEP } else { LOAD });
            }
            SLEEP if self.is_late(cpu) => Self::back(cpu, TIMED_OUT),
            SLEEP => self.sleep(cpu),
            WOKEN => {
                let is_dead = cpu.is_dead(Self::owner(cpu));
                cpu.go(if is_dead { PASS_ON } else { LOAD });
            }
            PASS_ON => {
                cpu.pass_on(Self::owner(cpu));
                cpu.go(LOAD);
            }
            _ => self.unlock(cpu),
        }
    }

    fn is_dead(self, cpu: &mut Cpu<'_>) {
        let is_dead = cpu.is_dead(Self::owner(cpu)) || self.broken == Broken::NoProof;
        let may_wait = if self.broken == Broken::GivesUpSilently {
            !self.is_late(cpu)
        } else {
            cpu.get(SLEPT) != 0 || !self.is_late(cpu)
        };
        cpu.go(if is_dead {
            TAKE_DEAD
        } else if may_wait && cpu.get(SEEN) & WAITERS == 0 && self.broken != Broken::NoAnnouncement {
            ANNOUNCE
        } else {
            WATCH
        });
    }

    fn sleep(self, cpu: &mut Cpu<'_>) {
        cpu.set(SLEPT, 1);
        let seen = cpu.get(SEEN) | if self.broken == Broken::NoAnnouncement { 0 } else { WAITERS };
        let words = [(self.word, seen), Cpu::life(Self::owner(cpu))];
        let n = if self.broken == Broken::NoWatch { 1 } else { 2 };
        cpu.sleep(words.into_iter().take(n), WOKEN);
    }

    fn unlock(self, cpu: &mut Cpu<'_>) {
        let word = cpu.get(SEEN);
        let free = word & POISON;
        match cpu.pc() {
            UNLOCK_CAS => match cpu.exchange(self.word, word, free) {
                Ok(()) => Self::back(cpu, 0),
                Err(now) => {
                    cpu.check(
                        now & !(WAITERS | POISON) == OWNED | cpu.me as u8,
                        "the holder's lock was taken",
                    );
                    cpu.set(SEEN, now);
                    // Without `WAITERS` it would be another exchange: `mark_consistent` came between.
                    cpu.go(if now & WAITERS == 0 { UNLOCK_CAS } else { UNLOCK_STEP });
                }
            },
            UNLOCK_STEP => {
                cpu.store(self.word, free);
                if self.broken == Broken::StoreThenWake {
                    cpu.go(UNLOCK_WAKE);
                } else {
                    cpu.in_the_same_step_wake(self.word, 1);
                    Self::back(cpu, 0);
                }
            }
            UNLOCK_WAKE => {
                cpu.wake(self.word, 1);
                Self::back(cpu, 0);
            }
            pc => panic!("no step is at {pc}"),
        }
    }

    /// Whether a process holds the lock, in the eyes of its code.
    pub(crate) fn holds(state: &State, p: usize) -> bool {
        let pc = state.pc(p);
        matches!(pc, UNLOCK_CAS | UNLOCK_STEP)
    }
}

/// Processes that take the lock, some rounds each.
#[derive(Clone, Copy, Debug)]
struct Locks {
    processes: usize,
    rounds: u8,
    /// The last processes have a limit; once it has passed they try no more.
    limits: usize,
    broken: Broken,
}

impl Model for Locks {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.processes, LOCK);
        for p in 0..self.processes {
            state.set_register(p, RETURN, ENTER);
        }
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        let found = cpu.get(STATE);
        match cpu.pc() {
            ENTER if found == TIMED_OUT => cpu.done(),
            ENTER => {
                let data = cpu.load(DATA);
                cpu.check(data == 0 || found != CONSISTENT, "nobody said that the data is inconsistent");
                cpu.state.note(DATA, 1);
                if found != CONSISTENT && cpu.me % 2 == 1 {
                    Steps::call(cpu, UNLOCK, DONE);
                } else {
                    cpu.go(LEAVE);
                }
            }
            LEAVE => {
                cpu.store(DATA, 0);
                if found == CONSISTENT { Steps::call(cpu, UNLOCK, DONE) } else { cpu.go(MARK) }
            }
            MARK => {
                cpu.and(WORD, !POISON);
                Steps::call(cpu, UNLOCK, DONE);
            }
            _ => Steps { word: WORD, broken: self.broken, has_limit: true }.step(cpu),
        }
        if cpu.pc() == DONE {
            let round = cpu.get(ROUND) + 1;
            if round == self.rounds {
                cpu.done();
            } else {
                cpu.set(ROUND, round);
                Steps::call(cpu, LOCK, ENTER);
            }
        }
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        let is_inside = |&p: &usize| {
            let entered = state.pc(p) == ENTER && state.register(p, STATE) != TIMED_OUT;
            entered || matches!(state.pc(p), LEAVE | MARK) || Steps::holds(state, p)
        };
        ((0..self.processes).filter(is_inside).count() > 1).then_some("two hold the lock")
    }

    fn has_limit(&self, p: usize) -> bool {
        (self.processes - self.limits..self.processes).contains(&p)
    }

    fn place(&self, pc: u8) -> &'static str {
        place(pc)
    }
}
