//! Who uses the ring in the scenarios, what they say to have done, and what is to be true in the end.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::atomic::AtomicU32;
use crate::world::{Director, State, World};
use crate::{Forever, Limit, Owners, Ring, Side};

pub(super) const SLOTS: u32 = 2;

/// A ring, its slots of two words each, and what everybody says to have done.
pub(super) struct Shared {
    pub(super) ring: Ring,
    pub(super) slots: [[AtomicU32; 2]; SLOTS as usize],
    pub(super) notes: Mutex<Notes>,
    /// How many copies were good. No word of the world: nobody waits for it.
    pub(super) copies: std::sync::atomic::AtomicU32,
}

#[derive(Default)]
pub(super) struct Notes {
    pub(super) sides: Vec<(usize, Side)>,
    pub(super) sent: Vec<u32>,
    pub(super) received: Vec<u32>,
    /// Somebody was told that the ring is closed and empty.
    pub(super) is_over: bool,
}

pub(super) type W = World<Shared>;

pub(super) fn notes(w: &W) -> MutexGuard<'_, Notes> {
    w.shared.notes.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn nap(w: &W, side: Side, seen: u32) {
    w.shared.ring.nap(side, seen, w, &[], Some(Forever.tick(0)));
}

/// Whether the message was sent before the ring was closed.
pub(super) fn send(w: &W, message: u32) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    loop {
        let mut turn = ring.enter(Side::Producers, w, w, &Forever).unwrap();
        if ring.is_closed() {
            return false;
        }
        if turn.ready(SLOTS, 1).unwrap() > 0 {
            let slot = &slots[(turn.at() % SLOTS) as usize];
            slot.iter().for_each(|word| word.store(message, Relaxed));
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

/// As [`send`], with a copy beside the counter if nobody is in the way.
pub(super) fn post(w: &W, message: u32) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    let Some(step) = ring.step_at_once(Side::Producers, w, w.me().unwrap(), SLOTS) else {
        return send(w, message);
    };
    if ring.is_closed() {
        step.end(false);
        return false;
    }
    let slot = &slots[(step.at() % SLOTS) as usize];
    slot.iter().for_each(|word| word.store(message, Relaxed));
    step.end_with(message, &[message.into(); 2]);
    notes(w).sent.push(message);
    true
}

/// As [`receive`], of the copy if there is one, which then is the message.
pub(super) fn fetch(w: &W) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    let Some(step) = ring.step_at_once(Side::Consumers, w, w.me().unwrap(), SLOTS) else {
        return receive(w);
    };
    let mail = step.mail(2);
    let [left, right] = slots[(step.at() % SLOTS) as usize].each_ref().map(|word| word.load(Relaxed));
    assert_eq!(left, right, "torn");
    step.end(true);
    if let Some((word, words)) = mail {
        assert_eq!((word, &words[..2]), (left, &[left.into(); 2][..]), "a copy of something else");
        w.shared.copies.fetch_add(1, Relaxed);
    }
    notes(w).received.push(left);
    true
}

/// Whether there was a message before the ring was closed and empty.
pub(super) fn receive(w: &W) -> bool {
    let Shared { ring, slots, .. } = &w.shared;
    loop {
        let mut turn = ring.enter(Side::Consumers, w, w, &Forever).unwrap();
        if turn.ready(SLOTS, 1).unwrap() > 0 {
            let [left, right] = &slots[(turn.at() % SLOTS) as usize];
            let message = left.load(Relaxed);
            assert_eq!(message, right.load(Relaxed), "torn");
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

pub(super) fn be(w: &W, side: Side) -> u32 {
    let me = w.me().unwrap().slot();
    notes(w).sides.push((me as usize, side));
    me
}

pub(super) fn put(w: &W, n: u32) {
    let me = be(w, Side::Producers);
    let _ = (1..=n).all(|message| send(w, 100 * (me + 1) + message));
}

pub(super) fn put_one(w: &W) {
    put(w, 1);
}

pub(super) fn put_three(w: &W) {
    put(w, 3);
}

pub(super) fn take_one(w: &W) {
    be(w, Side::Consumers);
    receive(w);
}

pub(super) fn take_all(w: &W) {
    be(w, Side::Consumers);
    while receive(w) {}
}

/// Some with a copy, some without.
fn post_some(w: &W, n: u32) {
    let me = be(w, Side::Producers);
    let send = |message| if message == 3 { send } else { post }(w, 100 * (me + 1) + message);
    let _ = (1..=n).all(send);
}

pub(super) fn post_one(w: &W) {
    post_some(w, 1);
}

pub(super) fn post_three(w: &W) {
    post_some(w, 3);
}

pub(super) fn fetch_one(w: &W) {
    be(w, Side::Consumers);
    fetch(w);
}

pub(super) fn fetch_all(w: &W) {
    be(w, Side::Consumers);
    while fetch(w) {}
}

pub(super) fn close(w: &W) {
    w.shared.ring.close(w);
}

/// A world whose ring was used before, so that no counter is zero, and has so many messages of nobody.
pub(super) fn director(messages: u32, threads: &[fn(&W)]) -> Director<Shared> {
    let slots = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0)));
    let d = Director::with(
        Shared { ring: Ring::new(), slots, notes: Mutex::default(), copies: Default::default() },
        threads,
    );
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

pub(super) fn len(d: &Director<Shared>) -> u32 {
    let Ring { tail, head, .. } = &d.world.shared.ring;
    tail.word.peek().wrapping_sub(head.word.peek())
}

pub(super) fn taken(d: &Director<Shared>) -> u32 {
    d.world.shared.ring.head.word.peek().wrapping_add(1)
}

/// Everybody runs until there are only sleepers.
pub(super) fn run_all(d: &Director<Shared>) {
    while let Some(n) = (0..d.len()).find(|&n| d.state(n) == State::Paused) {
        d.run_on(n);
    }
}

/// Whether somebody sleeps that has something to do.
pub(super) fn is_stranded(d: &Director<Shared>) -> bool {
    let has_work = |side| match side {
        Side::Producers => len(d) < SLOTS,
        Side::Consumers => len(d) > 0,
    };
    let sides = notes(&d.world).sides.clone();
    sides.into_iter().any(|(n, side)| d.state(n) == State::Asleep && has_work(side))
}

/// All go on as far as they can, the ring is closed, and what is left is received: nobody was stranded, in the end all
/// are done, and every message has come to where it may be. Says how many ticks it took.
pub(super) fn settle(d: &mut Director<Shared>, ticks: u32) -> u32 {
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

pub(super) fn account(d: &Director<Shared>) {
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
