//! The condition variable under kills: of those who wait, of those who notify, at every access.
//!
//! Invariant of each scenario: nobody sleeps through a change that happened after it looked; what a dead waiter took
//! with it costs the others a tick.

use super::*;
use crate::atomic::{AtomicU32, Ordering};
use crate::event_count::EVENT;
use crate::world::{Director, State, World, at_every_step, explore};
use crate::{Forever, Protected};

/// Items under a lock.
#[derive(Default)]
struct Shared {
    lock: Lock,
    changed: Condvar,
    obituary: Obituary,
    items: AtomicU32,
}

type W = World<Shared>;

/// Whoever follows a dead holder finds the items as they are, which is never half done.
fn mend(w: &W, held: Held) -> Id {
    if held.state != Protected::Consistent {
        w.shared.lock.mark_consistent(held.me).unwrap();
    }
    held.me
}

fn enter(w: &W) -> Id {
    mend(w, w.shared.lock.lock(w, w, &Forever).unwrap())
}

fn take(w: &W) {
    let Shared { lock, changed, obituary, items } = &w.shared;
    let mut me = enter(w);
    while items.load(Ordering::Relaxed) == 0 {
        let (signal, held) = changed.wait((lock, me), obituary, w, w, &Forever).unwrap();
        assert_ne!(signal, Signal::TimedOut);
        me = mend(w, held);
    }
    items.poke(items.peek() - 1);
    lock.unlock(w, me).unwrap();
}

fn put(w: &W) {
    let me = enter(w);
    w.shared.items.fetch_add(1, Ordering::Relaxed);
    w.shared.lock.unlock(w, me).unwrap();
    w.shared.changed.notify_one(w);
}

fn put_two(w: &W) {
    let me = enter(w);
    w.shared.items.fetch_add(2, Ordering::Relaxed);
    w.shared.changed.notify_all(w);
    w.shared.lock.unlock(w, me).unwrap();
}

fn put_two_singly(w: &W) {
    put(w);
    put(w);
}

#[test]
fn every_schedule_of_two_takers_without_a_kill() {
    // Notifying one by one has the subtler races.
    for (puts, turns) in [(put_two as fn(&W), 2), (put_two_singly, 3)] {
        let make = || Director::with(Shared::default(), &[take, take, puts]);
        let runs =
            explore(turns, None, &make, &|d| assert_eq!((d.finish(), d.world.shared.items.peek()), (0, 0)));
        assert!(runs > 100, "{runs}");
    }
}

#[test]
fn every_schedule_and_a_kill_of_who_puts() {
    let make = || Director::with(Shared::default(), &[take, take, put_two]);
    let runs = explore(2, Some(2), &make, &|d| {
        let obituary = d.spawn(|w| w.shared.obituary.ring(w));
        d.run_on(obituary);
        if d.world.shared.items.peek() == 0 && d.state(0) != State::Done {
            // It died before its change; else the obituary alone lets everybody see it.
            d.spawn(put_two);
        }
        assert!(d.finish() <= 1);
    });
    assert!(runs > 100, "{runs}");
}

#[test]
fn a_notification_for_a_waiter_killed_at_every_step_reaches_another() {
    let mut eaten = 0;
    let kills = at_every_step(|step| {
        let d = Director::with(Shared::default(), &[take, take, put]);
        assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
        d.run_on(2);
        let lives = d.run_and_kill(0, step);
        let left = d.world.shared.items.peek();
        if left > 0 && d.state(1) == State::Asleep {
            d.tick();
            eaten += 1;
        }
        d.run_on(1);
        assert_eq!(d.state(1) == State::Done, left > 0);
        lives
    });
    assert_eq!((kills, eaten), (4, 3), "four accesses after the wake, and the first three eat it");
}

#[test]
fn who_was_going_to_notify_died_and_the_obituary_says_so() {
    let mut d = Director::with(
        Shared::default(),
        &[|w: &W| {
            let me = enter(w);
            let (signal, held) =
                w.shared.changed.wait((&w.shared.lock, me), &w.shared.obituary, w, w, &Forever).unwrap();
            assert_eq!((signal, held.state), (Signal::Obituary, Protected::Consistent));
        }],
    );
    assert_eq!(d.run_on(0), State::Asleep);
    d.tick();
    assert_eq!(d.run_on(0), State::Asleep, "a tick in which nothing happened is nobody's business");
    let ring = d.spawn(|w| w.shared.obituary.ring(w));
    d.run_on(ring);
    assert_eq!(d.run_on(0), State::Done);
}

#[test]
fn without_sleepers_a_notification_is_one_look() {
    let mut d = Director::new(Shared::default());
    let n = d.spawn(|w| {
        w.shared.changed.notify_one(w);
        w.shared.changed.notify_all(w);
        assert_eq!(w.shared.changed.notifications.word().peek(), 0);
        // Somebody was going to sleep, and went away.
        let _ = w.shared.changed.enroll(&w.shared.obituary);
        w.shared.changed.notify_one(w);
        assert_eq!(w.shared.changed.notifications.word().peek(), 2 * EVENT);
        let _ = w.shared.changed.enroll(&w.shared.obituary);
        w.shared.changed.notify_all(w);
        assert_eq!(w.shared.changed.notifications.word().peek(), 3 * EVENT);
    });
    assert_eq!(d.run_on(n), State::Done);
}

#[test]
fn the_limit_ends_the_wait_and_the_lock_is_held() {
    struct Now;
    impl Limit for Now {
        fn left(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }
    let mut d = Director::new(Shared::default());
    let n = d.spawn(|w| {
        let me = enter(w);
        let (signal, held) =
            w.shared.changed.wait((&w.shared.lock, me), &w.shared.obituary, w, w, &Now).unwrap();
        assert_eq!((signal, w.shared.lock.holder()), (Signal::TimedOut, Some(held.me)));
    });
    assert_eq!(d.run_on(n), State::Done);
}

/// Another process can store anything into the lock: here, that it is free, or its own.
#[test]
fn a_lock_that_somebody_took_away_is_an_error_and_nobody_sleeps() {
    for takes_it in [false, true] {
        let stolen = (1..).take_while(|&steps| is_stolen(steps, takes_it)).count();
        assert!(stolen > 1, "{stolen}: from when it is taken until it is given back");
    }
}

/// Takes the lock from a thread that waits, after so many steps; false if that had given it back by then.
fn is_stolen(steps: u32, takes_it: bool) -> bool {
    let mut d = Director::new(Shared::default());
    let waiter = d.spawn(|w| {
        let Shared { lock, changed, obituary, items } = &w.shared;
        let me = enter(w);
        items.poke(match changed.wait((lock, me), obituary, w, w, &Forever) {
            Err(LockError::NotHeld) => 1,
            other => panic!("{other:?}"),
        });
    });
    d.run(waiter, steps);
    let victim = d.id(waiter);
    let thief = d.spawn(move |w| {
        let Shared { lock, items, .. } = &w.shared;
        if lock.unlock(w, victim).is_err() {
            items.poke(2);
        } else if takes_it {
            let _ = lock.lock(w, w, &Forever).unwrap();
        }
    });
    assert_eq!(d.run_on(thief), State::Done);
    if d.world.shared.items.peek() == 2 {
        return false;
    }
    assert_eq!((d.run_on(waiter), d.world.shared.items.peek()), (State::Done, 1));
    true
}

#[test]
fn who_waits_without_the_lock_is_told_so() {
    let mut d = Director::new(Shared::default());
    let n = d.spawn(|w| {
        let Shared { lock, changed, obituary, .. } = &w.shared;
        let me = enter(w);
        lock.unlock(w, me).unwrap();
        let answer = changed.wait((lock, me), obituary, w, w, &Forever);
        assert_eq!(answer, Err(LockError::NotHeld));
        assert!(LockError::NotHeld.to_string().contains("does not hold it"));
    });
    assert_eq!(d.run_on(n), State::Done);
}
