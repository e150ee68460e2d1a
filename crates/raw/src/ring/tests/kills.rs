//! The ring under kills: of who fills, empties, sleeps or follows, at every access, with and without sleepers.
//!
//! Invariant of each scenario: a message is there whole or not at all, is received once, is lost only with the consumer
//! that took it, and nobody sleeps beside something to do, after a tick at most where the README says so.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use super::script::*;
use crate::world::{Director, State, at_every_step, explore};
use crate::{Forever, Side};

/// The victim begins after `start` steps, which others take first; the others are caught after `pause` steps of their
/// own, at every place; the victim goes on for every number of steps, and dies. Says how many runs, and how many of them
/// took a tick.
fn kill_everywhere(make: &dyn Fn() -> Director<Shared>, victim: usize, other: usize, ticks: u32) -> [u32; 2] {
    let [mut runs, mut late] = [0; 2];
    at_every_step(|start| {
        at_every_step(|pause| {
            let mut other_lives = false;
            runs += at_every_step(|more| {
                let mut d = make();
                d.run(victim, start);
                other_lives = d.run(other, pause) == State::Paused;
                let lives = d.run_and_kill(victim, more);
                late += settle(&mut d, ticks);
                lives
            });
            other_lives
        });
        make().run(victim, start) == State::Paused
    });
    [runs, late]
}

#[test]
fn every_schedule_of_a_producer_and_a_consumer_and_a_kill_of_either() {
    for victim in [None, Some(0), Some(1)] {
        let ticks = u32::from(victim.is_some());
        let make = || director(1, &[put_three, take_all]);
        let runs = explore(2, victim, &make, &|d| _ = settle(d, ticks));
        assert!(runs > 500, "{runs}");
    }
}

#[test]
fn a_producer_killed_at_every_step_of_its_own_and_of_a_consumer() {
    // Who lay down between its look at the flag and its commit, and is woken by nobody, needs a tick.
    let [runs, late] = kill_everywhere(&|| director(0, &[put_one, take_one]), 0, 1, 1);
    assert!(runs > 500 && late > 0 && late < runs / 20, "{runs} {late}");
}

#[test]
fn a_consumer_killed_at_every_step_of_its_own_and_of_a_producer() {
    let [runs, late] = kill_everywhere(&|| director(2, &[take_one, put_one]), 0, 1, 1);
    assert!(runs > 500 && late > 0 && late < runs / 20, "{runs} {late}");
}

#[test]
fn who_slept_before_is_woken_in_the_step_of_the_commit() {
    for (messages, victim, sleeper) in [(0, put_one as fn(&W), take_one as fn(&W)), (2, take_one, put_one)] {
        let kills = at_every_step(|step| {
            let mut d = director(messages, &[victim, sleeper]);
            assert_eq!(d.run_on(1), State::Asleep);
            let lives = d.run_and_kill(0, step);
            let is_committed = len(&d) != messages;
            assert_eq!(d.state(1) == State::Paused, is_committed, "at step {step}");
            settle(&mut d, 0);
            lives
        });
        assert!(kills >= 8, "{kills}");
    }
}

#[test]
fn a_sleeper_killed_at_every_step_leaves_the_others_to_a_tick_at_most() {
    for (messages, other, sleeper) in [(0, put_one as fn(&W), take_one as fn(&W)), (2, take_one, put_one)] {
        let mut late = 0;
        let kills = at_every_step(|step| {
            let mut d = director(messages, &[other, sleeper, sleeper]);
            d.run(1, step);
            assert_eq!(d.run_on(2), State::Asleep);
            d.run_on(0);
            let taken = d.steps(1);
            let lives = d.run_and_kill(1, step.saturating_sub(taken));
            late += settle(&mut d, 1);
            lives
        });
        assert!(kills >= 10 && late > 0 && late < kills, "{kills} {late}");
    }
}

#[test]
fn who_follows_the_dead_killed_at_every_step_is_followed() {
    for (messages, body, other) in [(0, put_one as fn(&W), take_all as fn(&W)), (2, take_one, put_three)] {
        let mut kills = 0;
        // The first dies at any step, with another asleep on its lock if it holds it; so does the second.
        let deaths = at_every_step(|first| {
            let mut lives = false;
            kills += at_every_step(|second| {
                let mut d = director(messages, &[body, body, body, other]);
                d.run(0, first);
                d.run_on(1);
                lives = d.run_and_kill(0, 0) && d.steps(0) == first;
                let heir_lives = d.run_and_kill(1, second);
                // Two deaths: an obituary that the second took with it, or a wake.
                settle_twice_dead(&mut d);
                heir_lives
            });
            lives && first < 40
        });
        assert!(deaths >= 7 && kills > 30, "{deaths} {kills}");
    }
}

/// Two messages by one commit.
fn put_two_at_once(w: &W) {
    let me = be(w, Side::Producers);
    let mut turn = w.shared.ring.enter(Side::Producers, w, w, &Forever).unwrap();
    assert_eq!(turn.ready(SLOTS, 2), Ok(2));
    for n in 0..2 {
        let slot = &w.shared.slots[(turn.at().wrapping_add(n) % SLOTS) as usize];
        slot.iter().for_each(|word| word.store(100 * (me + 1) + n, Relaxed));
    }
    turn.commit(2);
    notes(w).sent.extend([0, 1].map(|n| 100 * (me + 1) + n));
}

#[test]
fn copies_under_kills_of_who_makes_and_who_takes_them() {
    let n_copies = Cell::new(0);
    for (victim, body) in [
        (None, [post_three as fn(&W), fetch_all]),
        (Some(0), [post_three, fetch_all]),
        (Some(1), [post_one, fetch_all]),
        (Some(0), [put_one, fetch_all]),
    ] {
        let runs = explore(2, victim, &|| director(0, &body), &|d| {
            settle(d, u32::from(victim.is_some()));
            n_copies.set(n_copies.get() + d.world.shared.copies.load(Relaxed));
        });
        assert!(runs > 100, "{runs}");
    }
    assert!(n_copies.get() > 100);
    kill_everywhere(&|| director(0, &[post_one, fetch_one]), 0, 1, 1);
    kill_everywhere(&|| director(2, &[fetch_one, post_one]), 0, 1, 1);
}

/// One that dies while it makes a copy is followed by one that makes none of the same slot.
#[test]
fn a_copy_of_the_dead_is_not_the_heirs() {
    let kills = at_every_step(|step| {
        let mut d = director(0, &[post_one, put_one, fetch_all]);
        let lives = d.run_and_kill(0, step);
        d.run_on(1);
        settle(&mut d, 1);
        lives
    });
    assert!(kills > 10, "{kills}");
}

#[test]
fn two_slots_at_once_are_for_two_who_sleep() {
    // Those who sleep came before the producer, or at any step of it; it lives, or dies at any later step.
    let steps = at_every_step(|step| {
        let d = || director(0, &[put_two_at_once, take_one, take_one]);
        let mut living = d();
        let lives = living.run(0, step) == State::Paused;
        [1, 2].into_iter().for_each(|n| _ = living.run_on(n));
        settle(&mut living, 0);
        at_every_step(|more| {
            let mut d = d();
            d.run(0, step);
            [1, 2].into_iter().for_each(|n| _ = d.run_on(n));
            let lives = d.run_and_kill(0, more);
            let put = d.world.shared.ring.tail.word.peek().wrapping_add(1);
            assert!(put == 0 || put == 2, "{put} of two");
            settle(&mut d, 1);
            lives
        });
        lives
    });
    assert!(steps > 8, "{steps}");
}

/// As [`settle`], where two consumers may have died.
fn settle_twice_dead(d: &mut Director<Shared>) {
    run_all(d);
    for _ in 0..2 {
        if is_stranded(d) {
            d.tick();
            run_all(d);
        }
    }
    assert!(!is_stranded(d));
    let n = d.spawn(close);
    d.run_on(n);
    assert!(d.finish() <= 1);
    let notes = notes(&d.world);
    assert!(taken(d) as usize - notes.received.len() <= 2);
}

#[test]
fn who_lies_down_while_the_flag_is_lowered_is_not_forgotten() {
    // A producer finds the flag up and nobody asleep; a consumer comes at each of its steps.
    let steps = at_every_step(|step| {
        let mut d = director(0, &[put_three, take_all]);
        d.world.shared.ring.not_empty.poke(1);
        let lives = d.run(0, step) == State::Paused;
        d.run_on(1);
        settle(&mut d, 0);
        lives
    });
    assert!(steps > 10, "{steps}");
}
