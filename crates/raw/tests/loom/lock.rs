//! The lock: one holder at a time, its stores are seen by the next, no waiter is left asleep, the dead have heirs.

use std::ops::Range;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread::{self, JoinHandle};
use procession_raw::{Forever, Held, Lock, Protected};

use crate::support::{Broken, Domain, be, check, check_fails, id};

struct Shared {
    domain: Domain,
    lock: Lock,
    /// The checker fails any access that does not happen before or after every other.
    data: UnsafeCell<u32>,
}

impl Shared {
    fn new(broken: Broken) -> Arc<Self> {
        Arc::new(Self { domain: Domain::broken(broken), lock: Lock::new(), data: UnsafeCell::new(0) })
    }

    fn enter(&self, slot: usize) -> Held {
        be(slot);
        let held = self.lock.lock(&self.domain, &self.domain, &Forever).unwrap();
        self.data.with_mut(|_| ());
        held
    }

    fn pass(&self, slot: usize) -> Protected {
        let held = self.enter(slot);
        self.lock.unlock(&self.domain, held.me).unwrap();
        held.state
    }
}

/// Every thread passes the lock once.
fn threads(broken: Broken, n: usize) -> Vec<Protected> {
    let shared = Shared::new(broken);
    let others = pass_all(&shared, 1..n);
    let mut states = vec![shared.pass(0)];
    states.extend(others.into_iter().map(|other| other.join().unwrap()));
    states
}

/// The first thread takes the lock before there are others, and dies inside.
fn first_dies(n: usize) -> Vec<Protected> {
    let shared = Shared::new(Broken::Nothing);
    let _ = shared.enter(0);
    let others = pass_all(&shared, 1..n);
    shared.domain.die();
    others.into_iter().map(|other| other.join().unwrap()).collect()
}

/// The same, and the second dies when it has got it: the third goes on.
fn two_die(broken: Broken) -> Protected {
    let shared = Shared::new(broken);
    let _ = shared.enter(0);
    let last = pass_all(&shared, 2..3).remove(0);
    let heir = Arc::clone(&shared);
    let heir = thread::spawn(move || {
        let _ = heir.enter(1);
        heir.domain.die();
    });
    shared.domain.die();
    heir.join().unwrap();
    last.join().unwrap()
}

/// The first thread takes the lock when it gets it, and dies inside.
fn one_dies(n: usize) -> Vec<Protected> {
    let shared = Shared::new(Broken::Nothing);
    let others = pass_all(&shared, 1..n);
    let _ = shared.enter(0);
    shared.domain.die();
    others.into_iter().map(|other| other.join().unwrap()).collect()
}

fn pass_all(shared: &Arc<Shared>, slots: Range<usize>) -> Vec<JoinHandle<Protected>> {
    let start = |slot| {
        let shared = Arc::clone(shared);
        thread::spawn(move || shared.pass(slot))
    };
    slots.map(start).collect()
}

#[test]
fn three_threads_pass_one_after_the_other() {
    check("lock", 2, || {
        let states = threads(Broken::Nothing, 3);
        assert!(states.iter().all(|state| *state == Protected::Consistent));
    });
}

#[test]
fn two_threads_with_more_preemptions() {
    check("lock, two threads", 4, || drop(threads(Broken::Nothing, 2)));
}

#[test]
fn a_holder_that_dies_has_one_heir_and_all_go_on() {
    check("lock, the holder dies", 2, || {
        let states = first_dies(3);
        assert_eq!(states.iter().filter(|state| **state == Protected::OwnerDied(id(0))).count(), 1);
    });
}

#[test]
fn an_heir_that_dies_has_an_heir() {
    check("lock, the heir dies", 2, || assert_ne!(two_die(Broken::Nothing), Protected::Consistent));
}

#[test]
fn a_thread_that_dies_whenever_it_got_the_lock_does_not_stop_the_other() {
    check("lock, one of two dies", 4, || drop(one_dies(2)));
}

/// Not a fault but the reason for the tick: see "stale watch" in the README.
#[test]
fn the_checker_sees_that_a_stale_watch_needs_the_tick() {
    check_fails("lock, stale watch without ticks", 2, || drop(one_dies(3)));
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("lock, sleep in two steps", 2, || drop(threads(Broken::SleepsInTwoSteps, 2)));
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("lock, lost wakes", 2, || drop(threads(Broken::LosesWakes, 2)));
}

#[test]
fn the_checker_sees_an_obituary_that_is_kept() {
    check_fails("lock, obituary kept", 2, || {
        two_die(Broken::KeepsObituaries);
    });
}

#[test]
fn the_checker_sees_a_lock_taken_from_the_living() {
    check_fails("lock, taken from the living", 2, || drop(threads(Broken::BuriesTheLiving, 2)));
}
