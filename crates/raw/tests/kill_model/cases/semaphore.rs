//! How the semaphore is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn semaphores(processes: usize, permits: u8, rounds: u8) -> Semaphores {
    Semaphores { processes, permits, rounds, watched: 31, limits: 0, broken: Broken::Nothing }
}

fn run(semaphores: Semaphores, kills: u8, ticks: bool) -> Report {
    search(&semaphores, Bounds { kills, ticks })
}

#[test]
fn three_processes_one_permit_one_kill() {
    run(semaphores(3, 1, 1), 1, true).holds();
}

#[test]
fn three_processes_two_permits_one_kill() {
    run(semaphores(3, 2, 1), 1, true).holds();
}

#[test]
fn two_processes_three_rounds_two_kills() {
    run(semaphores(2, 1, 3), 2, true).holds();
}

#[test]
fn more_rounds_and_more_processes_if_long() {
    if is_long() {
        run(semaphores(3, 1, 2), 1, true).holds();
        run(semaphores(4, 2, 1), 2, true).holds();
    }
}

#[test]
fn one_of_three_gives_up() {
    run(Semaphores { limits: 1, ..semaphores(3, 1, 1) }, 1, true).holds();
    run(Semaphores { limits: 1, ..semaphores(3, 1, 1) }, 0, false).holds();
}

#[test]
fn without_ticks_nobody_dies() {
    run(semaphores(3, 1, 1), 0, false).holds();
    run(semaphores(3, 2, 1), 0, false).holds();
    run(semaphores(2, 1, 3), 0, false).holds();
    // Those beyond the first 31 permits are not watched.
    run(Semaphores { watched: 1, ..semaphores(3, 2, 1) }, 0, false).holds();
}

#[test]
fn without_ticks_one_waiter_and_one_kill() {
    run(semaphores(2, 1, 2), 1, false).holds();
}

#[test]
fn without_ticks_two_waiters_and_one_kill() {
    run(semaphores(3, 1, 1), 1, false).needs_the_tick_after_kills_at(&[
        // A waiter, after it was woken.
        "acquire: passing the obituary on",
        "acquire: looking for a free permit",
        "acquire: taking a free permit",
        // A holder whom a sleeper does not watch, because it lay down under the one before.
        "inside",
        "release: the exchange",
        "notify: the look",
        "notify: the step",
    ]);
}

#[test]
fn without_ticks_two_permits_and_one_kill() {
    run(semaphores(3, 2, 1), 1, false).holds();
}

#[test]
fn without_ticks_a_permit_that_nobody_watches() {
    // Nobody hears of the death of its holder, but whoever has the other permit wakes somebody who then looks.
    run(Semaphores { watched: 1, ..semaphores(3, 2, 1) }, 1, false).holds();
}

#[test]
fn broken_no_second_look_is_found() {
    run(Semaphores { broken: Broken::NoSecondLook, ..semaphores(2, 1, 1) }, 0, false).gets_stuck();
}

#[test]
fn broken_gathering_the_held_is_found() {
    let twin = Semaphores { broken: Broken::GathersTheHeld, ..semaphores(2, 1, 1) };
    run(twin, 1, false).needs_the_tick_after_a_kill_at("notify: the look");
}

#[test]
fn broken_no_watch_is_found() {
    let twin = Semaphores { broken: Broken::NoWatch, ..semaphores(2, 1, 1) };
    run(twin, 1, false).needs_the_tick_after_a_kill_at("inside");
}

#[test]
fn broken_no_proof_is_found() {
    let twin = Semaphores { broken: Broken::NoProof, ..semaphores(2, 1, 1) };
    run(twin, 0, true).violates("more holders than permits");
}

#[test]
fn broken_plain_store_is_found() {
    let twin = Semaphores { broken: Broken::PlainStore, ..semaphores(2, 1, 1) };
    run(twin, 0, true).violates("more holders than permits");
}

#[test]
fn broken_change_then_wake_is_found() {
    let broken = Broken::Count(event_count::Broken::ChangeThenWake);
    run(Semaphores { broken, ..semaphores(3, 1, 1) }, 1, false)
        .needs_the_tick_after_a_kill_at("notify: the wake");
}

#[test]
fn broken_lowering_silently_is_found() {
    let broken = Broken::Count(event_count::Broken::LowersSilently);
    run(Semaphores { broken, ..semaphores(3, 1, 1) }, 0, false).gets_stuck();
}
