//! The ring: `src/ring.rs` and `src/ring/turn.rs`, over two locks.
//!
//! | places | function |
//! |---|---|
//! | those of the lock, `MEND`, `AT`, `SEEN` | `Ring::enter` |
//! | `LOOK`, `COPY` | `Turn::ready` |
//! | `FLAG`, `COMMIT`, `COMMIT_STEP`, `LOWER` | `Turn::commit` |
//! | those of the lock, `AGAIN`, `WAKE`, `LOWER` | the drop of a `Turn`; from `AGAIN` on also `Ring::pass_on` |
//! | `LEN`, `OTHER_LEN` | `Ring::drained` and `Turn::drained`, between the calls of `enter` and drop |
//! | `RAISE`, `LOOK_AGAIN`, `STILL_OPEN`, `SLEEP` | `Ring::nap` |
//! | `CLOSE` | `Ring::close` |
//! | `DEATHS`, `IS_CLOSED`, `SLOT`, `IS_OVER` | the callers: some put messages, some take them, some close |
//!
//! Somebody outside the model rings the obituary after each death, some time later, if the model has one. Who puts may
//! sleep for ever in a full ring, and who takes in an empty one, as long as it is open.

use crate::lock::{self, CALLER, CONSISTENT, LOCK, POISON, STATE, Steps, UNLOCK};
use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/ring.rs"]
mod cases;
#[path = "ring_steps.rs"]
mod steps;

const PRODUCERS: usize = 0;
const CONSUMERS: usize = 1;

/// Words, of each side: its lock is word 0 or 1.
const COPIES: usize = 2;
const COUNTERS: usize = 4;
const FLAGS: usize = 6;
const CLOSED: usize = 8;
const OBITUARY: usize = 9;
const SLOTS: usize = 10;
/// Notes: which messages were put, and taken; whether somebody was told that all is over.
const PUT: usize = 12;
const TAKEN: usize = 13;
const TOLD: usize = 14;

const SLEEPERS: u8 = 1;
/// In the twin that has no word for it.
const CLOSED_BIT: u8 = 2;

/// Registers: the round; our counter; the other one, and later the message; the deaths before; how many are to be woken
/// (two is all); and which lock it is, with what comes after the turn.
const ROUND: usize = lock::FREE;
const MINE: usize = ROUND + 1;
const OTHER: usize = ROUND + 2;
const RECORD: usize = ROUND + 3;
const OWED: usize = ROUND + 4;
const TURN: usize = ROUND + 5;

const ALL: u8 = 2;

const NOT_THE_CONTENT: &str = "the content is not what was put and not taken";
const TOO_SOON: &str = "somebody was told too soon that all is over";

/// What comes after the turn, beside the lock in `TURN`.
const COMMITTED: u8 = 2;
const NOTHING: u8 = 4;
const GO_AWAY: u8 = 6;
const OVER: u8 = 8;
const NOT_OVER: u8 = 10;
const PASS: u8 = 12;

const MEND: u8 = CALLER;
const AT: u8 = CALLER + 1;
const SEEN: u8 = CALLER + 2;
const IS_CLOSED: u8 = CALLER + 3;
const LOOK: u8 = CALLER + 4;
const COPY: u8 = CALLER + 5;
const SLOT: u8 = CALLER + 6;
const FLAG: u8 = CALLER + 7;
const COMMIT: u8 = CALLER + 8;
const COMMIT_STEP: u8 = CALLER + 9;
const COMMIT_WAKE: u8 = CALLER + 10;
const LOWER: u8 = CALLER + 11;
const AGAIN: u8 = CALLER + 12;
const WAKE: u8 = CALLER + 13;
const LOWER_LAST: u8 = CALLER + 14;
const IS_OVER: u8 = CALLER + 15;
const LEN: u8 = CALLER + 16;
const OTHER_LEN: u8 = CALLER + 17;
const RAISE: u8 = CALLER + 18;
const LOOK_AGAIN: u8 = CALLER + 19;
const STILL_OPEN: u8 = CALLER + 20;
const SLEEP: u8 = CALLER + 21;
const DEATHS: u8 = CALLER + 22;
const CLOSE: u8 = CALLER + 23;
const CLOSE_WAKE: u8 = CALLER + 24;
/// No places of their own: what comes next.
const BEGIN: u8 = CALLER + 25;
const ENTERED: u8 = CALLER + 26;
const LEFT: u8 = CALLER + 27;
const AFTER: u8 = CALLER + 28;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// A commit that saw the flag stores and wakes in two calls.
    StoreThenWake,
    /// `close` stores and wakes in two calls.
    CloseThenWake,
    /// A commit that did not see the flag does not look again.
    NoSecondLook,
    /// Who follows a dead holder does not wake whom that one did not.
    HeirWakesNobody,
    /// A sleeper watches its flag, and not the counter.
    SleepsOnTheFlagOnly,
    /// A sleeper watches the counter, and not its flag.
    SleepsOnTheCounterOnly,
    /// Lowering the flag wakes nobody.
    LowersSilently,
    /// That it is closed is a bit of the consumers' flag, over which who lowers it stores.
    LowersOverClosed,
    /// Who finds it closed and empty does not ask whether a producer is in the middle.
    EndsTooSoon,
    /// A producer looks whether it is closed before it enters.
    AsksTooSoon,
    /// The counter moves before the slot is filled.
    CommitsTooSoon,
    /// Who goes away at its limit passes no wake on.
    GivesUpSilently,
}

#[derive(Clone, Copy, Debug)]
struct Rings {
    slots: u8,
    producers: usize,
    consumers: usize,
    /// Messages of each.
    puts: u8,
    takes: u8,
    /// Whether one more process closes the ring.
    closes: bool,
    /// The last consumers sleep when it begins.
    asleep: usize,
    /// The last consumers have a limit.
    limits: usize,
    rings: bool,
    broken: Broken,
}

impl Rings {
    fn side(&self, p: usize) -> usize {
        if p < self.producers { PRODUCERS } else { CONSUMERS }
    }

    fn processes(&self) -> usize {
        self.producers + self.consumers + usize::from(self.closes)
    }

    fn closed_word(&self) -> (usize, u8) {
        if self.broken == Broken::LowersOverClosed { (FLAGS + CONSUMERS, CLOSED_BIT) } else { (CLOSED, 1) }
    }

    fn is_closed(&self, cpu: &mut Cpu<'_>) -> bool {
        let (word, bit) = self.closed_word();
        cpu.load(word) & bit != 0
    }
}

impl Rings {
    /// A consumer found nothing: is it closed, and will nothing come?
    fn is_over(&self, cpu: &mut Cpu<'_>) {
        let has_entered = cpu.get(TURN) == PRODUCERS as u8;
        match cpu.pc() {
            IS_OVER => {
                let is_closed = self.is_closed(cpu);
                cpu.go(if is_closed { LEN } else { RAISE });
            }
            LEN => {
                let head = cpu.load(COUNTERS + CONSUMERS);
                cpu.set(MINE, head);
                cpu.go(OTHER_LEN);
            }
            _ => {
                let is_empty = cpu.load(COUNTERS + PRODUCERS) == cpu.get(MINE);
                cpu.set(MINE, 0);
                if has_entered {
                    Self::leave(cpu, if is_empty { OVER } else { NOT_OVER });
                } else if is_empty && self.broken != Broken::EndsTooSoon {
                    Self::enter(cpu, PRODUCERS);
                } else {
                    cpu.set(TURN, CONSUMERS as u8 | if is_empty { OVER } else { NOT_OVER });
                    cpu.go(AFTER);
                }
            }
        }
    }

    /// From a call to the next, without an access.
    fn go_on(&self, cpu: &mut Cpu<'_>) {
        let side = self.side(cpu.me);
        match cpu.pc() {
            BEGIN => {
                [MINE, OTHER, RECORD, OWED, TURN].into_iter().for_each(|register| cpu.set(register, 0));
                if self.rings {
                    cpu.go(DEATHS);
                } else {
                    self.begin_turn(cpu);
                }
            }
            ENTERED => {
                let is_ours = usize::from(cpu.get(TURN) & 1) == side;
                match cpu.get(STATE) {
                    lock::TIMED_OUT => self.go_away(cpu),
                    CONSISTENT => cpu.go(if is_ours { AT } else { LEN }),
                    _ => cpu.go(MEND),
                }
            }
            LEFT => {
                let looks = cpu.get(OWED) != 0 && self.broken != Broken::NoSecondLook;
                cpu.go(if looks { AGAIN } else { AFTER });
            }
            _ => {}
        }
        if cpu.pc() == AFTER {
            self.after(cpu);
        }
    }

    fn begin_turn(&self, cpu: &mut Cpu<'_>) {
        let side = self.side(cpu.me);
        if self.broken == Broken::AsksTooSoon && side == PRODUCERS {
            cpu.go(IS_CLOSED);
        } else {
            Self::enter(cpu, side);
        }
    }

    fn after(&self, cpu: &mut Cpu<'_>) {
        cpu.set(OWED, 0);
        let side = self.side(cpu.me);
        match cpu.get(TURN) & !1 {
            COMMITTED => {
                let round = cpu.get(ROUND) + 1;
                if round == [self.puts, self.takes][side] {
                    return cpu.done();
                }
                cpu.set(ROUND, round);
                cpu.go(BEGIN);
            }
            NOTHING if cpu.is_late() => self.go_away(cpu),
            NOTHING => {
                cpu.set(TURN, 1);
                cpu.go(if side == CONSUMERS { IS_OVER } else { RAISE });
            }
            NOT_OVER => cpu.go(BEGIN),
            result => {
                if result == OVER {
                    cpu.state.note(TOLD, 1);
                }
                cpu.done();
            }
        }
    }

    /// A call ends at its limit.
    fn go_away(&self, cpu: &mut Cpu<'_>) {
        if self.broken == Broken::GivesUpSilently {
            return cpu.done();
        }
        [MINE, OTHER, RECORD, STATE].into_iter().for_each(|register| cpu.set(register, 0));
        cpu.set(OWED, 1);
        cpu.set(TURN, PASS);
        cpu.go(AGAIN);
    }

    fn len(state: &State) -> u8 {
        state.word(COUNTERS + PRODUCERS).wrapping_sub(state.word(COUNTERS + CONSUMERS))
    }
}

impl Model for Rings {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let mut state = State::new(self.processes(), BEGIN);
        for p in 0..self.processes() {
            if p < self.producers + self.consumers {
                Cpu::run(&mut state, p, |cpu| self.go_on(cpu));
            } else {
                state.set_pc(p, CLOSE);
            }
        }
        let consumers = self.producers + self.consumers;
        for p in consumers - self.asleep..consumers {
            while !state.is_asleep(p) {
                Cpu::run(&mut state, p, |cpu| self.step(cpu));
            }
        }
        state
    }

    fn step(&self, cpu: &mut Cpu<'_>) {
        match cpu.pc() {
            BEGIN => {}
            MEND..=LOWER => self.turn(cpu),
            AGAIN..=LOWER_LAST => self.wake(cpu),
            IS_OVER..=OTHER_LEN => self.is_over(cpu),
            RAISE..=SLEEP => self.nap(cpu),
            DEATHS => {
                let deaths = cpu.load(OBITUARY);
                cpu.set(RECORD, deaths);
                self.begin_turn(cpu);
            }
            CLOSE | CLOSE_WAKE => self.close(cpu),
            _ => {
                let (word, has_limit) = (usize::from(cpu.get(TURN) & 1), self.has_limit(cpu.me));
                Steps { word, broken: lock::Broken::Nothing, has_limit }.step(cpu);
            }
        }
        // Who has just lain down is where it goes on, and who wakes there takes a step of nothing.
        if !cpu.state.is_asleep(cpu.me) {
            self.go_on(cpu);
        }
    }

    fn violated(&self, state: &State) -> Option<&'static str> {
        let [put, taken, told] = [PUT, TAKEN, TOLD].map(|note| state.word(note));
        let head = state.word(COUNTERS + CONSUMERS);
        let len = Self::len(state);
        if len > self.slots {
            return Some("there are more messages than slots");
        }
        let content = (head..head + len)
            .map(|at| state.word(SLOTS + usize::from(at % self.slots)))
            .fold(0, |messages, message| messages | message);
        if content != put & !taken {
            return Some(NOT_THE_CONTENT);
        }
        (told != 0 && content != 0).then_some(TOO_SOON)
    }

    fn may_rest(&self, state: &State, p: usize) -> bool {
        let (word, bit) = self.closed_word();
        let full = [self.slots, 0][self.side(p)];
        state.pc(p) == BEGIN && state.word(word) & bit == 0 && Self::len(state) == full
    }

    fn has_limit(&self, p: usize) -> bool {
        let consumers = self.producers + self.consumers;
        (consumers - self.limits..consumers).contains(&p)
    }

    fn obituary(&self) -> Option<usize> {
        self.rings.then_some(OBITUARY)
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            MEND => "enter: clearing the poison",
            AT => "enter: reading the own counter",
            SEEN => "enter: reading the copy of the other",
            IS_CLOSED => "the caller: looking whether it is closed",
            LOOK => "ready: reading the other counter",
            COPY => "ready: writing the copy",
            SLOT => "the caller: the slot",
            FLAG => "commit: looking at the flag",
            COMMIT => "commit: the store",
            COMMIT_STEP => "commit: the step",
            COMMIT_WAKE => "commit: the wake",
            LOWER => "commit: lowering the flag",
            AGAIN => "drop: looking at the flag",
            WAKE => "drop: the wake",
            LOWER_LAST => "drop: lowering the flag",
            IS_OVER => "the caller: looking whether it is over",
            LEN | OTHER_LEN => "drained: reading the counters",
            RAISE => "nap: raising the flag",
            LOOK_AGAIN => "nap: looking at the counter",
            STILL_OPEN => "nap: looking whether it is closed",
            SLEEP => "nap: going to sleep",
            BEGIN => "nap: woken",
            DEATHS => "the caller: recording the deaths",
            CLOSE => "close: the step",
            CLOSE_WAKE => "close: the wake",
            _ => lock::place(pc),
        }
    }
}
