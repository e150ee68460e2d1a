//! A ring that is closed at every step of the others, and by somebody who dies.
//!
//! Invariant of each scenario: closed is closed for all, in one step; who is told that all is over has missed nothing.

use super::script::*;
use crate::world::{State, at_every_step};

#[test]
fn close_killed_at_every_step_has_woken_all_or_done_nothing() {
    for (messages, sleeper) in [(0, take_all as fn(&W)), (2, put_one)] {
        let kills = at_every_step(|step| {
            let mut d = director(messages, &[close, sleeper, sleeper]);
            assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
            let lives = d.run_and_kill(0, step);
            let end = if d.world.shared.ring.closed.peek() == 0 { State::Asleep } else { State::Paused };
            assert_eq!([1, 2].map(|n| d.state(n)), [end; 2]);
            settle(&mut d, 0);
            lives
        });
        assert_eq!(kills, 1);
    }
}

#[test]
fn a_ring_closed_at_every_step_of_a_producer_is_over_only_after_it() {
    // The producer is caught at every step, the ring is closed, and the consumer at every step of its own; then the
    // producer lives on or dies.
    for dies in [false, true] {
        let mut waited = 0;
        let steps = at_every_step(|step| {
            let mut producer_lives = false;
            at_every_step(|pause| {
                let mut d = director(0, &[put_three, take_all, close]);
                producer_lives = d.run(0, step) == State::Paused;
                d.run_on(2);
                let consumer_lives = d.run(1, pause) == State::Paused;
                waited += u32::from(d.state(1) == State::Asleep);
                if dies {
                    d.kill(0);
                } else {
                    d.run_on(0);
                }
                d.run_on(1);
                settle(&mut d, 0);
                assert!(notes(&d.world).is_over);
                consumer_lives
            });
            producer_lives
        });
        assert!(steps > 15 && waited > 0, "{steps} {waited}");
    }
}

#[test]
fn a_consumer_killed_while_it_asks_whether_all_is_over_keeps_nobody() {
    let kills = at_every_step(|step| {
        let mut d = director(0, &[take_all, put_one, take_all]);
        d.run(1, 3);
        let n = d.spawn(close);
        d.run_on(n);
        let lives = d.run_and_kill(0, step);
        settle(&mut d, 1);
        lives
    });
    assert!(kills > 5, "{kills}");
}
