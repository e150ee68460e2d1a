//! The semaphore: `src/semaphore.rs`, over the event count.
//!
//! | places | function |
//! |---|---|
//! | `FREE`, `FREE_TAKE` | `Semaphore::try_take`, the pass over the free permits |
//! | `LEFT`, `LEFT_DEAD`, `LEFT_TAKE` | the same, the pass over those of the dead |
//! | `ENROLL` | `Semaphore::acquire`, between its two looks |
//! | `GATHER`, `GATHER_LIFE`, `SLEEP`, `PASS`, `PASS_DEAD`, `PASS_ON` | `Semaphore::sleep` |
//! | `INSIDE` | the caller, who has a permit |
//! | `RELEASE`, and those of the event count | `Semaphore::release` |

use crate::event_count;
use crate::lock;
use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/semaphore.rs"]
mod cases;

const OWNED: u8 = 1 << 5;

const QUEUE: usize = 0;
const PERMITS: usize = 1;

/// Registers: how many permits of this pass were looked at, the permit's word as it was read, whether this is the second
/// look, the record, whom the sleeper watches (bits), the round.
const AT: usize = event_count::FREE;
const SEEN: usize = 0;
const SECOND: usize = 1;
const RECORD: usize = 2;
const LIVES: usize = 3;
const ROUND: usize = AT + 1;

const FREE: u8 = lock::CALLER;
const FREE_TAKE: u8 = FREE + 1;
const LEFT: u8 = FREE + 2;
const LEFT_DEAD: u8 = FREE + 3;
const LEFT_TAKE: u8 = FREE + 4;
const ENROLL: u8 = FREE + 5;
const GATHER: u8 = FREE + 6;
const GATHER_LIFE: u8 = FREE + 7;
const SLEEP: u8 = FREE + 8;
const PASS: u8 = FREE + 9;
const PASS_DEAD: u8 = FREE + 10;
const PASS_ON: u8 = FREE + 11;
const INSIDE: u8 = FREE + 12;
const RELEASE: u8 = FREE + 13;
/// No place of its own: what comes next.
const RELEASED: u8 = FREE + 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Who sleeps has not looked again after it enrolled, neither at the permits nor while it gathered lives.
    NoSecondLook,
    /// Who finds a permit free while it gathers lives watches the others only.
    GathersTheHeld,
    /// Nobody watches lives.
    NoWatch,
    /// Permits are taken from holders who are not proved dead.
    NoProof,
    /// A permit is stored and not exchanged.
    PlainStore,
    Count(event_count::Broken),
}

#[derive(Clone, Copy, Debug)]
struct Semaphores {
    processes: usize,
    permits: u8,
    rounds: u8,
    /// `WATCHED` of the code.
    watched: u8,
    limits: usize,
    broken: Broken,
}

impl Semaphores {
    fn n_watched(&self) -> u8 {
        self.permits.min(self.watched)
    }

    /// The permit that the pass has come to.
    fn permit(&self, cpu: &Cpu<'_>) -> usize {
        PERMITS + (cpu.me + usize::from(cpu.get(AT))) % usize::from(self.permits)
    }

    /// Goes to the next permit, or on if this was the last.
    fn next(&self, cpu: &mut Cpu<'_>, n: u8, again: u8, next: u8) {
        cpu.set(SEEN, 0);
        let at = cpu.get(AT) + 1;
        if at < n {
            cpu.set(AT, at);
            cpu.go(again);
        } else {
            cpu.set(AT, 0);
            self.arrive(cpu, next);
        }
    }

    /// Begins what comes after a pass.
    fn arrive(&self, cpu: &mut Cpu<'_>, next: u8) {
        match next {
            // The pass over the permits of the dead found nothing.
            ENROLL if cpu.get(SECOND) == 0 && cpu.is_late() => cpu.done(),
            ENROLL if cpu.get(SECOND) == 0 => cpu.go(ENROLL),
            ENROLL => self.gather(cpu),
            FREE => {
                for register in [SEEN, SECOND, RECORD, LIVES, AT] {
                    cpu.set(register, 0);
                }
                cpu.go(FREE);
            }
            next => cpu.go(next),
        }
    }

    fn gather(&self, cpu: &mut Cpu<'_>) {
        if cpu.is_late() {
            return self.arrive(cpu, FREE);
        }
        let watches = self.n_watched() > 0 && self.broken != Broken::NoWatch;
        cpu.go(if watches { GATHER } else { SLEEP });
    }

    fn got(&self, cpu: &mut Cpu<'_>) {
        let permit = self.permit(cpu) as u8;
        self.arrive(cpu, FREE);
        cpu.set(AT, permit);
        cpu.go(INSIDE);
    }

    fn try_take(&self, cpu: &mut Cpu<'_>) {
        let (mine, permit, seen) = (OWNED | cpu.me as u8, self.permit(cpu), cpu.get(SEEN));
        let n = self.permits;
        match cpu.pc() {
            FREE => {
                let word = cpu.load(permit);
                if word & OWNED == 0 { cpu.go(FREE_TAKE) } else { self.next(cpu, n, FREE, LEFT) }
            }
            FREE_TAKE if self.broken == Broken::PlainStore => {
                cpu.store(permit, mine);
                self.got(cpu);
            }
            FREE_TAKE => match cpu.exchange(permit, 0, mine) {
                Ok(()) => self.got(cpu),
                Err(_) => self.next(cpu, n, FREE, LEFT),
            },
            LEFT => {
                let word = cpu.load(permit);
                if word & OWNED == 0 {
                    return self.next(cpu, n, LEFT, ENROLL);
                }
                cpu.set(SEEN, word);
                cpu.go(LEFT_DEAD);
            }
            LEFT_DEAD => {
                let is_dead = cpu.is_dead(seen & (OWNED - 1)) || self.broken == Broken::NoProof;
                if is_dead { cpu.go(LEFT_TAKE) } else { self.next(cpu, n, LEFT, ENROLL) }
            }
            _ => match cpu.exchange(permit, seen, mine) {
                Ok(()) => self.got(cpu),
                Err(_) => self.next(cpu, n, LEFT, ENROLL),
            },
        }
    }

    fn sleep(&self, cpu: &mut Cpu<'_>) {
        let n = self.n_watched();
        let (permit, owner) = (PERMITS + usize::from(cpu.get(AT)), cpu.get(SEEN) & (OWNED - 1));
        match cpu.pc() {
            GATHER => {
                let word = cpu.load(permit);
                cpu.set(SEEN, word);
                let skips = matches!(self.broken, Broken::GathersTheHeld | Broken::NoSecondLook);
                match word & OWNED {
                    0 if skips => self.next(cpu, n, GATHER, SLEEP),
                    0 => self.arrive(cpu, FREE),
                    _ => cpu.go(GATHER_LIFE),
                }
            }
            GATHER_LIFE => {
                if !cpu.watch(owner) {
                    return self.arrive(cpu, FREE);
                }
                let lives = cpu.get(LIVES) | 1 << owner;
                cpu.set(LIVES, lives);
                self.next(cpu, n, GATHER, SLEEP);
            }
            SLEEP => {
                let (record, lives) = (cpu.get(RECORD), cpu.get(LIVES));
                let lives = (0..8).filter(move |id| lives >> id & 1 != 0).map(Cpu::life);
                let after = if n > 0 { PASS } else { FREE };
                cpu.sleep([(QUEUE, record)].into_iter().chain(lives), after);
                // The record and the lives are not read again.
                for register in [SECOND, RECORD, LIVES] {
                    cpu.set(register, 0);
                }
            }
            PASS => {
                let word = cpu.load(permit);
                if word & OWNED == 0 {
                    return self.next(cpu, n, PASS, FREE);
                }
                cpu.set(SEEN, word);
                cpu.go(PASS_DEAD);
            }
            PASS_DEAD => {
                let is_dead = cpu.is_dead(owner);
                if is_dead { cpu.go(PASS_ON) } else { self.next(cpu, n, PASS, FREE) }
            }
            _ => {
                cpu.pass_on(owner);
                self.next(cpu, n, PASS, FREE);
            }
        }
    }

    fn release(&self, cpu: &mut Cpu<'_>) {
        let permit = usize::from(cpu.get(AT));
        let released = cpu.exchange(permit, OWNED | cpu.me as u8, 0);
        cpu.check(released.is_ok(), "the holder's permit was taken");
        cpu.set(AT, 0);
        event_count::call(cpu, event_count::NOTIFY, RELEASED);
    }
}

impl Model for Semaphores {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        State::new(self.processes, FREE)
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            FREE..=LEFT_TAKE => self.try_take(cpu),
            ENROLL => {
                let record = event_count::enroll(cpu, QUEUE);
                cpu.set(RECORD, record);
                cpu.set(SECOND, 1);
                if self.broken == Broken::NoSecondLook { self.gather(cpu) } else { cpu.go(FREE) }
            }
            GATHER..=PASS_ON => self.sleep(cpu),
            INSIDE => cpu.go(RELEASE),
            RELEASE => self.release(cpu),
            _ => {
                let count = if let Broken::Count(broken) = self.broken {
                    broken
                } else {
                    event_count::Broken::Nothing
                };
                event_count::step(cpu, QUEUE, count);
            }
        }
        if cpu.pc() == RELEASED {
            let round = cpu.get(ROUND) + 1;
            if round == self.rounds {
                return cpu.done();
            }
            cpu.set(ROUND, round);
            cpu.go(FREE);
        }
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        let has_one = |&p: &usize| matches!(state.pc(p), INSIDE | RELEASE);
        let holders = (0..self.processes).filter(has_one).count();
        (holders > usize::from(self.permits)).then_some("more holders than permits")
    }

    fn has_limit(&self, p: usize) -> bool {
        (self.processes - self.limits..self.processes).contains(&p)
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            FREE => "acquire: looking for a free permit",
            FREE_TAKE => "acquire: taking a free permit",
            LEFT => "acquire: looking for a permit of the dead",
            LEFT_DEAD => "acquire: looking whether a holder is dead",
            LEFT_TAKE => "acquire: taking a permit of the dead",
            ENROLL => "acquire: recording the count",
            GATHER => "acquire: gathering the holders",
            GATHER_LIFE => "acquire: watching a holder",
            SLEEP => "acquire: going to sleep",
            PASS | PASS_DEAD | PASS_ON => "acquire: passing the obituary on",
            INSIDE => "inside",
            RELEASE => "release: the exchange",
            _ => event_count::place(pc),
        }
    }
}
