//! How the ring is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn rings(slots: u8, producers: usize, puts: u8, consumers: usize, takes: u8) -> Rings {
    let [closes, rings] = [false; 2];
    let (asleep, limits, broken) = (0, 0, Broken::Nothing);
    Rings { slots, producers, consumers, puts, takes, closes, asleep, limits, rings, broken }
}

fn run(rings: Rings, kills: u8, ticks: bool) -> Report {
    search(&rings, Bounds { kills, ticks })
}

#[test]
fn one_of_each_two_kills() {
    for slots in [1, 2] {
        run(rings(slots, 1, 3, 1, 3), 2, true).holds();
        run(Rings { closes: true, ..rings(slots, 1, 2, 1, 3) }, 2, true).holds();
    }
}

#[test]
fn two_producers() {
    run(rings(1, 2, 1, 1, 2), 2, true).holds();
    let closing = Rings { closes: true, ..rings(1, 2, 1, 1, 2) };
    run(Rings { asleep: if is_long() { 0 } else { 1 }, ..closing }, 1, true).holds();
}

#[test]
fn two_consumers() {
    run(rings(1, 1, if is_long() { 2 } else { 1 }, 2, 1), 1, true).holds();
    if is_long() {
        run(rings(2, 1, 2, 2, 1), 1, true).holds();
        run(Rings { closes: true, ..rings(1, 1, 1, 2, 1) }, 1, true).holds();
    }
}

#[test]
fn without_ticks_nobody_dies() {
    run(rings(2, 1, 2, 2, 1), 0, false).holds();
    run(Rings { closes: true, ..rings(1, 2, 1, 1, 2) }, 0, false).holds();
    run(Rings { closes: true, asleep: 2, ..rings(1, 1, 1, 2, 2) }, 0, false).holds();
    if is_long() {
        run(Rings { closes: true, ..rings(1, 1, 1, 2, 2) }, 0, false).holds();
        run(rings(1, 1, 2, 2, 1), 0, false).holds();
    }
}

#[test]
fn without_ticks_one_gives_up() {
    run(Rings { limits: 1, ..rings(2, 1, 1, 2, 1) }, 0, false).holds();
    let asleep = if is_long() { 2 } else { 3 };
    run(Rings { limits: 1, asleep, ..rings(2, 1, 2, 3, 1) }, 0, false).holds();
}

/// Who has committed and is killed before it has woken a sleeper that came meanwhile.
const COMMITTED_AND_GONE: [&str; 3] = ["unlock: the exchange", "drop: looking at the flag", "drop: the wake"];

#[test]
fn without_ticks_one_of_each_and_one_kill() {
    for slots in [1, 2] {
        run(rings(slots, 1, 3, 1, 3), 1, false).needs_the_tick_after_kills_at(&COMMITTED_AND_GONE);
        // Whoever was stranded is woken when it is closed.
        run(Rings { closes: true, ..rings(slots, 1, 2, 1, 3) }, 1, false).holds();
    }
    // The heir of a producer does what that one did not.
    run(rings(1, 2, 1, 1, 1), 1, false).needs_the_tick_after_kills_at(&COMMITTED_AND_GONE);
}

#[test]
fn without_ticks_two_consumers_and_one_kill() {
    // Or a consumer that was woken and has not committed: another sleeps, and what there is was told to the dead one.
    let mut places = COMMITTED_AND_GONE.to_vec();
    places.extend([
        "nap: woken",
        "lock: the first exchange",
        "enter: reading the own counter",
        "enter: reading the copy of the other",
        "ready: reading the other counter",
        "ready: writing the copy",
        "the caller: the slot",
        "commit: looking at the flag",
        "commit: the store",
    ]);
    run(rings(1, 1, 1, 2, 1), 1, false).needs_the_tick_after_kills_at(&places);
}

#[test]
fn without_ticks_and_with_the_obituary_any_kill() {
    let kills = if is_long() { 2 } else { 1 };
    run(Rings { rings: true, ..rings(1, 1, 3, 1, 3) }, 2, false).holds();
    run(Rings { rings: true, closes: true, ..rings(1, 1, 2, 1, 3) }, 1, false).holds();
    run(Rings { rings: true, ..rings(1, 2, 1, 1, kills) }, kills, false).holds();
    run(Rings { rings: true, asleep: if is_long() { 0 } else { 1 }, ..rings(1, 1, 1, 2, 1) }, kills, false)
        .holds();
    if is_long() {
        run(Rings { rings: true, ..rings(2, 1, 2, 2, 1) }, 1, false).holds();
    }
}

#[test]
fn without_ticks_three_at_the_lock_of_producers_and_one_kill() {
    // As for the lock with two waiters: one of the three asks whether all is over.
    let closing = Rings { closes: true, asleep: 1, ..rings(1, 2, 1, 1, 1) };
    run(closing, 1, false).needs_the_tick_after_kills_at(&[
        "lock: woken",
        "lock: reading the word",
        "lock: taking a free word",
        "enter: reading the own counter",
        "enter: reading the copy of the other",
        "the caller: looking whether it is closed",
        "drained: reading the counters",
        "unlock: the exchange",
        "unlock: the step",
    ]);
}

fn broken(broken: Broken, rings: Rings, kills: u8, ticks: bool) -> Report {
    run(Rings { broken, ..rings }, kills, ticks)
}

#[test]
fn broken_store_then_wake_is_found() {
    let twin = broken(Broken::StoreThenWake, rings(1, 1, 2, 1, 2), 1, false);
    twin.needs_the_tick_after_a_kill_at("commit: the wake");
}

#[test]
fn broken_close_then_wake_is_found() {
    let twin = Rings { closes: true, ..rings(1, 1, 1, 1, 2) };
    broken(Broken::CloseThenWake, twin, 1, false).needs_the_tick_after_kills_at(&["close: the wake"]);
    broken(Broken::CloseThenWake, twin, 1, true).holds();
}

#[test]
fn broken_no_second_look_is_found() {
    broken(Broken::NoSecondLook, rings(1, 1, 2, 1, 2), 0, false).gets_stuck();
}

#[test]
fn broken_heir_that_wakes_nobody_is_found() {
    let twin = broken(Broken::HeirWakesNobody, rings(1, 2, 1, 1, 1), 1, false);
    twin.needs_the_tick_after_a_kill_at("unlock: the step");
}

#[test]
fn broken_sleeping_on_one_word_is_found() {
    broken(Broken::SleepsOnTheCounterOnly, rings(2, 1, 2, 1, 2), 0, false).gets_stuck();
    // It takes a kill: who was woken dies, and another has seen the counter before it moved.
    broken(Broken::SleepsOnTheFlagOnly, rings(1, 1, 1, 2, 1), 1, false)
        .needs_the_tick_after_a_kill_at("commit: lowering the flag");
}

#[test]
fn broken_lowering_is_found() {
    broken(Broken::LowersSilently, rings(2, 1, 2, 1, 2), 0, false).gets_stuck();
    let closing = Rings { closes: true, ..rings(2, 1, 2, 1, 3) };
    broken(Broken::LowersOverClosed, closing, 0, true).violates(TOO_SOON);
}

#[test]
fn broken_end_is_found() {
    let closing = Rings { closes: true, ..rings(1, 1, 1, 1, 2) };
    broken(Broken::EndsTooSoon, closing, 0, true).violates(TOO_SOON);
    broken(Broken::AsksTooSoon, closing, 0, true).violates(TOO_SOON);
}

#[test]
fn broken_commit_too_soon_is_found() {
    broken(Broken::CommitsTooSoon, rings(1, 1, 1, 1, 1), 0, true).violates(NOT_THE_CONTENT);
}

#[test]
fn broken_giving_up_silently_is_found() {
    let twin = Rings { asleep: 3, limits: 1, ..rings(2, 1, 2, 3, 1) };
    broken(Broken::GivesUpSilently, twin, 0, false).gets_stuck();
}
