//! How the event is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn events(waiters: usize, setters: usize, clear: usize) -> Events {
    Events { waiters, setters, clear, waits: 2, limits: false, broken: Broken::Nothing }
}

fn run(events: Events, kills: u8, ticks: bool) -> Report {
    search(&events, Bounds { kills, ticks })
}

#[test]
fn two_waiters_two_setters_two_kills() {
    let waits = if is_long() { 3 } else { 2 };
    run(Events { waits, ..events(2, 2, 2) }, 2, true).holds();
}

#[test]
fn waiters_that_give_up() {
    run(Events { limits: true, ..events(2, 2, 1) }, 1, true).holds();
}

#[test]
fn without_ticks_any_kills() {
    // Whoever is killed where: whoever waits when the flag is set goes on at once.
    run(events(2, 2, 2), 0, false).holds();
    run(events(2, 2, 2), 2, false).holds();
    run(events(3, 1, 1), 2, false).holds();
    run(events(1, 3, 3), 2, false).holds();
}

#[test]
fn broken_set_then_wake_is_found() {
    let twin = Events { broken: Broken::SetThenWake, ..events(2, 1, 0) };
    run(twin, 1, false).needs_the_tick_after_kills_at(&["set: the wake"]);
    run(twin, 1, true).holds();
}

#[test]
fn broken_plain_store_is_found() {
    // It takes back the generation of a clear: a later wait takes that for a set, or a sleeper misses one.
    let twin = Events { broken: Broken::PlainStore, ..events(1, 3, 2) };
    run(twin, 0, true).gets_stuck();
}

#[test]
fn broken_no_wake_is_found() {
    run(Events { broken: Broken::NoWake, ..events(1, 1, 0) }, 0, false).gets_stuck();
}

#[test]
fn broken_no_announcement_is_found() {
    run(Events { broken: Broken::NoAnnouncement, ..events(1, 1, 0) }, 0, false).gets_stuck();
}

#[test]
fn broken_no_generation_is_found() {
    // No tick helps: the flag is clear again when the waiter looks.
    run(Events { broken: Broken::NoGeneration, ..events(1, 1, 1) }, 0, true).gets_stuck();
}

#[test]
fn broken_taking_any_wake_is_found() {
    let twin = Events { broken: Broken::TakesAnyWake, ..events(1, 1, 1) };
    run(twin, 0, true).violates("a wait ended though the flag was never set");
}
