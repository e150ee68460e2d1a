//! The event count, as part of other models: `src/event_count.rs`.
//!
//! | places | function |
//! |---|---|
//! | `NOTIFY`, `NOTIFY_STEP` | `EventCount::notify`, of one |
//! | `ALL`, `ALL_STEP` | `EventCount::notify_all` |
//!
//! `enroll` is one access, [`enroll`]. Its word is the argument; the register after the lock's says where it goes on.

use crate::lock;
use crate::machine::Cpu;

pub(crate) const SLEEPERS: u8 = 1;
const EVENT: u8 = 2;

const RETURN: usize = lock::FREE;
/// The first register of the callers.
pub(crate) const FREE: usize = RETURN + 1;

pub(crate) const NOTIFY: u8 = 14;
pub(crate) const ALL: u8 = 15;
const NOTIFY_STEP: u8 = 16;
const NOTIFY_WAKE: u8 = 17;
const ALL_STEP: u8 = 18;
const ALL_WAKE: u8 = 19;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// Changes and wakes in two calls.
    ChangeThenWake,
    /// Wakes and does not count.
    NoCount,
    /// Who woke nobody lowers the flag, and that wakes nobody.
    LowersSilently,
}

pub(crate) fn place(pc: u8) -> &'static str {
    match pc {
        NOTIFY => "notify: the look",
        NOTIFY_STEP => "notify: the step",
        NOTIFY_WAKE => "notify: the wake",
        ALL => "notify all: the look",
        ALL_STEP => "notify all: the step",
        ALL_WAKE => "notify all: the wake",
        _ => "?",
    }
}

/// Goes on with `notify` or `notify_all`, and then with `next`.
pub(crate) fn call(cpu: &mut Cpu<'_>, function: u8, next: u8) {
    cpu.set(RETURN, next);
    cpu.go(function);
}

/// `EventCount::enroll`: the record.
pub(crate) fn enroll(cpu: &mut Cpu<'_>, word: usize) -> u8 {
    cpu.or(word, SLEEPERS) | SLEEPERS
}

fn back(cpu: &mut Cpu<'_>) {
    let next = cpu.get(RETURN);
    cpu.set(RETURN, 0);
    cpu.go(next);
}

/// A step of `notify` or `notify_all`.
pub(crate) fn step(cpu: &mut Cpu<'_>, word: usize, broken: Broken) {
    match cpu.pc() {
        NOTIFY => {
            let flag = cpu.load(word) & SLEEPERS;
            if flag == 0 { back(cpu) } else { cpu.go(NOTIFY_STEP) }
        }
        NOTIFY_STEP if broken == Broken::ChangeThenWake => {
            cpu.add(word, EVENT);
            cpu.go(NOTIFY_WAKE);
        }
        NOTIFY_STEP | NOTIFY_WAKE => {
            let woken = if cpu.pc() == NOTIFY_WAKE || broken == Broken::NoCount {
                cpu.wake(word, 1)
            } else {
                cpu.add(word, EVENT);
                cpu.in_the_same_step_wake(word, 1)
            };
            if woken == 0 { cpu.go(ALL) } else { back(cpu) }
        }
        ALL => {
            let flag = cpu.load(word) & SLEEPERS;
            if flag == 0 { back(cpu) } else { cpu.go(ALL_STEP) }
        }
        ALL_STEP => {
            cpu.add(word, SLEEPERS);
            match broken {
                Broken::ChangeThenWake => return cpu.go(ALL_WAKE),
                Broken::LowersSilently => {}
                _ => _ = cpu.in_the_same_step_wake(word, u8::MAX),
            }
            back(cpu);
        }
        ALL_WAKE => {
            cpu.wake(word, u8::MAX);
            back(cpu);
        }
        pc => panic!("no step is at {pc}"),
    }
}
