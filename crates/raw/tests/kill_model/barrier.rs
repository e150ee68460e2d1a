//! The barrier: `src/barrier.rs`, over the event count.
//!
//! | places | function |
//! |---|---|
//! | `WAIT`, `ARRIVE` | `Barrier::wait` |
//! | `WAIT`, `PLACE`, `PLACE_STATE`, `PLACE_TAKE` | `Barrier::wait_as_guest`, with `Place::arrive_as_guest` |
//! | `LOOK`, `FULL`, `FULL_ARRIVED`, `ALL`, `SLEEP` | `Barrier::until_ended`, with `is_full` and `has_met` |
//! | `ENROLL`, `WATCH` | `Barrier::watch` |
//! | `DEAD`, `ARRIVED` | `Barrier::missing` |
//! | `PASS`, `PASS_ON` | `Barrier::pass_on` |
//! | `END`, and `ALL` of the event count | `Barrier::end` |
//! | `ABORT` | `Barrier::abort` |
//!
//! The parties are attached from the beginning, so that the words that say so are read in the step that needs them. The
//! other places are for guests. There is no reset: who finds the barrier broken goes away. How each generation ended and
//! how many met in it is noted beside the words.

use crate::event_count;
use crate::lock;
use crate::machine::{Cpu, State};
use crate::search::Model;

#[path = "cases/barrier.rs"]
mod cases;
#[path = "barrier_guests.rs"]
mod guests;

const BROKEN: u8 = 1;
const RESET: u8 = 1 << 1;
const GENERATION: u8 = 1 << 2;

const STATE: usize = 0;
const QUEUE: usize = 1;
/// Of attached parties, when they arrived; of other places, the word `party`.
const PLACES: usize = 2;
/// Notes: how each generation ended, and how many met in it.
const ENDS: usize = 6;
const MET: u8 = 1;
const UNMET: u8 = 2;
const ONE_MET: u8 = 4;

const GUEST: u8 = 1 << 7;

/// Registers: the state in which the wait began, the record, whom the sleeper watches (bits), the party that the pass
/// has come to, what the exchange of the state is for, whether the call has slept, the round, whether a guest has arrived,
/// and the word of a place as it was read.
const BEGAN: usize = 0;
const RECORD: usize = 1;
const LIVES: usize = 2;
const AT: usize = 3;
const ENDING: usize = event_count::FREE;
const SLEPT: usize = ENDING + 1;
const ROUND: usize = ENDING + 2;
const HERE: usize = ENDING + 3;
const SEEN: usize = ENDING + 4;

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
const PLACE: u8 = WAIT + 14;
const PLACE_STATE: u8 = WAIT + 15;
const PLACE_TAKE: u8 = WAIT + 16;
const FULL: u8 = WAIT + 17;
const FULL_ARRIVED: u8 = WAIT + 18;

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
    /// A guest takes a place by a store.
    GuestStores,
    Count(event_count::Broken),
}

#[derive(Clone, Copy, Debug)]
struct Barriers {
    parties: usize,
    /// Places besides those of the parties, and who comes for them.
    free: usize,
    guests: usize,
    rounds: u8,
    limits: usize,
    /// Whether there is somebody besides the parties, who aborts.
    abort: bool,
    twin: Twin,
}

const fn arrival(state: u8) -> u8 {
    state & !(BROKEN | RESET) | 1
}

const fn guest(state: u8) -> u8 {
    GUEST | (state / GENERATION)
}

const fn next(state: u8) -> u8 {
    (state & !(BROKEN | RESET)).wrapping_add(GENERATION)
}

impl Barriers {
    fn places(&self) -> usize {
        self.parties + self.free
    }

    fn begin(&self, cpu: &mut Cpu<'_>) {
        self.again(cpu);
        for register in [BEGAN, SLEPT, HERE] {
            cpu.set(register, 0);
        }
        cpu.go(WAIT);
    }

    fn look_for_all(&self, cpu: &mut Cpu<'_>) {
        cpu.set(AT, 0);
        let never = self.twin == Twin::OnlyTheLastEnds && cpu.get(SLEPT) != 0;
        cpu.go(if never { DEAD } else { ALL });
    }

    fn wait(&self, cpu: &mut Cpu<'_>) {
        let began = cpu.get(BEGAN);
        match cpu.pc() {
            WAIT => {
                let state = cpu.load(STATE);
                cpu.set(BEGAN, state);
                if state & BROKEN != 0 {
                    return self.back(cpu, UNMET);
                }
                let is_guest = self.is_guest(cpu.me);
                cpu.set(AT, if is_guest { self.parties as u8 } else { 0 });
                cpu.go(if is_guest { PLACE } else { ARRIVE });
            }
            ARRIVE => {
                cpu.store(PLACES + cpu.me, arrival(began));
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
                    self.back(cpu, if now == began | BROKEN { UNMET } else { MET });
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
        if self.twin == Twin::NoLook {
            self.end_by(cpu, BY_MEETING);
        } else if self.looks_for_a_place(cpu) {
            cpu.set(AT, self.parties as u8);
            cpu.go(FULL);
        } else {
            self.look_for_all(cpu);
        }
    }

    fn look(&self, cpu: &mut Cpu<'_>) {
        let (party, mine) = (cpu.get(AT), arrival(cpu.get(BEGAN)));
        let first = self.twin == Twin::ArrivalBeforeDeath;
        match cpu.pc() {
            ALL => {
                let word = cpu.load(PLACES + usize::from(party));
                let has_arrived = self.has_arrived(party.into(), word, cpu.get(BEGAN));
                if has_arrived && usize::from(party) + 1 == self.places() {
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
            ARRIVED => match (cpu.load(PLACES + usize::from(party)) == mine, first) {
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
            let is_missing = |p: usize| cpu.state.is_dead(p) && cpu.state.word(PLACES + p) != arrival(began);
            let is_right = (0..self.parties).any(is_missing);
            cpu.check(is_right, "broken though everybody who died had arrived");
        }
    }

    /// The call returns.
    fn back(&self, cpu: &mut Cpu<'_>, end: u8) {
        if end == MET && self.looks_for_a_place(cpu) {
            // It was the meeting of others.
            return self.begin(cpu);
        }
        let began = cpu.get(BEGAN);
        let note = ENDS + usize::from(began / GENERATION);
        assert!(note < ENDS + 12);
        let before = cpu.state.word(note);
        cpu.check(before == 0 || before % ONE_MET == end, "some met and some did not");
        let met = if end == MET { before / ONE_MET + 1 } else { 0 };
        cpu.state.note(note, end + met * ONE_MET);
        cpu.check(usize::from(met) <= self.places(), "more met than there are places");
        let arrived = |place: usize| {
            let word = cpu.state.word(PLACES + place);
            if place < self.parties { word >= arrival(began) } else { word >= guest(began) }
        };
        let have_arrived = (0..self.places()).all(arrived);
        cpu.check(end == UNMET || have_arrived, "a meeting without all parties");
        let round = cpu.get(ROUND) + 1;
        if end == UNMET || round == self.rounds {
            return cpu.done();
        }
        self.begin(cpu);
        cpu.set(ROUND, round);
    }
}

impl Model for Barriers {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn begin(&self) -> State {
        let n = self.parties + self.guests;
        let mut state = State::new(n + usize::from(self.abort), WAIT);
        if self.abort {
            state.set_pc(n, ABORT);
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
            PLACE..=FULL_ARRIVED => self.guest(cpu),
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

    fn may_rest(&self, state: &State, p: usize) -> bool {
        let began = state.register(p, BEGAN);
        let is_missing = |p: usize| state.is_dead(p) && state.word(PLACES + p) != arrival(began);
        let has_place = |place: usize| self.has_arrived(place, state.word(PLACES + place), began);
        let may_sleep =
            !self.is_guest(p) || state.register(p, HERE) != 0 || (self.parties..self.places()).all(has_place);
        let goes_on = self.have_arrived(state, began) || (0..self.parties).any(is_missing);
        self.guests > 0 && state.word(STATE) == began && may_sleep && !goes_on
    }

    fn has_limit(&self, p: usize) -> bool {
        self.limits > 0 && (self.parties - self.limits..self.parties).contains(&p)
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
            PLACE => "guest: looking at a place",
            PLACE_STATE => "guest: looking at the state",
            PLACE_TAKE => "guest: taking a place",
            FULL | FULL_ARRIVED => "guest: looking whether all places are taken",
            END => "the exchange of the state",
            ABORT => "abort: reading the state",
            _ => event_count::place(pc),
        }
    }
}
