//! The lock under kills: at every access of a holder, of a waiter and of an heir, and between any two of them.
//!
//! Invariant of each scenario: who survives gets the lock, alone, learns of a death that left something half done, and
//! waits for a tick only where the README says so.

use core::time::Duration;

use super::*;
use crate::world::{Director, State, World, at_every_step, explore};

/// A lock and data that a half done change leaves unequal.
#[derive(Default)]
struct Shared {
    lock: Lock,
    left: AtomicU32,
    right: AtomicU32,
    deaths: AtomicU32,
}

type W = World<Shared>;

fn enter(w: &W) -> Held {
    w.shared.lock.lock(w, w, &crate::Forever).unwrap()
}

/// One change under the lock; it can be torn only where a death was announced, and is mended then.
fn change(w: &W) {
    let Held { me, state } = enter(w);
    let Shared { lock, left, right, deaths } = &w.shared;
    match state {
        Protected::Consistent => assert_eq!(left.peek(), right.peek(), "torn, and nobody said so"),
        Protected::OwnerDied(_) | Protected::Poisoned => {
            deaths.poke(deaths.peek() + 1);
            right.store(left.peek(), Ordering::Relaxed);
            lock.mark_consistent(me).unwrap();
        }
    }
    left.fetch_add(1, Ordering::Relaxed);
    right.fetch_add(1, Ordering::Relaxed);
    lock.unlock(w, me).unwrap();
}

fn director(threads: usize) -> Director<Shared> {
    let mut d = Director::new(Shared::default());
    for _ in 0..threads {
        d.spawn(change);
    }
    d
}

/// Everybody ends within `ticks`, and the lock is free and the data whole.
fn settle(d: &mut Director<Shared>, ticks: u32) {
    let took = d.finish();
    assert!(took <= ticks, "took {took} ticks");
    let next = d.spawn(change);
    d.run_on(next);
    let Shared { lock, left, right, .. } = &d.world.shared;
    assert_eq!((lock.word.peek() & !WAITERS, left.peek()), (0, right.peek()));
}

#[test]
fn every_schedule_of_two_threads_and_a_kill_of_either() {
    let run = |victim| explore(5, victim, &|| director(2), &|d| settle(d, 0));
    let runs = [None, Some(0), Some(1)].map(run);
    assert!(runs.iter().all(|&n| n > 500), "{runs:?}");
}

#[test]
fn every_schedule_of_three_threads_and_a_kill_of_either() {
    let run = |victim: Option<usize>| {
        // A tick only if a thread was killed that a wake was meant for.
        let ticks = u32::from(victim.is_some());
        explore(3, victim, &|| director(3), &|d| settle(d, ticks))
    };
    let runs = [None, Some(1)].map(run);
    assert!(runs.iter().all(|&n| n > 500), "{runs:?}");
}

#[test]
fn a_holder_killed_at_every_step_without_and_with_a_waiter() {
    let mut kills = 0;
    // The survivor starts after `start` steps of the victim and is caught after `pause` steps of its own.
    let starts = at_every_step(|start| {
        at_every_step(|pause| {
            let mut survivor_lives = false;
            kills += at_every_step(|more| {
                let mut d = director(2);
                d.run(0, start);
                survivor_lives = d.run(1, pause) == State::Paused;
                let lives = d.run_and_kill(0, more);
                settle(&mut d, 0);
                lives
            });
            survivor_lives
        });
        let d = director(1);
        d.run(0, start) != State::Done
    });
    assert_eq!(starts, 4);
    assert!(kills > 50, "{kills}");
}

#[test]
fn a_waiter_killed_at_every_step_leaves_the_others_to_a_tick_at_most() {
    let kills = at_every_step(|step| {
        let mut d = director(3);
        d.run(0, 2);
        d.run(1, step);
        d.run_on(2);
        d.run_on(0);
        // What is left of its steps, after the holder has woken it.
        let taken = d.steps(1);
        let lives = d.run_and_kill(1, step - taken);
        settle(&mut d, 1);
        lives
    });
    assert!(kills >= 12, "{kills}");
}

#[test]
fn an_heir_killed_at_every_step_has_an_heir() {
    let kills = at_every_step(|step| {
        let mut d = director(3);
        d.run(0, 2);
        d.run_on(1);
        d.run_on(2);
        d.kill(0);
        let lives = d.run_and_kill(1, step);
        // An heir has passed the obituary on before it holds the lock.
        let ticks = u32::from(d.world.shared.lock.holder() != Some(d.id(1)));
        settle(&mut d, ticks);
        assert!(d.world.shared.deaths.peek() >= 1);
        lives
    });
    assert!(kills >= 5, "{kills}");
}

#[test]
fn an_obituary_reaches_every_waiter_without_a_tick() {
    let mut d = director(4);
    d.run(0, 2);
    assert_eq!([1, 2, 3].map(|n| d.run_on(n)), [State::Asleep; 3]);
    d.kill(0);
    settle(&mut d, 0);
    assert_eq!(d.world.shared.deaths.peek(), 1);
}

/// No time, or as much as wanted, whatever the test says meanwhile.
#[derive(Default)]
struct Until(std::sync::atomic::AtomicBool);

impl Limit for Until {
    fn left(&self) -> Option<Duration> {
        self.0.load(Ordering::SeqCst).then_some(Duration::ZERO)
    }
}

#[test]
fn who_gives_up_after_a_wake_leaves_the_others_announced() {
    let until = std::sync::Arc::new(Until::default());
    let theirs = std::sync::Arc::clone(&until);
    let mut d = director(1);
    d.run(0, 2);
    let impatient = d.spawn(move |w| {
        assert_eq!(w.shared.lock.lock(w, w, &*theirs), Err(LockError::TimedOut(Id::new(3, 1))));
    });
    let patient = d.spawn(change);
    let late = d.spawn(change);
    assert_eq!((d.run_on(impatient), d.run_on(patient)), (State::Asleep, State::Asleep));
    d.run_on(0);
    d.run(late, 1);
    until.0.store(true, Ordering::SeqCst);
    assert_eq!(d.run_on(impatient), State::Done);
    d.run_on(late);
    settle(&mut d, 0);
    assert_eq!(d.state(patient), State::Done);
}

/// To watch somebody's life is to write into its life word, and to say that this thread waits.
struct Unwatched<'a>(&'a W);

impl Owners for Unwatched<'_> {
    fn me(&self) -> Result<Id, NoSlot> {
        self.0.me()
    }

    fn is_dead(&self, id: Id) -> bool {
        self.0.is_dead(id)
    }

    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        panic!("a try watches {id:?}")
    }

    fn pass_on(&self, id: Id) {
        self.0.pass_on(id);
    }
}

#[test]
fn one_try_says_who_holds_it_and_takes_over_from_the_dead() {
    let mut d = director(1);
    d.run(0, 2);
    let holder = d.id(0);
    let attempt = move |w: &W| {
        let now = Until(true.into());
        assert_eq!(w.shared.lock.lock(w, &Unwatched(w), &now), Err(LockError::TimedOut(holder)));
        assert_eq!(w.shared.lock.word.peek(), OWNED | holder.to_bits(), "a try leaves no trace");
    };
    let n = d.spawn(attempt);
    d.run_on(n);
    d.kill(0);
    let n = d.spawn(move |w| {
        let held = w.shared.lock.lock(w, w, &Until(true.into())).unwrap();
        assert_eq!(held.state, Protected::OwnerDied(holder));
        assert_eq!(w.shared.lock.lock(w, w, &crate::Forever), Err(LockError::Deadlock));
        assert_eq!(w.shared.lock.holder(), Some(held.me));
        w.shared.lock.unlock(w, held.me).unwrap();
        assert_eq!(w.shared.lock.unlock(w, held.me), Err(NotHeld));
        assert_eq!(enter(w).state, Protected::Poisoned, "nobody has mended yet");
    });
    d.run_on(n);
}

#[test]
fn poison_stays_until_somebody_mends() {
    let mut d = director(0);
    let n = d.spawn(|w| {
        let lock = &w.shared.lock;
        let Held { me, state } = enter(w);
        assert_eq!((state, lock.poison(me)), (Protected::Consistent, Ok(())));
        lock.unlock(w, me).unwrap();
        assert_eq!((lock.mark_consistent(me), lock.poison(me)), (Err(NotHeld), Err(NotHeld)));
        for _ in 0..2 {
            assert_eq!(enter(w).state, Protected::Poisoned);
            lock.unlock(w, me).unwrap();
        }
        assert_eq!(enter(w).state, Protected::Poisoned);
        lock.mark_consistent(me).unwrap();
        lock.unlock(w, me).unwrap();
        assert_eq!(enter(w).state, Protected::Consistent);
        lock.unlock(w, me).unwrap();
    });
    d.run_on(n);
}

#[test]
fn a_thread_without_a_place_is_told() {
    let mut d = director(0);
    for _ in 0..9 {
        d.spawn(change);
    }
    let stranger = d.spawn(|w| assert_eq!(w.shared.lock.lock(w, w, &crate::Forever), Err(LockError::NoSlot)));
    d.run_on(stranger);
}
