//! The ring under kills: of who fills, empties, closes, sleeps or follows, at every access, with and without sleepers.
//!
//! Invariant of each scenario: a message is there whole or not at all, is received once, is lost only with the consumer
//! that took it, and nobody sleeps beside something to do, after a tick at most where the README says so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::atomic::{AtomicU32, Ordering};
use crate::world::{Director, State, World, at_every_step, explore};
use crate::{Forever, Limit, Owners, Ring, Side};

const SLOTS: u32 = 2;

/// A ring, its slots of two words each, and what everybody says to have done.
struct Shared {
    ring: Ring,
    slots: [[AtomicU32; 2]; SLOTS as usize],
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    sides: Vec<(usize, Side)>,
    sent: Vec<u32>,
    received: Vec<u32>,
    /// Somebody was told that the ring is closed and empty.
    is_over: bool,
}

type W = World<Shared>;

fn notes(w: &W) -> MutexGuard<'_, Notes> {
    w.shared.notes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nap(w: &W, side: Side, seen: u32) {
    w.shared.ring.nap(side, seen, w, &[], Some(Forever.tick(0)));
}

/// Whether the message was sent before the ring was closed.
fn send(w: &W, message: u32) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    loop {
        let mut turn = ring.enter(Side::Producers, w, w, &Forever).unwrap();
        if ring.is_closed() {
            return false;
        }
        if turn.ready(SLOTS, 1).unwrap() > 0 {
            let slot = &slots[(turn.at() % SLOTS) as usize];
            slot.iter().for_each(|word| word.store(message, Ordering::Relaxed));
            turn.commit(1);
            drop(turn);
            notes(w).sent.push(message);
            return true;
        }
        let seen = turn.other();
        drop(turn);
        nap(w, Side::Producers, seen);
    }
}

/// Whether there was a message before the ring was closed and empty.
fn receive(w: &W) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    loop {
        let mut turn = ring.enter(Side::Consumers, w, w, &Forever).unwrap();
        if turn.ready(SLOTS, 1).unwrap() > 0 {
            let [left, right] = &slots[(turn.at() % SLOTS) as usize];
            let message = left.load(Ordering::Relaxed);
            assert_eq!(message, right.load(Ordering::Relaxed), "torn");
            turn.commit(1);
            drop(turn);
            notes(w).received.push(message);
            return true;
        }
        let seen = turn.other();
        drop(turn);
        if !ring.is_closed() {
            nap(w, Side::Consumers, seen);
        } else if ring.drained(w, w, &Forever).unwrap() {
            notes(w).is_over = true;
            return false;
        }
    }
}

fn be(w: &W, side: Side) -> u32 {
    let me = w.me().unwrap().slot();
    notes(w).sides.push((me as usize, side));
    me
}

fn put(w: &W, n: u32) {
    let me = be(w, Side::Producers);
    let _ = (1..=n).all(|message| send(w, 100 * (me + 1) + message));
}

fn put_one(w: &W) {
    put(w, 1);
}

fn put_three(w: &W) {
    put(w, 3);
}

fn take_one(w: &W) {
    be(w, Side::Consumers);
    receive(w);
}

fn take_all(w: &W) {
    be(w, Side::Consumers);
    while receive(w) {}
}

fn close(w: &W) {
    w.shared.ring.close(w);
}

/// A world whose ring was used before, so that no counter is zero, and has so many messages of nobody.
fn director(messages: u32, threads: &[fn(&W)]) -> Director<Shared> {
    let slots = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0)));
    let d = Director::with(Shared { ring: Ring::new(), slots, notes: Mutex::default() }, threads);
    let Ring { tail, head, producers, consumers, .. } = &d.world.shared.ring;
    tail.word.poke(u32::MAX.wrapping_add(messages));
    [&head.word, &producers.seen, &consumers.seen].into_iter().for_each(|word| word.poke(u32::MAX));
    for n in 0..messages {
        d.world.shared.slots[(u32::MAX.wrapping_add(n) % SLOTS) as usize]
            .iter()
            .for_each(|word| word.poke(n + 1));
        notes(&d.world).sent.push(n + 1);
    }
    d
}

fn len(d: &Director<Shared>) -> u32 {
    let Ring { tail, head, .. } = &d.world.shared.ring;
    tail.word.peek().wrapping_sub(head.word.peek())
}

fn taken(d: &Director<Shared>) -> u32 {
    d.world.shared.ring.head.word.peek().wrapping_add(1)
}

/// Everybody runs until there are only sleepers.
fn run_all(d: &Director<Shared>) {
    while let Some(n) = (0..d.len()).find(|&n| d.state(n) == State::Paused) {
        d.run_on(n);
    }
}

/// Whether somebody sleeps that has something to do.
fn is_stranded(d: &Director<Shared>) -> bool {
    let has_work = |side| match side {
        Side::Producers => len(d) < SLOTS,
        Side::Consumers => len(d) > 0,
    };
    let sides = notes(&d.world).sides.clone();
    sides.into_iter().any(|(n, side)| d.state(n) == State::Asleep && has_work(side))
}

/// All go on as far as they can, the ring is closed, and what is left is received: nobody was stranded, in the end all
/// are done, and every message has come to where it may be. Says how many ticks it took.
fn settle(d: &mut Director<Shared>, ticks: u32) -> u32 {
    run_all(d);
    let mut took = 0;
    while is_stranded(d) {
        assert!(took < ticks, "stranded after {took} ticks");
        took += 1;
        d.tick();
        run_all(d);
    }
    let n = d.spawn(close);
    d.run_on(n);
    took += d.finish();
    assert!(took <= ticks, "took {took} ticks");
    let (was_over, left) = (notes(&d.world).is_over, len(d));
    assert!(!was_over || left == 0, "told that it is over with {left} messages to come");
    let n = d.spawn(take_all);
    assert_eq!(d.run_on(n), State::Done);
    account(d);
    took
}

fn account(d: &Director<Shared>) {
    let notes = notes(&d.world);
    let mut received = notes.received.clone();
    received.sort_unstable();
    received.dedup();
    assert_eq!(received.len(), notes.received.len(), "received twice: {:?}", notes.received);
    // Taken, and the taker died before it could say what it was.
    let untold = taken(d) as usize - received.len();
    assert!(untold <= 1, "one was killed");
    let lost = notes.sent.iter().filter(|message| !received.contains(message)).count();
    assert!(lost <= untold, "sent {:?}, received {:?}", notes.sent, notes.received);
    // Whom nobody killed sends in order.
    let of = |n: u32| notes.received.iter().filter(move |&&message| message / 100 == n);
    assert!(
        (0..9).all(|n| of(n).is_sorted())
            || notes.sides.iter().filter(|s| s.1 == Side::Consumers).count() > 2
    );
}

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
