//! How the condition variable is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn condvars(takers: usize, givers: usize, items: u8) -> Condvars {
    Condvars {
        takers,
        givers,
        items,
        inside: false,
        notify_all: false,
        limits: false,
        rings: true,
        broken: Broken::Nothing,
    }
}

fn run(condvars: Condvars, kills: u8, ticks: bool) -> Report {
    search(&condvars, Bounds { kills, ticks })
}

#[test]
fn two_takers_one_giver_one_kill() {
    let items = if is_long() { 2 } else { 1 };
    run(condvars(2, 1, items), 1, true).holds();
    run(Condvars { notify_all: true, inside: true, ..condvars(2, 1, 1) }, 1, true).holds();
}

#[test]
fn one_taker_two_givers_one_kill() {
    run(condvars(1, 2, 1), 1, true).holds();
}

#[test]
fn one_taker_one_giver_two_items() {
    run(Condvars { limits: true, ..condvars(1, 1, 2) }, 1, true).holds();
}

#[test]
fn without_ticks_nobody_dies() {
    run(condvars(2, 1, 1), 0, false).holds();
    run(condvars(1, 1, 3), 0, false).holds();
    run(condvars(1, 2, 1), 0, false).holds();
}

#[test]
fn without_ticks_one_kill_and_the_obituary() {
    run(condvars(1, 1, 3), 1, false).holds();
    // With two takers the obituary still does: what is left are the two stalls of the lock that they take again.
    run(condvars(2, 1, 1), 1, false).needs_the_tick_after_kills_at(&[
        "lock: woken",
        "lock: reading the word",
        "lock: taking a free word",
        "wait: the caller's look",
        "unlock: the exchange",
        "unlock: the step",
    ]);
}

#[test]
fn without_ticks_one_kill_and_no_obituary() {
    run(Condvars { rings: false, ..condvars(1, 1, 3) }, 1, false).needs_the_tick_after_kills_at(&[
        // Who notifies, after its change: only the obituary tells.
        "unlock: the exchange",
        "unlock: the step",
        "notify: the look",
        "notify: the step",
    ]);
}

#[test]
fn broken_recording_late_is_found() {
    run(Condvars { broken: Broken::RecordsLate, ..condvars(1, 1, 1) }, 0, false).gets_stuck();
}

#[test]
fn broken_no_obituary_is_found() {
    let twin = Condvars { broken: Broken::NoObituary, ..condvars(1, 1, 1) };
    run(twin, 1, false).needs_the_tick_after_a_kill_at("notify: the look");
}

#[test]
fn broken_taking_any_wake_is_found() {
    let twin = Condvars { broken: Broken::TakesAnyWake, ..condvars(1, 1, 1) };
    run(twin, 0, true).violates("a wait ended though nobody notified");
}

#[test]
fn broken_change_then_wake_is_found() {
    let broken = Broken::Count(event_count::Broken::ChangeThenWake);
    let twin = Condvars { broken, rings: false, ..condvars(1, 1, 1) };
    run(twin, 1, false).needs_the_tick_after_a_kill_at("notify: the wake");
}

#[test]
fn broken_no_count_is_found() {
    let broken = Broken::Count(event_count::Broken::NoCount);
    run(Condvars { broken, ..condvars(1, 1, 1) }, 0, true).gets_stuck();
}

#[test]
fn broken_lowering_silently_is_found() {
    let broken = Broken::Count(event_count::Broken::LowersSilently);
    run(Condvars { broken, ..condvars(1, 1, 2) }, 0, false).gets_stuck();
}
