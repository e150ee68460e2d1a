//! The lock for readers and writers under kills: of either at every access, with others inside, asleep and coming.
//!
//! Invariant of each scenario: no reader sees half a change that nobody announced, who survives gets what it came for,
//! and nobody waits for a tick but after a waiter was killed that a wake was meant for.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::Forever;
use crate::world::{Director, State, World, at_every_step, explore};

mod answers;
mod in_vain;

/// A lock and data that a half done change leaves unequal.
#[derive(Default)]
struct Shared {
    lock: RwLock<8>,
    other: Lock,
    left: AtomicU32,
    right: AtomicU32,
    /// How often somebody was told of a death by name, and how often only of poison.
    told: [AtomicU32; 2],
    /// Whose death was told last.
    named: AtomicU32,
}

type W = World<Shared>;

/// Whether the data is said to be whole; counts what was said.
fn is_whole(w: &W, state: Protected) -> bool {
    let told = match state {
        Protected::Consistent => return true,
        Protected::OwnerDied(id) => {
            w.shared.named.poke(id.to_bits());
            &w.shared.told[0]
        }
        Protected::Poisoned => &w.shared.told[1],
    };
    told.poke(told.peek() + 1);
    false
}

/// One look at the data.
fn look(w: &W) {
    let Shared { lock, left, right, .. } = &w.shared;
    let Held { me, state } = lock.read(w, w, &Forever).unwrap();
    let seen = (left.load(Ordering::Relaxed), right.load(Ordering::Relaxed));
    assert!(!is_whole(w, state) || seen.0 == seen.1, "torn, and nobody said so");
    lock.unlock_read(w, me).unwrap();
}

fn write(w: &W) -> Id {
    write_in(w, w.shared.lock.write(w, w, &Forever).unwrap())
}

fn write_in(w: &W, Held { me, state }: Held) -> Id {
    let Shared { lock, left, right, .. } = &w.shared;
    if is_whole(w, state) {
        assert_eq!(left.peek(), right.peek(), "torn, and nobody said so");
    } else {
        right.store(left.peek(), Ordering::Relaxed);
        lock.mark_consistent(me).unwrap();
    }
    left.fetch_add(1, Ordering::Relaxed);
    right.fetch_add(1, Ordering::Relaxed);
    me
}

/// One change.
fn change(w: &W) {
    let me = write(w);
    w.shared.lock.unlock_write(w, me).unwrap();
}

/// One change, and a look at it before anybody else can change it.
fn change_and_look(w: &W) {
    let Shared { lock, left, .. } = &w.shared;
    let me = write(w);
    let mine = left.peek();
    lock.downgrade(w, me).unwrap();
    assert_eq!(left.load(Ordering::Relaxed), mine, "somebody came between");
    lock.unlock_read(w, me).unwrap();
    assert_eq!([lock.downgrade(w, me), lock.unlock_read(w, me)], [Err(NotHeld); 2]);
}

/// Reads twice, one inside the other.
fn look_twice(w: &W) {
    let me = w.shared.lock.read(w, w, &Forever).unwrap().me;
    look(w);
    w.shared.lock.unlock_read(w, me).unwrap();
}

fn director(threads: &[fn(&W)]) -> Director<Shared> {
    Director::with(Shared::default(), threads)
}

/// Everybody ends within `ticks`, and the lock is free and the data whole.
fn settle(d: &mut Director<Shared>, ticks: u32) {
    let took = d.finish();
    assert!(took <= ticks, "took {took} ticks");
    assert_eq!(d.world.shared.lock.readers(&*d.world).count(), 0);
    let next = [d.spawn(change), d.spawn(look)];
    assert_eq!(next.map(|n| d.run_on(n)), [State::Done; 2]);
    let Shared { lock, left, right, .. } = &d.world.shared;
    assert_eq!((lock.writer(), lock.state(), left.peek()), (None, Protected::Consistent, right.peek()));
}

#[test]
fn every_schedule_of_a_reader_and_a_writer_and_a_kill_of_either() {
    for threads in [[look, change], [look_twice, change], [look, change_and_look]] {
        let run = |victim| explore(3, victim, &|| director(&threads), &|d| settle(d, 0));
        let runs = [None, Some(0), Some(1)].map(run);
        assert!(runs.iter().all(|&n| n > 700), "{runs:?}");
    }
}

#[test]
fn every_schedule_of_two_readers_and_a_writer_and_a_kill_of_either() {
    let run = |victim| explore(2, victim, &|| director(&[look, look, change]), &|d| settle(d, 0));
    let runs = [None, Some(0), Some(2)].map(run);
    assert!(runs.iter().all(|&n| n > 300), "{runs:?}");
}

#[test]
fn every_schedule_of_a_reader_and_two_writers_and_a_kill_of_either() {
    let run = |victim: Option<usize>| {
        // A writer may have been killed that the lock of the writers was meant for.
        let ticks = u32::from(victim.is_some_and(|n| n > 0));
        explore(2, victim, &|| director(&[look, change, change_and_look]), &|d| settle(d, ticks))
    };
    let runs = [None, Some(0), Some(1), Some(2)].map(run);
    assert!(runs.iter().all(|&n| n > 300), "{runs:?}");
}

#[test]
fn a_writer_killed_at_every_step_with_a_reader_inside_and_others_asleep() {
    for writes in [change, change_and_look] {
        let kills = at_every_step(|step| {
            let mut d = director(&[look, writes, look, look, change]);
            d.run(0, 5);
            d.run_on(1);
            (2..5).for_each(|n| _ = d.run_on(n));
            d.run_on(0);
            let taken = d.steps(1);
            let lives = step < taken || d.run_and_kill(1, step - taken);
            settle(&mut d, 0);
            lives
        });
        assert!(kills >= 16, "{kills}");
    }
}

#[test]
fn a_writer_killed_at_every_step_before_the_others_come() {
    for writes in [change, change_and_look] {
        let kills = at_every_step(|step| {
            let mut d = director(&[writes, look, look, change]);
            let lives = d.run_and_kill(0, step);
            settle(&mut d, 0);
            lives
        });
        assert!(kills >= 7, "{kills}");
    }
}

#[test]
fn a_reader_killed_at_every_step_while_a_writer_waits_for_it_and_another_for_that() {
    for reads in [look, look_twice] {
        let kills = at_every_step(|pause| {
            at_every_step(|more| {
                let mut d = director(&[reads, change, change, look]);
                d.run(0, pause);
                (1..4).for_each(|n| _ = d.run_on(n));
                let lives = d.run_and_kill(0, more);
                settle(&mut d, 0);
                assert_eq!(
                    d.world.shared.told.each_ref().map(AtomicU32::peek),
                    [0, 0],
                    "a reader leaves nothing torn"
                );
                lives
            });
            director(&[reads]).run(0, pause) != State::Done
        });
        assert!(kills >= 7, "{kills}");
    }
}

#[test]
fn a_reader_asleep_killed_at_every_step_costs_the_others_nothing() {
    let kills = at_every_step(|step| {
        let mut d = director(&[change, look, look, change]);
        d.run(0, 4);
        d.run(1, step);
        (2..4).for_each(|n| _ = d.run_on(n));
        d.run_on(0);
        let taken = d.steps(1);
        let lives = step < taken || d.run_and_kill(1, step - taken);
        settle(&mut d, 0);
        lives
    });
    assert!(kills > 10, "{kills}");
}

#[test]
fn the_death_of_a_writer_is_told_once_by_name_and_then_as_poison() {
    // The first to look is a reader.
    let mut d = director(&[change, look, look, look]);
    d.run(0, 4);
    let writer = d.world.shared.lock.writer();
    assert_eq!(writer, Some(d.id(0)));
    assert_eq!([1, 2, 3].map(|n| d.run_on(n)), [State::Asleep; 3]);
    d.kill(0);
    assert_eq!(d.finish(), 0);
    let late = [d.spawn(look), d.spawn(look)];
    assert_eq!(late.map(|n| d.run_on(n)), [State::Done; 2]);
    assert_eq!(d.world.shared.told.each_ref().map(AtomicU32::peek), [1, 4]);
    settle(&mut d, 0);
}

/// A world whose first thread died between the halves of its change.
fn half_written() -> Director<Shared> {
    let d = director(&[change]);
    while d.world.shared.left.peek() == 0 {
        d.run(0, 1);
    }
    d.kill(0);
    d
}

#[test]
fn the_heir_of_a_writer_that_died_halfway_is_told_its_name() {
    let mut d = half_written();
    let [heir, next] = [d.spawn(look), d.spawn(look)];
    assert_eq!([heir, next].map(|n| d.run_on(n)), [State::Done; 2]);
    assert_eq!(d.world.shared.told.each_ref().map(AtomicU32::peek), [1, 1]);
    settle(&mut d, 0);
}

#[test]
fn an_heir_that_reads_killed_at_every_step_has_an_heir() {
    let kills = at_every_step(|step| {
        let mut d = director(&[change, look, look, change]);
        d.run(0, 4);
        assert_eq!([1, 2, 3].map(|n| d.run_on(n)), [State::Asleep; 3]);
        d.kill(0);
        let lives = d.run_and_kill(1, step);
        // An heir has passed the obituary on before it holds the lock.
        let ticks = u32::from(step < 4);
        settle(&mut d, ticks);
        lives
    });
    assert!(kills > 8, "{kills}");
}

#[test]
fn who_was_woken_by_a_death_tells_those_who_wait_for_something_else() {
    for (reads, waits) in [(true, change as fn(&W)), (false, look), (false, change)] {
        let mut d = director(&[]);
        let dies = d.spawn(move |w: &W| {
            let Shared { lock, other, .. } = &w.shared;
            let take = if reads { lock.read(w, w, &Forever) } else { lock.write(w, w, &Forever) };
            assert_eq!(other.lock(w, w, &Forever).unwrap().me, take.unwrap().me);
            // Until it dies.
            assert!(other.lock(w, w, &Forever).is_err());
        });
        while d.world.shared.other.holder().is_none() {
            d.run(dies, 1);
        }
        // The kernel wakes the first.
        let first = d.spawn(waits);
        let second = d.spawn(|w: &W| {
            assert_ne!(w.shared.other.lock(w, w, &Forever).unwrap().state, Protected::Consistent);
        });
        assert_eq!([first, second].map(|n| d.run_on(n)), [State::Asleep; 2]);
        d.kill(dies);
        assert_eq!([first, second].map(|n| d.state(n)), [State::Paused, State::Asleep]);
        settle(&mut d, 0);
    }
}

#[test]
fn words_of_the_dead_are_ignored_and_overwritten() {
    let mut d = director(&[]);
    let lock = &d.world.shared.lock;
    lock.top.poke(u32::MAX);
    let stale = WAITERS | (9 * GENERATION + 3);
    lock.readers.iter().for_each(|word| word.poke(stale));
    assert_eq!(lock.readers(&*d.world).count(), 0);
    // Somebody sleeps for the one who died in the slot of the reader.
    let sleeper = d.spawn(move |w: &W| {
        assert_eq!(w.wait(&w.shared.lock.readers[1], stale, Some(Duration::MAX)), crate::Waited::Woken);
    });
    assert_eq!(d.run_on(sleeper), State::Asleep);
    let reader = d.spawn(look);
    d.run(reader, 5);
    assert_eq!((d.state(sleeper), d.world.shared.lock.readers(&*d.world).count()), (State::Paused, 1));
    settle(&mut d, 0);
    let words = d.world.shared.lock.readers.each_ref().map(AtomicU32::peek);
    assert_eq!(words, [stale, 0, stale, 0, stale, stale, stale, stale]);
}

/// No time, or as much as wanted, whatever the test says meanwhile.
#[derive(Default)]
struct Until(AtomicBool);

impl Limit for Until {
    fn left(&self) -> Option<Duration> {
        self.0.load(Ordering::SeqCst).then_some(Duration::ZERO)
    }
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_in_and_killed_at_every_step_too() {
    let kills = at_every_step(|step| {
        let until = Arc::new(Until::default());
        let theirs = Arc::clone(&until);
        let mut d = director(&[look, look, change]);
        d.run(0, 5);
        let reader = d.id(0);
        let writer = d.spawn(move |w: &W| {
            assert_eq!(w.shared.lock.write(w, w, &*theirs), Err(LockError::TimedOut(reader)));
        });
        assert_eq!([writer, 1, 2].map(|n| d.run_on(n)), [State::Asleep; 3]);
        until.0.store(true, Ordering::SeqCst);
        d.tick();
        let lives = d.run_and_kill(writer, step);
        assert!(lives || d.run_on(1) == State::Done, "the reader inside keeps no reader out");
        settle(&mut d, 0);
        lives
    });
    assert!(kills >= 4, "{kills}");
}
