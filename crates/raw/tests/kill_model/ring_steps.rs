//! The steps of the ring: `Ring::enter`, `Turn` and its drop, `Ring::nap`, `Ring::close`.
//!
//! What the callers do before and after is in `ring.rs`.

use super::*;

impl Rings {
    /// How many slots are there for this side, by its registers.
    pub(super) fn ready(&self, cpu: &Cpu<'_>, side: usize) -> bool {
        let [mine, other] = [cpu.get(MINE), cpu.get(OTHER)];
        if side == PRODUCERS { mine.wrapping_sub(other) < self.slots } else { mine != other }
    }

    /// Goes on with what the copy of the other counter says.
    pub(super) fn known(&self, cpu: &mut Cpu<'_>, side: usize) {
        if self.ready(cpu, side) { self.go_to_slot(cpu, side) } else { cpu.go(LOOK) }
    }

    /// Enters a side.
    pub(super) fn enter(cpu: &mut Cpu<'_>, side: usize) {
        cpu.set(TURN, side as u8);
        Steps::call(cpu, LOCK, ENTERED);
    }

    /// Ends the turn; then comes `result`.
    pub(super) fn leave(cpu: &mut Cpu<'_>, result: u8) {
        let turn = cpu.get(TURN) & 1;
        cpu.set(TURN, turn | result);
        [MINE, STATE].into_iter().for_each(|register| cpu.set(register, 0));
        Steps::call(cpu, UNLOCK, LEFT);
    }

    /// From taking the lock to where the slot is.
    pub(super) fn turn(&self, cpu: &mut Cpu<'_>) {
        let side = self.side(cpu.me);
        let entered = usize::from(cpu.get(TURN) & 1);
        match cpu.pc() {
            MEND => {
                cpu.and(entered, !POISON);
                cpu.set(OWED, if self.broken == Broken::HeirWakesNobody { 0 } else { ALL });
                cpu.go(if entered == side { AT } else { LEN });
            }
            AT => {
                let mine = cpu.load(COUNTERS + side);
                cpu.set(MINE, mine);
                cpu.go(SEEN);
            }
            SEEN => {
                let other = cpu.load(COPIES + side);
                cpu.set(OTHER, other);
                if side == PRODUCERS && self.broken != Broken::AsksTooSoon {
                    cpu.go(IS_CLOSED);
                } else {
                    self.known(cpu, side);
                }
            }
            IS_CLOSED => {
                if self.is_closed(cpu) {
                    // The twin looks before it enters.
                    if self.broken == Broken::AsksTooSoon { cpu.done() } else { Self::leave(cpu, GO_AWAY) }
                } else if self.broken == Broken::AsksTooSoon {
                    Self::enter(cpu, side);
                } else {
                    self.known(cpu, side);
                }
            }
            LOOK => {
                let other = cpu.load(COUNTERS + 1 - side);
                cpu.set(OTHER, other);
                cpu.go(COPY);
            }
            COPY => {
                cpu.store(COPIES + side, cpu.get(OTHER));
                if self.ready(cpu, side) { self.go_to_slot(cpu, side) } else { Self::leave(cpu, NOTHING) }
            }
            _ => self.commit(cpu, side),
        }
    }

    pub(super) fn commit(&self, cpu: &mut Cpu<'_>, side: usize) {
        let [counter, flag] = [COUNTERS + side, FLAGS + 1 - side];
        let mine = cpu.get(MINE);
        match cpu.pc() {
            SLOT => {
                let slot = SLOTS + usize::from(mine % self.slots);
                if side == PRODUCERS {
                    let message = self.message(cpu, side);
                    cpu.store(slot, message);
                } else {
                    let message = cpu.load(slot);
                    cpu.set(OTHER, message);
                }
                if self.is_too_soon(side) { Self::leave(cpu, COMMITTED) } else { cpu.go(FLAG) }
            }
            FLAG => {
                let is_up = cpu.load(flag) & SLEEPERS != 0;
                cpu.go(if is_up { COMMIT_STEP } else { COMMIT });
            }
            COMMIT => {
                cpu.store(counter, mine + 1);
                self.note_commit(cpu, side);
                cpu.set(OWED, cpu.get(OWED).max(1));
                self.committed(cpu, side);
            }
            COMMIT_STEP => {
                cpu.add(counter, 1);
                self.note_commit(cpu, side);
                if self.broken == Broken::StoreThenWake {
                    return cpu.go(COMMIT_WAKE);
                }
                let woken = cpu.in_the_same_step_wake(self.news(1 - side), 1);
                if woken == 0 { cpu.go(LOWER) } else { self.committed(cpu, side) }
            }
            COMMIT_WAKE => {
                let woken = cpu.wake(counter, 1);
                if woken == 0 { cpu.go(LOWER) } else { self.committed(cpu, side) }
            }
            _ => {
                self.lower(cpu, flag);
                self.committed(cpu, side);
            }
        }
    }

    pub(super) fn is_too_soon(&self, side: usize) -> bool {
        self.broken == Broken::CommitsTooSoon && side == PRODUCERS
    }

    /// Where a turn goes on that has found enough.
    pub(super) fn go_to_slot(&self, cpu: &mut Cpu<'_>, side: usize) {
        cpu.go(if self.is_too_soon(side) { FLAG } else { SLOT });
    }

    /// Each message is a bit of the notes.
    pub(super) fn message(&self, cpu: &Cpu<'_>, side: usize) -> u8 {
        if side == PRODUCERS { 1 << (cpu.me as u8 * self.puts + cpu.get(ROUND)) } else { cpu.get(OTHER) }
    }

    pub(super) fn note_commit(&self, cpu: &mut Cpu<'_>, side: usize) {
        let (note, message) = ([PUT, TAKEN][side], self.message(cpu, side));
        let before = cpu.state.word(note);
        cpu.check(before & message == 0, "a message came twice");
        cpu.state.note(note, before | message);
    }

    pub(super) fn committed(&self, cpu: &mut Cpu<'_>, side: usize) {
        if self.is_too_soon(side) { cpu.go(SLOT) } else { Self::leave(cpu, COMMITTED) }
    }

    /// The word whose sleepers a commit wakes.
    pub(super) fn news(&self, side: usize) -> usize {
        if self.broken == Broken::SleepsOnTheFlagOnly { FLAGS + side } else { COUNTERS + 1 - side }
    }

    pub(super) fn lower(&self, cpu: &mut Cpu<'_>, flag: usize) {
        cpu.store(flag, 0);
        if self.broken != Broken::LowersSilently {
            cpu.in_the_same_step_wake(flag, u8::MAX);
        }
    }

    /// The second half of a turn's drop, and `pass_on`: for those of the other side, or of the own.
    pub(super) fn wake(&self, cpu: &mut Cpu<'_>) {
        let turn = cpu.get(TURN);
        let of = if turn & !1 == PASS { self.side(cpu.me) } else { 1 - usize::from(turn & 1) };
        let n = if cpu.get(OWED) == ALL { u8::MAX } else { 1 };
        match cpu.pc() {
            AGAIN => {
                let is_up = cpu.load(FLAGS + of) & SLEEPERS != 0;
                cpu.go(if is_up { WAKE } else { AFTER });
            }
            WAKE => {
                let woken = cpu.wake(self.news(of), n);
                cpu.go(if woken == 0 { LOWER_LAST } else { AFTER });
            }
            _ => {
                self.lower(cpu, FLAGS + of);
                cpu.go(AFTER);
            }
        }
    }

    pub(super) fn nap(&self, cpu: &mut Cpu<'_>) {
        let side = self.side(cpu.me);
        let ([counter, flag], seen) = ([COUNTERS + 1 - side, FLAGS + side], cpu.get(OTHER));
        match cpu.pc() {
            RAISE => {
                cpu.or(flag, SLEEPERS);
                cpu.go(LOOK_AGAIN);
            }
            LOOK_AGAIN => {
                let has_moved = cpu.load(counter) != seen;
                cpu.go(if has_moved { BEGIN } else { STILL_OPEN });
            }
            STILL_OPEN => {
                let is_closed = self.is_closed(cpu);
                cpu.go(if is_closed { BEGIN } else { SLEEP });
            }
            _ => {
                let mut words = vec![(counter, seen), (flag, SLEEPERS), (CLOSED, 0)];
                match self.broken {
                    Broken::SleepsOnTheFlagOnly => _ = words.remove(0),
                    Broken::SleepsOnTheCounterOnly => _ = words.remove(1),
                    _ => {}
                }
                if self.rings {
                    words.push((OBITUARY, cpu.get(RECORD)));
                }
                cpu.sleep(words.into_iter(), BEGIN);
            }
        }
    }

    pub(super) fn close(&self, cpu: &mut Cpu<'_>) {
        let (word, bit) = self.closed_word();
        if cpu.pc() == CLOSE_WAKE {
            cpu.wake(word, u8::MAX);
        } else {
            cpu.or(word, bit);
            if self.broken == Broken::CloseThenWake {
                return cpu.go(CLOSE_WAKE);
            }
            cpu.in_the_same_step_wake(word, u8::MAX);
        }
        cpu.done();
    }
}
