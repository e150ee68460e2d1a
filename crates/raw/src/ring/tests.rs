//! The ring by one thread: what it says and does, how many accesses that takes, and what garbage comes to.

use super::*;
use crate::world::atomic::exchanges;
use crate::world::{Director, State, World, steps};
use crate::{Forever, Id};

mod closing;
mod kills;
mod script;

const SLOTS: u32 = 2;

type W = World<Ring>;

fn enter(w: &W, side: Side) -> Turn<'_, W> {
    w.shared.enter(side, w, w, &Forever).unwrap()
}

/// Moves `n` slots if so many are ready; says at which number they begin.
fn pass(w: &W, side: Side, n: u32) -> Option<u32> {
    let mut turn = enter(w, side);
    let at = turn.at();
    (turn.ready(SLOTS, n).unwrap() >= n).then(|| {
        turn.commit(n);
        at
    })
}

fn alone(body: fn(&W)) {
    let d = Director::with(Ring::new(), &[body]);
    assert_eq!(d.run_on(0), State::Done);
}

#[test]
fn slots_go_round_and_counters_wrap() {
    alone(|w| {
        let ring = &w.shared;
        for word in [&ring.tail.word, &ring.head.word, &ring.producers.seen, &ring.consumers.seen] {
            word.poke(u32::MAX - 2);
        }
        for round in 0..8_u32 {
            let at = (u32::MAX - 2).wrapping_add(2 * round);
            assert_eq!(pass(w, Side::Consumers, 1), None);
            assert_eq!(pass(w, Side::Producers, 1), Some(at));
            assert_eq!(pass(w, Side::Producers, 2), None, "one is free");
            assert_eq!(pass(w, Side::Producers, 1), Some(at.wrapping_add(1)));
            assert_eq!((pass(w, Side::Producers, 1), ring.len()), (None, 2));
            assert_eq!(pass(w, Side::Consumers, 2), Some(at));
            assert_eq!((ring.len(), ring.is_empty()), (0, true));
        }
        assert_eq!(ring.counter(Side::Producers), ring.counter(Side::Consumers));
    });
}

#[test]
fn a_turn_that_commits_nothing_leaves_no_trace() {
    alone(|w| {
        let mut turn = enter(w, Side::Producers);
        assert_eq!((turn.me(), turn.heir_of(), turn.at(), turn.other()), (w.me().unwrap(), None, 0, 0));
        assert_eq!(turn.ready(SLOTS, 1), Ok(2));
        turn.commit(0);
        assert_eq!(w.shared.enter(Side::Producers, w, w, &Forever).err(), Some(LockError::Deadlock));
        assert!(w.shared.enter(Side::Consumers, w, w, &Forever).is_ok(), "the sides are apart");
        drop(turn);
        assert_eq!(w.shared.producers.lock.holder(), None);
        assert_eq!(w.shared.len(), 0);
    });
}

#[test]
fn ready_looks_across_only_if_it_must() {
    alone(|w| {
        let steps_of = |side, wanted| {
            let mut turn = enter(w, side);
            let before = steps();
            let ready = turn.ready(SLOTS, wanted).unwrap();
            (ready, steps() - before)
        };
        assert_eq!(steps_of(Side::Producers, 1), (2, 0));
        assert_eq!(steps_of(Side::Consumers, 1), (0, 2), "a look, and a copy of it");
        assert_eq!(pass(w, Side::Producers, 2), Some(0));
        assert_eq!([1, 1].map(|wanted| steps_of(Side::Consumers, wanted)), [(2, 2), (2, 0)]);
        assert_eq!(pass(w, Side::Consumers, 1), Some(0));
        assert_eq!([1, 1].map(|wanted| steps_of(Side::Producers, wanted)), [(1, 2), (1, 0)]);
    });
}

#[test]
fn with_nobody_asleep_there_are_two_exchanges_and_no_wake() {
    alone(|w| {
        for side in [Side::Producers, Side::Consumers] {
            let before = (steps(), exchanges());
            assert_eq!(pass(w, side, 1), Some(0));
            // Both counters, the flag, the commit, and the flag again; a consumer looks across, and copies that.
            let others = if side == Side::Producers { 5 } else { 7 };
            assert_eq!((steps() - before.0, exchanges() - before.1), (2 + others, 2), "{side:?}");
        }
    });
}

#[test]
fn garbage_is_corrupt_and_never_more_than_that() {
    alone(|w| {
        let ring = &w.shared;
        for garbage in [SLOTS + 1, 1 << 31, u32::MAX] {
            ring.tail.word.poke(garbage);
            for side in [Side::Producers, Side::Consumers] {
                let mut turn = enter(w, side);
                assert_eq!([0, 1].map(|_| turn.ready(SLOTS, 1)), [Err(Corrupt); 2], "{side:?} {garbage}");
                turn.commit(0);
            }
        }
        // A copy that is garbage is not believed where it can be told.
        ring.tail.word.poke(1);
        for garbage in [SLOTS + 1, 1 << 31, u32::MAX] {
            ring.producers.seen.poke(garbage);
            ring.consumers.seen.poke(garbage);
            assert_eq!(enter(w, Side::Producers).ready(SLOTS, 1), Ok(1));
            assert_eq!(enter(w, Side::Consumers).ready(SLOTS, 1), Ok(1));
        }
        // Flags and `closed` that nobody stores.
        ring.not_empty.poke(u32::MAX);
        ring.closed.poke(u32::MAX);
        assert_eq!((pass(w, Side::Producers, 1), ring.is_closed()), (Some(1), true));
        assert_eq!(ring.not_empty.peek(), 0);
    });
}

#[test]
#[should_panic(expected = "thread 0 failed")]
fn more_than_is_ready_is_not_committed() {
    alone(|w| {
        let mut turn = enter(w, Side::Producers);
        assert_eq!(turn.ready(SLOTS, 1), Ok(2));
        turn.commit(2);
        turn.commit(1);
    });
}

#[test]
fn a_closed_ring_is_drained_when_it_is_empty() {
    alone(|w| {
        let ring = &w.shared;
        let drained = || ring.drained(w, w, &Forever).unwrap();
        assert!(!drained() && !enter(w, Side::Producers).drained());
        assert_eq!(pass(w, Side::Producers, 1), Some(0));
        ring.close(w);
        assert!(ring.is_closed() && !drained());
        assert_eq!(pass(w, Side::Consumers, 1), Some(0));
        assert!(drained() && enter(w, Side::Producers).drained());
        assert!(!enter(w, Side::Consumers).drained(), "a consumer does not keep producers out");
        let nap = |side| ring.nap(side, 1, w, None, Some(Duration::from_secs(1)));
        assert_eq!([nap(Side::Consumers), nap(Side::Producers)], [Waited::Changed; 2]);
    });
}

#[test]
fn a_dead_holder_is_named_to_who_follows() {
    let mut d = Director::with(Ring::new(), &[|w: &W| assert!(pass(w, Side::Producers, 1).is_some())]);
    d.run(0, 1);
    assert_eq!(d.world.shared.producers.lock.holder(), Some(d.id(0)));
    d.kill(0);
    let dead: Option<Id> = Some(d.id(0));
    let n = d.spawn(move |w| {
        let turn = enter(w, Side::Producers);
        assert_eq!((turn.heir_of(), turn.at()), (dead, 0));
        drop(turn);
        assert_eq!(enter(w, Side::Producers).heir_of(), None);
        assert_eq!(w.shared.producers.lock.state(), crate::Protected::Consistent);
    });
    assert_eq!(d.run_on(n), State::Done);
}
