//! The semaphore under kills: of those who hold permits and of those who wait, at every access.
//!
//! Invariant of each scenario: every permit is free or known to be a dead one's at the end, who holds one keeps it, and those who survive get one, after a tick at most.

use super::*;
use crate::Forever;
use crate::world::{Director, State, World, at_every_step, explore};

struct Shared {
    queue: EventCount,
    permits: Vec<Permit>,
}

type W = World<Shared>;

fn shared(permits: usize) -> Shared {
    let permits = (0..permits).map(|_| Permit::new()).collect();
    Shared { queue: EventCount::new(), permits }
}

fn semaphore(w: &W) -> Semaphore<'_> {
    Semaphore::new(&w.shared.queue, &w.shared.permits)
}

fn pass(w: &W) {
    let acquired = semaphore(w).acquire(w, w, &Forever).unwrap();
    let word = &w.shared.permits[acquired.permit].word;
    assert_eq!(word.load(Ordering::Relaxed), OWNED | acquired.me.to_bits());
    semaphore(w).release(w, acquired.permit, acquired.me).unwrap();
}

fn settle(d: &Director<Shared>, ticks: u32) {
    let took = d.finish();
    assert!(took <= ticks, "took {took} ticks");
    let w = &d.world;
    assert_eq!(semaphore(w).available(&**w), w.shared.permits.len());
}

#[test]
fn every_schedule_of_two_for_one_permit() {
    for victim in [None, Some(0), Some(1)] {
        let make = || Director::with(shared(1), &[pass, pass]);
        let runs = explore(3, victim, &make, &|d| settle(d, 0));
        assert!(runs > 150, "{runs}");
    }
}

#[test]
fn every_schedule_of_three_for_two_permits() {
    for victim in [None, Some(0), Some(2)] {
        let make = || Director::with(shared(2), &[pass, pass, pass]);
        let ticks = u32::from(victim.is_some());
        let runs = explore(2, victim, &make, &|d| settle(d, ticks));
        assert!(runs > 150, "{runs}");
    }
}

#[test]
fn a_holder_killed_at_every_step_leaves_its_permit_to_a_sleeper_at_once() {
    let kills = at_every_step(|step| {
        let d = Director::with(shared(1), &[pass, pass, pass]);
        d.run(0, 3);
        assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
        let lives = d.run_and_kill(0, step);
        settle(&d, 0);
        lives
    });
    assert!(kills >= 3, "{kills}");
}

#[test]
fn a_sleeper_killed_at_every_step_costs_the_others_a_tick_at_most() {
    let kills = at_every_step(|step| {
        let d = Director::with(shared(1), &[pass, pass, pass]);
        d.run(0, 3);
        d.run(1, step);
        d.run_on(2);
        d.run_on(0);
        let lives = d.run_and_kill(1, step - d.steps(1).min(step));
        settle(&d, 1);
        lives
    });
    assert!(kills >= 8, "{kills}");
}

#[test]
fn a_dead_holder_is_named_once() {
    let mut d = Director::with(
        shared(2),
        &[|w: &W| {
            for _ in 0..2 {
                let _ = semaphore(w).acquire(w, w, &Forever).unwrap();
            }
        }],
    );
    assert_eq!(d.run_on(0), State::Done);
    d.kill(0);
    let dead = Some(d.id(0));
    let n = d.spawn(move |w| {
        let semaphore = semaphore(w);
        assert_eq!((semaphore.available(w), semaphore.held_by(w.me().unwrap())), (2, None));
        let acquired = semaphore.acquire(w, w, &Forever).unwrap();
        assert_eq!((acquired.left_by, semaphore.available(w)), (dead, 1));
        assert_eq!(semaphore.held_by(acquired.me), Some(acquired.permit));
        semaphore.release(w, acquired.permit, acquired.me).unwrap();
        let again = semaphore.acquire(w, w, &Forever).unwrap();
        assert_eq!((again.permit, again.left_by), (acquired.permit, None));
        for permit in [1 - again.permit, 2] {
            assert_eq!(semaphore.release(w, permit, again.me), Err(NotHeld));
        }
    });
    assert_eq!(d.run_on(n), State::Done);
}

#[test]
fn one_look_takes_what_is_there_and_leaves_no_trace() {
    struct Now;
    impl Limit for Now {
        fn left(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }
    let mut d = Director::new(shared(1));
    let n = d.spawn(|w| {
        assert!(semaphore(w).acquire(w, w, &Now).is_ok());
        assert_eq!(semaphore(w).acquire(w, w, &Now), Err(AcquireError::TimedOut));
        assert_eq!(w.shared.queue.word().peek(), 0);
    });
    assert_eq!(d.run_on(n), State::Done);
}

/// Takes a permit and ends without giving it back.
fn keep(w: &W) {
    let _ = semaphore(w).acquire(w, w, &Forever).unwrap();
}

/// The thread holds all permits.
fn hold_all(d: &Director<Shared>, holder: usize) {
    d.world.shared.permits.iter().for_each(|permit| permit.word.poke(OWNED | d.id(holder).to_bits()));
}

#[test]
fn two_permits_of_one_dead_go_to_two_sleepers_at_once() {
    let d = Director::with(shared(2), &[|_| (), keep, keep]);
    hold_all(&d, 0);
    assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
    // The kernel wakes one, who has no reason to give anything back.
    d.kill(0);
    assert_eq!(d.finish(), 0);
}

#[test]
fn a_permit_beyond_those_that_are_watched_is_given_back_at_any_step_of_a_taker() {
    let last = WATCHED + 1;
    let steps = at_every_step(|step| {
        let mut d = Director::with(shared(last + 1), &[|_| (), keep]);
        hold_all(&d, 0);
        let lives = d.run(1, step) == State::Paused;
        let holder = d.id(0);
        let n = d.spawn(move |w| semaphore(w).release(w, last, holder).unwrap());
        d.run_on(n);
        assert_eq!(d.finish(), 0, "at step {step}");
        lives
    });
    assert!(steps > 2 * last as u32, "{steps}");
}
