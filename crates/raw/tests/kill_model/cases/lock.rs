//! How the lock is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn locks(processes: usize, rounds: u8) -> Locks {
    Locks { processes, rounds, limits: 0, broken: Broken::Nothing }
}

const fn bounds(kills: u8, ticks: bool) -> Bounds {
    Bounds { kills, ticks }
}

#[test]
fn three_processes_one_kill() {
    search(&locks(3, if is_long() { 3 } else { 2 }), bounds(1, true)).holds();
}

#[test]
fn three_processes_two_kills() {
    search(&locks(3, 2), bounds(2, true)).holds();
}

#[test]
fn one_of_three_gives_up() {
    search(&Locks { limits: 1, ..locks(3, 1) }, bounds(1, true)).holds();
}

#[test]
fn four_processes() {
    let kills = if is_long() { 2 } else { 0 };
    search(&locks(4, 1), bounds(kills, true)).holds();
}

#[test]
fn without_ticks_nobody_dies() {
    search(&Locks { limits: 2, ..locks(3, 2) }, bounds(0, false)).holds();
    search(&locks(4, 1), bounds(0, false)).holds();
}

#[test]
fn without_ticks_one_waiter_and_one_kill() {
    search(&locks(2, 3), bounds(1, false)).holds();
}

#[test]
fn without_ticks_two_waiters_and_one_kill() {
    search(&locks(3, 2), bounds(1, false)).needs_the_tick_after_kills_at(&[
        // A waiter, after it was woken and before the others can know that it was.
        "lock: woken",
        "lock: reading the word",
        "lock: taking a free word",
        "lock: looking whether the holder is dead",
        "lock: announcing a waiter",
        // A holder whom a sleeper does not watch, because it lay down under the one before.
        "inside: making the data inconsistent",
        "inside: making the data consistent",
        "unlock: the exchange",
        "unlock: the step",
    ]);
}

fn broken(broken: Broken, limits: usize, kills: u8, ticks: bool) -> Report {
    search(&Locks { broken, limits, ..locks(3, 1) }, bounds(kills, ticks))
}

#[test]
fn broken_store_then_wake_is_found() {
    // Who watches the one that unlocks hears of its death; who watches another does not.
    let twin = Locks { broken: Broken::StoreThenWake, ..locks(3, 2) };
    search(&twin, bounds(1, false)).needs_the_tick_after_a_kill_at("unlock: the wake");
    // With ticks it is late, and not lost.
    search(&Locks { rounds: 1, ..twin }, bounds(1, true)).holds();
}

#[test]
fn broken_no_announcement_is_found() {
    broken(Broken::NoAnnouncement, 0, 0, false).gets_stuck();
}

#[test]
fn broken_forgetting_the_others_is_found() {
    broken(Broken::ForgetsTheOthers, 0, 0, false).gets_stuck();
}

#[test]
fn broken_giving_up_silently_is_found() {
    let twin = Locks { broken: Broken::GivesUpSilently, limits: 1, ..locks(3, 2) };
    search(&twin, bounds(0, false)).gets_stuck();
}

#[test]
fn broken_no_watch_is_found() {
    let twin = Locks { broken: Broken::NoWatch, ..locks(2, 1) };
    search(&twin, bounds(1, false)).needs_the_tick_after_a_kill_at("inside: making the data consistent");
}

#[test]
fn broken_no_proof_is_found() {
    broken(Broken::NoProof, 0, 0, true).violates("two hold the lock");
}

#[test]
fn broken_no_poison_is_found() {
    broken(Broken::NoPoison, 0, 2, true).violates("nobody said that the data is inconsistent");
}
