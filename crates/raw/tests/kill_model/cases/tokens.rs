//! How the tokens is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn givers(takers: usize, givers: usize, rounds: u8) -> Givers {
    Givers { takers, givers, rounds, up_to: false, broken: Broken::Nothing }
}

fn run(givers: Givers, kills: u8, ticks: bool) -> Report {
    search(&givers, Bounds { kills, ticks })
}

#[test]
fn takers_and_givers_two_kills() {
    let (takers, n) = if is_long() { (2, 2) } else { (2, 1) };
    for up_to in [false, true] {
        run(Givers { up_to, ..givers(takers, n, 2) }, 2, true).holds();
    }
}

#[test]
fn without_ticks_nobody_dies() {
    for up_to in [false, true] {
        run(Givers { up_to, ..givers(2, 2, if is_long() { 2 } else { 1 }) }, 0, false).holds();
        run(Givers { up_to, ..givers(3, 1, 2) }, 0, false).holds();
        run(Givers { up_to, ..givers(1, 2, 2) }, 0, false).holds();
    }
}

#[test]
fn without_ticks_one_taker_and_one_kill() {
    // A taker that comes before the flag is lowered and sleeps after it is not seen by the givers that follow.
    run(givers(1, 2, 2), 1, false).needs_the_tick_after_kills_at(&["lowering: the wake"]);
    // One giver, because the next release of another would find the flag still up.
    let up_to = Givers { up_to: true, ..givers(1, 1, 2) };
    run(up_to, 1, false).needs_the_tick_after_kills_at(&["release: the wake"]);
}

#[test]
fn without_ticks_two_takers_and_one_kill() {
    run(givers(2, 1, 1), 1, false)
        .needs_the_tick_after_kills_at(&["acquire: the look", "acquire: the exchange"]);
}

#[test]
fn broken_no_announcement_is_found() {
    run(Givers { broken: Broken::NoAnnouncement, ..givers(1, 1, 1) }, 0, false).gets_stuck();
}

#[test]
fn broken_lowering_silently_is_found() {
    run(Givers { broken: Broken::LowersSilently, ..givers(2, 1, 2) }, 0, false).gets_stuck();
}

#[test]
fn broken_plain_store_is_found() {
    run(Givers { broken: Broken::PlainStore, ..givers(2, 1, 2) }, 0, true)
        .violates("tokens are not those that were given and not taken");
}
