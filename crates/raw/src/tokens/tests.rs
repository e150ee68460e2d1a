//! The tokens under kills: of those who give and of those who wait, at every access.
//!
//! Invariant of each scenario: no token is lost but with its taker, and who waits gets one that is there, after a tick
//! at most.

use super::*;
use crate::Forever;
use crate::world::{Director, State, World, at_every_step, explore};

type W = World<Tokens>;

fn take(w: &W) {
    assert!(w.shared.acquire(w, &Forever));
}

fn give(w: &W) {
    w.shared.release(w, 1).unwrap();
}

fn give_two(w: &W) {
    w.shared.release(w, 2).unwrap();
}

fn give_two_singly(w: &W) {
    give(w);
    give(w);
}

fn director(threads: &[fn(&W)]) -> Director<Tokens> {
    Director::with(Tokens::default(), threads)
}

#[test]
fn every_schedule_of_two_who_take_and_one_who_gives() {
    for gives in [give_two, give_two_singly] {
        let make = || director(&[take, take, gives]);
        let runs = explore(4, None, &make, &|d| assert_eq!((d.finish(), d.world.shared.count()), (0, 0)));
        assert!(runs > 300, "{runs}");
    }
}

#[test]
fn every_schedule_and_a_kill_of_one_who_takes() {
    let make = || director(&[take, take, give_two_singly]);
    let runs = explore(3, Some(0), &make, &|d| assert!(d.finish() <= 1 && d.world.shared.count() <= 1));
    assert!(runs > 100, "{runs}");
}

#[test]
fn who_gives_is_killed_at_every_step_and_has_given_all_and_woken_or_nothing() {
    let kills = at_every_step(|step| {
        let d = director(&[give_two, take, take]);
        assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
        let lives = d.run_and_kill(0, step);
        let end = if d.world.shared.count() == 2 { State::Paused } else { State::Asleep };
        assert_eq!([1, 2].map(|n| d.state(n)), [end; 2]);
        lives
    });
    assert_eq!(kills, 2);
}

#[test]
fn a_bound_holds_and_the_flag_is_lowered_when_nobody_sleeps() {
    let mut d = director(&[]);
    let n = d.spawn(|w| {
        let tokens = &w.shared;
        assert_eq!((tokens.release_up_to(w, 1), tokens.release_up_to(w, 1)), (Ok(()), Err(TooMany)));
        assert!(tokens.acquire(w, &Forever));
        for release in [|w: &W| w.shared.release(w, 1), |w: &W| w.shared.release_up_to(w, 1)] {
            // Somebody was going to sleep, and went away.
            tokens.word.poke(SLEEPERS);
            release(w).unwrap();
            assert_eq!(tokens.word.peek(), TOKEN);
            take(w);
        }
        tokens.word.poke(Tokens::MAX * TOKEN);
        assert_eq!((tokens.release(w, 1), tokens.release(w, 0)), (Err(TooMany), Ok(())));
        assert_eq!(Tokens::new(3).count(), 3);
    });
    assert_eq!(d.run_on(n), State::Done);
}

#[test]
fn a_bounded_release_wakes_too() {
    let mut d = director(&[take]);
    assert_eq!(d.run_on(0), State::Asleep);
    let n = d.spawn(|w| w.shared.release_up_to(w, 1).unwrap());
    d.run_on(n);
    assert_eq!(d.finish(), 0);
}
