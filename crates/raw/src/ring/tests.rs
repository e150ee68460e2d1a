//! The ring by one thread: what it says and does, how many accesses that takes, and what garbage comes to.

use super::*;
use crate::world::atomic::exchanges;
use crate::world::{Director, State, World, steps};
use crate::{Forever, Id, Obituary};

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
fn a_step_is_a_turn_with_one_slot() {
    alone(|w| {
        let (ring, me) = (&w.shared, w.me().unwrap());
        let step = |side, commits| {
            let step = ring.step_at_once(side, w, me, SLOTS)?;
            assert_eq!(ring.step_at_once(side, w, me, SLOTS).map(|step| step.end(true)), None, "it is taken");
            let at = step.at();
            step.end(commits);
            assert_eq!(ring.half(side).lock.holder(), None);
            Some(at)
        };
        for at in 0..2 {
            assert_eq!(step(Side::Consumers, true), None);
            assert_eq!(step(Side::Producers, false), Some(at));
            assert_eq!(ring.len(), 0);
            assert_eq!(step(Side::Producers, true), Some(at));
            assert_eq!(step(Side::Consumers, true), Some(at));
        }
        assert_eq!((step(Side::Producers, true), step(Side::Producers, true)), (Some(2), Some(3)));
        assert_eq!(step(Side::Producers, true), None, "it is full");
        // As many exchanges as a turn: none but those of the lock.
        let count = |work: &dyn Fn()| {
            let before = exchanges();
            work();
            exchanges() - before
        };
        assert_eq!(
            count(&|| assert!(step(Side::Consumers, true).is_some())),
            3,
            "with that of who finds it taken"
        );
    });
}

#[test]
fn a_copy_is_that_of_the_newest_slot_only() {
    alone(|w| {
        let (ring, me) = (&w.shared, w.me().unwrap());
        let post = |n: u32| {
            let step = ring.step_at_once(Side::Producers, w, me, SLOTS).unwrap();
            step.end_with(n, &[1, 2, 3, 4, 5].map(|word| word * u64::from(n)));
        };
        let fetch = |words| {
            let step = ring.step_at_once(Side::Consumers, w, me, SLOTS).unwrap();
            let mail = step.mail(words);
            step.end(true);
            mail
        };
        post(7);
        assert_eq!(fetch(5), Some((7, [7, 14, 21, 28, 35])));
        post(8);
        assert_eq!(fetch(1).map(|(n, words)| (n, words[0])), Some((8, 8)));
        // A newer one takes its place.
        post(9);
        post(10);
        assert_eq!([1, 1].map(|n| fetch(n).map(|mail| mail.0)), [None, Some(10)]);
        // A turn makes no copy, and leaves none of others.
        assert_eq!(pass(w, Side::Producers, 1), Some(4));
        assert_eq!(fetch(1), None);
        // Nor does a step that gives nothing.
        ring.step_at_once(Side::Producers, w, me, SLOTS).unwrap().end(false);
        assert_eq!(pass(w, Side::Producers, 1), Some(5));
        assert_eq!(fetch(0), None);
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
            // Both counters, the flag, the commit, and the flag again; a producer clears the note, and a consumer looks across,
            // and copies that.
            let others = if side == Side::Producers { 6 } else { 7 };
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

/// For calls that need not sleep, nor wake anybody.
struct Sleepless;

impl Park for Sleepless {
    fn wait(&self, _: &AtomicU32, _: u32, _: Option<Duration>) -> Waited {
        panic!("a sleep on one word")
    }

    fn wait_any(&self, _: &[(&AtomicU32, u32)], _: Option<Duration>) -> Waited {
        panic!("a sleep")
    }

    fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
        panic!("a wake")
    }

    fn store_and_wake(&self, _: &AtomicU32, _: u32, _: u32) {
        panic!("a wake")
    }
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
        let nap = |side, seen| ring.nap(side, seen, &Sleepless, &[], None);
        assert_eq!([nap(Side::Consumers, 1), nap(Side::Producers, 1)], [Waited::Changed; 2], "closed");
        assert_eq!([nap(Side::Consumers, 0), nap(Side::Producers, 0)], [Waited::Changed; 2], "moved");
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
        assert_eq!(w.shared.producers.lock.state(), Protected::Consistent);
    });
    assert_eq!(d.run_on(n), State::Done);
}

#[test]
fn an_heir_wakes_whom_the_dead_did_not() {
    let mut d = Director::with(Ring::new(), &[|w: &W| assert!(pass(w, Side::Producers, 1).is_some()), sleep]);
    // It looks at the flag before the sleeper raises it, commits, and dies.
    d.run(0, 5);
    assert_eq!(d.run_on(1), State::Asleep);
    d.run(0, 1);
    assert_eq!(d.world.shared.tail.word.peek(), 1);
    d.kill(0);
    assert_eq!(d.state(1), State::Asleep, "nobody watches a producer");
    let n = d.spawn(|w| drop(enter(w, Side::Producers)));
    d.run_on(n);
    assert_eq!(d.run_on(1), State::Done);
}

fn sleep(w: &W) {
    assert_eq!(w.shared.nap(Side::Consumers, 0, w, &[], Some(Duration::from_secs(1))), Waited::Woken);
}

#[test]
fn a_wake_is_passed_on_to_one_and_then_to_nobody() {
    let mut d = Director::with(Ring::new(), &[sleep, sleep]);
    assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
    for left in [1, 0] {
        let n = d.spawn(|w| w.shared.pass_on(Side::Consumers, w));
        assert_eq!(d.run_on(n), State::Done);
        assert_eq!([0, 1].iter().filter(|&&n| d.state(n) == State::Asleep).count(), left);
    }
    for flag in [0, 0] {
        let n = d.spawn(|w| w.shared.pass_on(Side::Consumers, w));
        assert_eq!((d.run_on(n), d.world.shared.not_empty.peek()), (State::Done, flag), "lowered");
    }
}

#[test]
fn garbage_in_a_flag_keeps_nobody_awake() {
    let d = Director::with(Ring::new(), &[sleep, |w: &W| assert!(pass(w, Side::Producers, 1).is_some())]);
    d.world.shared.not_empty.poke(u32::MAX - SLEEPERS);
    assert_eq!(d.run_on(0), State::Asleep);
    d.run_on(1);
    assert_eq!(d.run_on(0), State::Done);
}

/// A ring, and the news of deaths.
type Mortal = World<(Ring, Obituary)>;

#[test]
fn an_obituary_ends_a_nap() {
    let mut d = Director::with(
        Default::default(),
        &[|w: &Mortal| {
            let (ring, obituary) = &w.shared;
            let nap = |also| ring.nap(Side::Producers, 0, w, &[also], Some(Duration::from_secs(1)));
            let before = obituary.watch();
            assert_eq!(nap(before), Waited::Woken);
            assert_eq!(nap(before), Waited::Changed, "it has rung since");
        }],
    );
    assert_eq!(d.run_on(0), State::Asleep);
    let n = d.spawn(|w| w.shared.1.ring(w));
    d.run_on(n);
    assert_eq!(d.run_on(0), State::Done);
}

#[test]
fn a_length_that_is_read_while_others_move_is_never_below_zero() {
    let mut d = Director::with(
        Ring::new(),
        &[|w: &W| {
            let len = w.shared.len();
            assert!((1..=3).contains(&len), "{len}");
        }],
    );
    d.world.shared.tail.word.poke(1);
    d.run(0, 1);
    let n = d.spawn(|w| {
        assert_eq!(pass(w, Side::Producers, 1), Some(1));
        assert_eq!(pass(w, Side::Consumers, 2), Some(0));
        assert_eq!(pass(w, Side::Producers, 1), Some(2));
    });
    assert_eq!(d.run_on(n), State::Done);
    assert_eq!(d.run_on(0), State::Done);
}
