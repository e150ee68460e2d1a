//! The ring: every message comes once and whole, nobody is left asleep beside something to do, and who is told that all
//! is over has missed nothing.

use std::cell::Cell;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use procession_raw::{Forever, Ring, Side};

use crate::support::{Broken, Domain, be, check, check_fails, id};
use twin::*;

#[path = "ring_mail.rs"]
mod mail;
#[path = "ring_twin.rs"]
mod twin;

/// What is under test, and what a twin of it does instead. The slots are the caller's.
trait Passage: Send + Sync + 'static {
    fn new() -> Self;
    /// Calls `fill` with the number of a free slot, and says whether the ring was open.
    fn put(&self, domain: &Domain, slots: u32, fill: impl Fn(u32)) -> bool;
    /// Calls `empty` with the number of a filled slot, and says whether there was one before all was over.
    fn take(&self, domain: &Domain, slots: u32, empty: impl Fn(u32)) -> bool;
    fn close(&self, domain: &Domain);
}

impl Passage for Ring {
    fn new() -> Self {
        Self::new()
    }

    fn put(&self, domain: &Domain, slots: u32, fill: impl Fn(u32)) -> bool {
        loop {
            let mut turn = self.enter(Side::Producers, domain, domain, &Forever).unwrap();
            if self.is_closed() {
                return false;
            }
            if turn.ready(slots, 1).unwrap() > 0 {
                fill(turn.at());
                turn.commit(1);
                return true;
            }
            let seen = turn.other();
            drop(turn);
            self.nap(Side::Producers, seen, domain, &[], None);
        }
    }

    fn take(&self, domain: &Domain, slots: u32, empty: impl Fn(u32)) -> bool {
        loop {
            let mut turn = self.enter(Side::Consumers, domain, domain, &Forever).unwrap();
            if turn.ready(slots, 1).unwrap() > 0 {
                empty(turn.at());
                turn.commit(1);
                return true;
            }
            let seen = turn.other();
            drop(turn);
            if !self.is_closed() {
                self.nap(Side::Consumers, seen, domain, &[], None);
            } else if self.drained(domain, domain, &Forever).unwrap() {
                return false;
            }
        }
    }

    fn close(&self, domain: &Domain) {
        self.close(domain);
    }
}

struct Shared<P> {
    domain: Domain,
    passage: P,
    /// The checker fails an access that does not happen before or after every other.
    slots: Vec<UnsafeCell<u32>>,
}

impl<P: Passage> Shared<P> {
    fn new(broken: Broken, slots: usize) -> Arc<Self> {
        let slots = (0..slots).map(|_| UnsafeCell::new(0)).collect();
        Arc::new(Self { domain: Domain::broken(broken), passage: P::new(), slots })
    }

    /// Puts a message; its number, if the ring was open.
    fn put(&self) -> Option<u32> {
        let number = Cell::new(None);
        let fill = |at| {
            number.set(Some(at));
            self.slot(at).with_mut(|_| ());
        };
        let was_open = self.passage.put(&self.domain, self.slots.len() as u32, fill);
        assert_eq!(number.get().is_some(), was_open);
        number.get()
    }

    /// Takes a message; its number, if there was one before all was over.
    fn take(&self) -> Option<u32> {
        let number = Cell::new(None);
        let empty = |at| {
            number.set(Some(at));
            self.slot(at).with_mut(|_| ());
        };
        self.passage.take(&self.domain, self.slots.len() as u32, empty).then(|| number.get().unwrap())
    }

    fn slot(&self, at: u32) -> &UnsafeCell<u32> {
        &self.slots[at as usize % self.slots.len()]
    }
}

type Body<P> = fn(&Shared<P>) -> Vec<u32>;

fn put<P: Passage, const N: u32>(shared: &Shared<P>) -> Vec<u32> {
    (0..N).map_while(|_| shared.put()).collect()
}

fn take<P: Passage, const N: u32>(shared: &Shared<P>) -> Vec<u32> {
    (0..N).map_while(|_| shared.take()).collect()
}

fn take_all<P: Passage>(shared: &Shared<P>) -> Vec<u32> {
    std::iter::from_fn(|| shared.take()).collect()
}

fn close<P: Passage>(shared: &Shared<P>) -> Vec<u32> {
    shared.passage.close(&shared.domain);
    Vec::new()
}

/// Runs all of them, the first on this thread; first come those who put. What was put was taken.
fn run<P: Passage>(broken: Broken, slots: usize, producers: &[Body<P>], others: &[Body<P>]) {
    let shared = Shared::<P>::new(broken, slots);
    let bodies: Vec<_> = producers.iter().chain(others).copied().collect();
    let start = |slot| {
        let (shared, body): (_, Body<P>) = (Arc::clone(&shared), bodies[slot]);
        thread::spawn(move || {
            be(slot);
            body(&shared)
        })
    };
    let threads: Vec<_> = (1..bodies.len()).map(start).collect();
    be(0);
    let mut results = vec![bodies[0](&shared)];
    results.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    let [sent, received] = [&results[..producers.len()], &results[producers.len()..]].map(|results| {
        let mut numbers = results.concat();
        numbers.sort_unstable();
        numbers
    });
    assert_eq!(sent, received);
}

/// One puts two messages and one takes them.
fn one_and_one<P: Passage>(broken: Broken, slots: usize) {
    run::<P>(broken, slots, &[put::<P, 2>], &[take::<P, 2>]);
}

fn two_put<P: Passage>(broken: Broken, slots: usize) {
    run::<P>(broken, slots, &[put::<P, 1>, put::<P, 1>], &[take::<P, 2>]);
}

fn two_take<P: Passage>(broken: Broken, slots: usize) {
    run::<P>(broken, slots, &[put::<P, 2>], &[take::<P, 1>, take::<P, 1>]);
}

/// One puts until it is closed, another closes, and the third takes all until it is told that all is over.
fn closing<P: Passage>(slots: usize) {
    run::<P>(Broken::Nothing, slots, &[put::<P, 2>], &[take_all::<P>, close::<P>]);
}

/// One puts two messages at once, and two take one each.
fn batch() {
    let shared = Shared::<Ring>::new(Broken::Nothing, 2);
    let takers = [1, 2].map(|slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(slot);
            shared.take().unwrap()
        })
    });
    be(0);
    let mut turn = shared.passage.enter(Side::Producers, &shared.domain, &shared.domain, &Forever).unwrap();
    assert_eq!(turn.ready(2, 2), Ok(2));
    [0, 1].into_iter().for_each(|at| shared.slot(at).with_mut(|_| ()));
    turn.commit(2);
    drop(turn);
    assert_eq!(takers.into_iter().map(|taker| taker.join().unwrap()).sum::<u32>(), 1);
}

/// A producer that is in the middle commits and dies; another comes and does nothing; the third waits for the message.
fn dies_after_its_commit() {
    let shared = Shared::<Ring>::new(Broken::Nothing, 1);
    be(0);
    let mut turn = shared.passage.enter(Side::Producers, &shared.domain, &shared.domain, &Forever).unwrap();
    assert_eq!(turn.ready(1, 1), Ok(1));
    let heir = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(1);
            let turn =
                shared.passage.enter(Side::Producers, &shared.domain, &shared.domain, &Forever).unwrap();
            assert_eq!(turn.heir_of(), Some(id(0)));
        })
    };
    let taker = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(2);
            shared.take()
        })
    };
    shared.slot(turn.at()).with_mut(|_| ());
    turn.commit(1);
    std::mem::forget(turn);
    shared.domain.die();
    heir.join().unwrap();
    assert_eq!(taker.join().unwrap(), Some(0));
}

#[test]
fn one_puts_and_one_takes() {
    check("ring, one slot", 3, || one_and_one::<Ring>(Broken::Nothing, 1));
    check("ring, two slots", 3, || one_and_one::<Ring>(Broken::Nothing, 2));
}

#[test]
fn two_put_and_one_takes() {
    check("ring, two producers, one slot", 2, || two_put::<Ring>(Broken::Nothing, 1));
    check("ring, two producers, two slots", 2, || two_put::<Ring>(Broken::Nothing, 2));
}

#[test]
fn one_puts_and_two_take() {
    check("ring, two consumers, one slot", 2, || two_take::<Ring>(Broken::Nothing, 1));
    check("ring, two messages at once", 2, batch);
    check("ring, two consumers, two slots", 2, || two_take::<Ring>(Broken::Nothing, 2));
}

#[test]
fn who_is_told_that_all_is_over_has_missed_nothing() {
    check("ring, closed", 2, || closing::<Ring>(1));
}

#[test]
fn an_heir_wakes_whom_the_dead_did_not() {
    check("ring, a producer dies", 2, dies_after_its_commit);
}

#[test]
fn the_twin_without_a_fault_passes() {
    check("ring, twin", 2, || one_and_one::<Twin<NOTHING>>(Broken::Nothing, 1));
    check("ring, twin, closed", 1, || closing::<Twin<NOTHING>>(1));
}

#[test]
fn the_checker_sees_a_missing_barrier() {
    check_fails("ring, no barrier", 2, || one_and_one::<Twin<NO_BARRIER>>(Broken::Nothing, 2));
    check_fails("ring, no fence of a sleeper", 2, || {
        one_and_one::<Twin<NO_FENCE_OF_A_SLEEPER>>(Broken::Nothing, 2);
    });
}

#[test]
fn the_checker_sees_a_sleeper_that_is_not_seen() {
    check_fails("ring, no second look", 2, || one_and_one::<Twin<NO_SECOND_LOOK>>(Broken::Nothing, 1));
    check_fails("ring, sleeps on the counter only", 3, || {
        one_and_one::<Twin<SLEEPS_ON_THE_COUNTER_ONLY>>(Broken::Nothing, 2);
    });
    check_fails("ring, lowers silently", 3, || one_and_one::<Twin<LOWERS_SILENTLY>>(Broken::Nothing, 2));
}

#[test]
fn the_checker_sees_a_close_that_is_lost_or_too_soon() {
    check_fails("ring, lowers over closed", 3, || closing::<Twin<LOWERS_OVER_CLOSED>>(1));
    check_fails("ring, ends too soon", 2, || closing::<Twin<ENDS_TOO_SOON>>(1));
}

#[test]
fn the_checker_sees_a_message_before_it_is_there() {
    check_fails("ring, commits too soon", 2, || one_and_one::<Twin<COMMITS_TOO_SOON>>(Broken::Nothing, 1));
    check_fails("ring, commits without order", 2, || {
        one_and_one::<Twin<COMMITS_RELAXED>>(Broken::Nothing, 1);
    });
}

#[test]
fn the_checker_sees_lost_wakes_and_a_sleep_in_two_steps() {
    check_fails("ring, lost wakes", 2, || one_and_one::<Ring>(Broken::LosesWakes, 1));
    check_fails("ring, sleep in two steps", 2, || one_and_one::<Ring>(Broken::SleepsInTwoSteps, 1));
}
