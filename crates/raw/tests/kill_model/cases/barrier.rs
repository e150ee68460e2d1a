//! How the barrier is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn barriers(parties: usize, rounds: u8) -> Barriers {
    Barriers { parties, free: 0, guests: 0, rounds, limits: 0, abort: false, twin: Twin::Nothing }
}

fn run(barriers: Barriers, kills: u8, ticks: bool) -> Report {
    search(&barriers, Bounds { kills, ticks })
}

#[test]
fn three_parties_one_kill() {
    run(barriers(3, 2), 1, true).holds();
    run(Barriers { limits: 1, ..barriers(3, 1) }, 1, true).holds();
}

#[test]
fn more_parties_and_more_kills_if_long() {
    if is_long() {
        run(barriers(3, 3), 2, true).holds();
        run(barriers(4, 1), 1, true).holds();
    }
}

#[test]
fn two_parties_two_kills() {
    run(barriers(2, 3), 2, true).holds();
}

#[test]
fn one_of_two_gives_up_and_another_aborts() {
    run(Barriers { limits: 1, ..barriers(2, 2) }, 1, true).holds();
    run(Barriers { abort: true, ..barriers(2, 2) }, 1, true).holds();
}

#[test]
fn without_ticks_nobody_dies() {
    run(barriers(3, 1), 0, false).holds();
    run(barriers(2, 3), 0, false).holds();
    run(Barriers { limits: 1, ..barriers(2, 2) }, 0, false).holds();
    run(Barriers { abort: true, ..barriers(2, 1) }, 0, false).holds();
}

#[test]
fn without_ticks_two_kills() {
    run(barriers(2, 3), 2, false).holds();
    run(barriers(3, 1), 2, false).holds();
}

#[test]
fn without_ticks_the_aborter_is_killed() {
    run(Barriers { abort: true, ..barriers(2, 1) }, 1, false)
        .needs_the_tick_after_kills_at(&["notify all: the look", "notify all: the step"]);
}

const fn with_guests(parties: usize, free: usize, guests: usize) -> Barriers {
    Barriers { free, guests, ..barriers(parties, 1) }
}

#[test]
fn guests_one_kill() {
    run(with_guests(1, 1, 1), 1, true).holds();
    run(with_guests(1, 1, 2), 1, true).holds();
    run(with_guests(1, 2, 2), 1, true).holds();
    run(with_guests(2, 1, 1), 1, true).holds();
    run(Barriers { rounds: 2, ..with_guests(1, 1, 1) }, 1, true).holds();
}

#[test]
fn without_ticks_guests_and_nobody_dies() {
    run(with_guests(1, 1, 2), 0, false).holds();
    run(with_guests(1, 2, 2), 0, false).holds();
    run(with_guests(2, 1, 1), 0, false).holds();
    run(Barriers { rounds: 2, ..with_guests(1, 1, 1) }, 0, false).holds();
}

#[test]
fn without_ticks_a_guest_is_killed() {
    // The guest, last to arrive, until it woke the others: nobody watches it.
    run(with_guests(2, 1, 1), 1, false).needs_the_tick_after_kills_at(&[
        "wait: recording the count",
        "wait: watching a party",
        "wait: looking at the state",
        "wait: looking whether all have arrived",
        "the exchange of the state",
        "notify all: the look",
        "notify all: the step",
    ]);
}

#[test]
fn broken_guest_that_stores_is_found() {
    run(Barriers { twin: Twin::GuestStores, ..with_guests(1, 1, 2) }, 0, true)
        .violates("more met than there are places");
}

fn twin(twin: Twin, parties: usize) -> Barriers {
    Barriers { twin, ..barriers(parties, 1) }
}

#[test]
fn broken_only_the_last_ends_is_found() {
    // No tick helps: the last one has arrived, and is not missing.
    run(twin(Twin::OnlyTheLastEnds, 2), 1, true).gets_stuck();
}

#[test]
fn broken_looking_before_watching_is_found() {
    run(twin(Twin::LooksThenWatches, 2), 1, false).needs_the_tick_after_a_kill_at("wait: arriving");
}

#[test]
fn broken_looking_before_enrolling_is_found() {
    run(twin(Twin::LooksThenEnrolls, 2), 0, false).gets_stuck();
}

#[test]
fn broken_arrival_before_death_is_found() {
    run(twin(Twin::ArrivalBeforeDeath, 2), 1, true).violates("broken though everybody who died had arrived");
}

#[test]
fn broken_plain_store_is_found() {
    let twin = Barriers { limits: 1, ..twin(Twin::PlainStore, 2) };
    run(twin, 0, true).violates("some met and some did not");
}

#[test]
fn broken_no_watch_is_found() {
    run(twin(Twin::NoWatch, 2), 1, false).needs_the_tick_after_a_kill_at("wait: arriving");
}

#[test]
fn broken_no_pass_on_is_found() {
    run(twin(Twin::NoPassOn, 3), 1, false).needs_the_tick_after_a_kill_at("notify all: the look");
}

#[test]
fn broken_no_look_is_found() {
    run(twin(Twin::NoLook, 2), 0, true).violates("a meeting without all parties");
}

#[test]
fn broken_lowering_silently_is_found() {
    run(twin(Twin::Count(event_count::Broken::LowersSilently), 2), 0, false).gets_stuck();
}
