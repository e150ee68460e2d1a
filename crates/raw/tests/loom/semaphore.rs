//! Semaphore and tokens: never more holders than permits, no waiter is left asleep, permits of the dead come back.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_raw::{EventCount, Forever, Park, Permit, Semaphore, Tokens};

use crate::support::{Broken, Domain, be, check, check_fails};

struct Shared {
    domain: Domain,
    queue: EventCount,
    permits: [Permit; 1],
    data: UnsafeCell<u32>,
}

/// All pass a semaphore with one permit, which is a lock; the first may die inside.
fn pass(broken: Broken, threads: usize, first_dies: bool) {
    let (domain, queue) = (Domain::broken(broken), EventCount::new());
    let shared = Arc::new(Shared { domain, queue, permits: [Permit::new()], data: UnsafeCell::new(0) });
    let go = move |shared: &Shared, slot| {
        let Shared { domain, queue, permits, data } = shared;
        be(slot);
        let semaphore = Semaphore::new(queue, permits);
        let acquired = semaphore.acquire(domain, domain, &Forever).unwrap();
        data.with_mut(|_| ());
        if first_dies && slot == 0 {
            domain.die();
        } else {
            semaphore.release(domain, acquired.permit, acquired.me).unwrap();
        }
    };
    let start = |slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || go(&shared, slot))
    };
    let others: Vec<_> = (1..threads).map(start).collect();
    go(&shared, 0);
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// A counter to take from and to give to.
trait Counter: Default + Send + Sync + 'static {
    fn take(&self, domain: &Domain);
    fn give(&self, domain: &Domain);
}

impl Counter for Tokens {
    fn take(&self, domain: &Domain) {
        assert!(self.acquire(domain, &Forever));
    }

    fn give(&self, domain: &Domain) {
        self.release(domain, 1).unwrap();
    }
}

/// A counter with a flag beside it, and no fence between the two.
#[derive(Default)]
struct Unfenced {
    count: AtomicU32,
    sleepers: AtomicU32,
}

impl Counter for Unfenced {
    fn take(&self, domain: &Domain) {
        let take = || self.count.compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed).is_ok();
        while !take() {
            self.sleepers.store(1, Ordering::Release);
            // The futex looks at the flag, so the count must be looked at again before; with a load that may be old.
            if self.count.load(Ordering::Acquire) == 0 {
                domain.wait(&self.sleepers, 1, None);
            }
        }
    }

    fn give(&self, domain: &Domain) {
        self.count.store(1, Ordering::Release);
        if self.sleepers.load(Ordering::Acquire) == 1 {
            domain.store_and_wake(&self.sleepers, 0, u32::MAX);
        }
    }
}

/// One gives, and so many take.
fn give_and_take<C: Counter>(broken: Broken, n: usize) {
    let shared = Arc::new((Domain::broken(broken), C::default()));
    let start = |slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(slot);
            shared.1.take(&shared.0);
        })
    };
    let takers: Vec<_> = (1..=n).map(start).collect();
    be(0);
    takers.iter().for_each(|_| shared.1.give(&shared.0));
    takers.into_iter().for_each(|taker| taker.join().unwrap());
}

#[test]
fn two_pass_one_after_the_other() {
    check("semaphore", 3, || pass(Broken::Nothing, 2, false));
}

#[test]
fn three_pass_one_after_the_other() {
    check("semaphore, three threads", 1, || pass(Broken::Nothing, 3, false));
}

#[test]
fn a_permit_of_a_dead_holder_comes_back() {
    check("semaphore, a holder dies", 3, || pass(Broken::Nothing, 2, true));
}

#[test]
fn two_take_what_one_gives() {
    check("tokens", 3, || give_and_take::<Tokens>(Broken::Nothing, 2));
}

#[test]
fn the_checker_sees_a_missing_fence() {
    check_fails("tokens beside their flag, unfenced", 3, || give_and_take::<Unfenced>(Broken::Nothing, 1));
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("semaphore, lost wakes", 2, || pass(Broken::LosesWakes, 2, false));
    check_fails("tokens, lost wakes", 2, || give_and_take::<Tokens>(Broken::LosesWakes, 1));
}

#[test]
fn the_checker_sees_a_permit_taken_from_the_living() {
    check_fails("semaphore, taken from the living", 2, || pass(Broken::BuriesTheLiving, 2, false));
}
