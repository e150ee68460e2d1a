//! What is done once under kills: of who runs it, of who waits, and of who follows the dead.
//!
//! Invariant of each scenario: it is done once, by one thread at a time, after the last death; all who waited go on
//! without a tick.

use core::time::Duration;

use super::*;
use crate::world::{Director, State, World, at_every_step, explore};
use crate::{Forever, Lock};

/// What is done is to make both equal 1.
#[derive(Default)]
struct Shared {
    once: Once,
    other: Lock,
    begun: AtomicU32,
    ended: AtomicU32,
}

type W = World<Shared>;

/// Takes away what a dead runner left; else there is nothing.
fn clear(w: &W, state: Protected) {
    let Shared { begun, ended, .. } = &w.shared;
    if let Protected::OwnerDied(_) = state {
        begun.poke(0);
        ended.poke(0);
    }
    assert_eq!((begun.peek(), ended.peek()), (0, 0), "two run it");
}

fn finish(w: &W) {
    let Shared { once, begun, ended, .. } = &w.shared;
    if let Begin::Run(Held { me, state }) = once.begin(w, w, &Forever).unwrap() {
        clear(w, state);
        begun.store(1, Ordering::Relaxed);
        ended.store(1, Ordering::Relaxed);
        once.finish(w, me).unwrap();
        assert_eq!([once.finish(w, me), once.give_up(w, me)], [Err(NotHeld); 2]);
    }
    assert_eq!((begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed)), (1, 1), "not done");
}

/// Begins and gives up, if it is to run it.
fn fail(w: &W) {
    let Shared { once, begun, .. } = &w.shared;
    if let Begin::Run(Held { me, state }) = once.begin(w, w, &Forever).unwrap() {
        clear(w, state);
        begun.store(1, Ordering::Relaxed);
        begun.store(0, Ordering::Relaxed);
        once.give_up(w, me).unwrap();
    }
}

fn director(threads: &[fn(&W)]) -> Director<Shared> {
    Director::with(Shared::default(), threads)
}

/// Everybody ends within `ticks`, and it can be done, and is then.
fn settle(d: &mut Director<Shared>, ticks: u32) {
    let took = d.finish();
    assert!(took <= ticks, "took {took} ticks");
    let next = d.spawn(finish);
    assert_eq!(d.run_on(next), State::Done);
    assert!(d.world.shared.once.is_done());
    assert_eq!(d.world.shared.once.word.peek(), DONE);
}

#[test]
fn every_schedule_of_two_and_of_three_and_a_kill_of_either() {
    let all: [fn(&W); 3] = [finish; 3];
    let one_fails = [fail, finish, finish];
    for (turns, threads) in [(3, &all[..2]), (2, &all), (2, &one_fails)] {
        let run = |victim| explore(turns, victim, &|| director(threads), &|d| settle(d, 0));
        let runs = [None, Some(0), Some(1)].map(run);
        assert!(runs.iter().all(|&n| n > 200), "{runs:?}");
    }
}

#[test]
fn who_runs_it_killed_at_every_step_with_others_asleep() {
    for runs in [finish, fail] {
        let kills = at_every_step(|start| {
            at_every_step(|more| {
                let mut d = director(&[runs, finish, finish]);
                d.run(0, start);
                [1, 2].iter().for_each(|&n| _ = d.run_on(n));
                let lives = d.run_and_kill(0, more);
                settle(&mut d, 0);
                lives
            });
            director(&[runs]).run(0, start) != State::Done
        });
        assert!(kills >= 5, "{kills}");
    }
}

#[test]
fn an_heir_killed_at_every_step_has_an_heir() {
    let kills = at_every_step(|step| {
        let mut d = director(&[finish, finish, finish]);
        d.run(0, 4);
        assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
        d.kill(0);
        let lives = d.run_and_kill(1, step);
        // An heir has passed the obituary on before it runs it.
        let ticks = u32::from(d.state(2) == State::Asleep && d.world.shared.once.runner() == Some(d.id(0)));
        settle(&mut d, ticks);
        lives
    });
    assert!(kills > 5, "{kills}");
}

#[test]
fn an_heir_that_did_not_sleep_wakes_those_whom_nobody_told() {
    let mut d = director(&[finish, finish, finish]);
    d.run(0, 4);
    assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
    // The second was to tell the third.
    d.kill(0);
    d.kill(1);
    let heir = d.spawn(finish);
    assert_eq!((d.run_on(heir), d.state(2)), (State::Done, State::Paused));
    settle(&mut d, 0);
}

#[test]
fn who_was_woken_by_a_death_tells_those_who_wait_for_something_else() {
    let mut d = director(&[|w: &W| {
        let Shared { once, other, .. } = &w.shared;
        let Ok(Begin::Run(held)) = once.begin(w, w, &Forever) else { panic!("it is ours") };
        assert_eq!(other.lock(w, w, &Forever), Ok(held));
        // Until it dies.
        assert!(other.lock(w, w, &Forever).is_err());
    }]);
    while d.world.shared.other.holder().is_none() {
        d.run(0, 1);
    }
    // The kernel wakes the first.
    let first = d.spawn(finish);
    let second = d.spawn(|w: &W| {
        assert_ne!(w.shared.other.lock(w, w, &Forever).unwrap().state, Protected::Consistent);
    });
    assert_eq!([first, second].map(|n| d.run_on(n)), [State::Asleep; 2]);
    d.kill(0);
    assert_eq!([first, second].map(|n| d.state(n)), [State::Paused, State::Asleep]);
    settle(&mut d, 0);
}

struct Now;

impl Limit for Now {
    fn left(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

#[test]
fn one_try_says_who_runs_it_and_follows_the_dead() {
    let mut d = director(&[finish]);
    d.run(0, 4);
    let (runner, before) = (d.id(0), d.world.shared.once.word.peek());
    assert_eq!(d.world.shared.once.runner(), Some(runner));
    let n = d.spawn(move |w: &W| {
        assert_eq!(w.shared.once.begin(w, w, &Now), Err(LockError::TimedOut(runner)));
    });
    assert_eq!(
        (d.run_on(n), d.world.shared.once.word.peek()),
        (State::Done, before),
        "a try leaves no trace"
    );
    d.kill(0);
    let n = d.spawn(move |w: &W| {
        let once = &w.shared.once;
        let me = w.me().unwrap();
        let state = Protected::OwnerDied(runner);
        assert_eq!(once.begin(w, w, &Now), Ok(Begin::Run(Held { me, state })));
        assert_eq!(once.begin(w, w, &Forever), Err(LockError::Deadlock));
        assert_eq!([once.finish(w, runner), once.give_up(w, runner)], [Err(NotHeld); 2]);
        once.give_up(w, me).unwrap();
        let state = Protected::Consistent;
        assert_eq!(once.begin(w, w, &Now), Ok(Begin::Run(Held { me, state })));
        w.shared.begun.poke(0);
        once.give_up(w, me).unwrap();
    });
    d.run_on(n);
    settle(&mut d, 0);
}

#[test]
fn a_thread_without_a_place_is_told_and_may_find_it_done() {
    let mut d = director(&[]);
    for _ in 0..8 {
        d.spawn(|_| ());
    }
    let n = d.spawn(|w| {
        assert_eq!(w.shared.once.begin(w, w, &Forever), Err(LockError::NoSlot));
        w.shared.once.word.poke(DONE);
        assert_eq!(w.shared.once.begin(w, w, &Forever), Ok(Begin::Done));
    });
    d.run_on(n);
}
