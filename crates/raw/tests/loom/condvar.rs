//! The condition variable: nobody sleeps through a change, whether one is notified or all.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_raw::{Condvar, Forever, Lock, Obituary};

use crate::support::{Broken, Domain, be, check, check_fails};

struct Shared {
    domain: Domain,
    lock: Lock,
    changed: Condvar,
    obituary: Obituary,
    items: AtomicU32,
}

/// How a thread waits: as the protocol has it, or looking at the sequence only after it let go of the lock.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    Right,
    EnrollsLate,
}

impl Shared {
    fn take(&self, wait: Wait) {
        let Self { domain, lock, changed, obituary, items } = self;
        let mut me = lock.lock(domain, domain, &Forever).unwrap().me;
        while items.load(Ordering::Relaxed) == 0 {
            if wait == Wait::Right {
                me = changed.wait((lock, me), obituary, domain, domain, &Forever).unwrap().1.me;
            } else {
                lock.unlock(domain, me).unwrap();
                let enrolled = changed.enroll(obituary);
                changed.sleep(enrolled, obituary, domain, &Forever);
                me = lock.lock(domain, domain, &Forever).unwrap().me;
            }
        }
        items.fetch_sub(1, Ordering::Relaxed);
        lock.unlock(domain, me).unwrap();
    }

    fn put(&self, n: u32) {
        let Self { domain, lock, items, .. } = self;
        let me = lock.lock(domain, domain, &Forever).unwrap().me;
        items.fetch_add(n, Ordering::Relaxed);
        lock.unlock(domain, me).unwrap();
    }
}

/// So many take one item each; what this thread puts is for `puts` to say.
fn takers(broken: Broken, n: usize, wait: Wait, puts: fn(&Shared)) {
    let (domain, lock) = (Domain::broken(broken), Lock::new());
    let (changed, obituary, items) = (Condvar::new(), Obituary::new(), AtomicU32::new(0));
    let shared = Arc::new(Shared { domain, lock, changed, obituary, items });
    let start = |slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(slot);
            shared.take(wait);
        })
    };
    let takers: Vec<_> = (1..=n).map(start).collect();
    be(0);
    puts(&shared);
    takers.into_iter().for_each(|taker| taker.join().unwrap());
}

fn all(shared: &Shared) {
    shared.put(2);
    shared.changed.notify_all(&shared.domain);
}

fn singly(shared: &Shared) {
    for _ in 0..2 {
        shared.put(1);
        shared.changed.notify_one(&shared.domain);
    }
}

fn one(shared: &Shared) {
    shared.put(1);
    shared.changed.notify_one(&shared.domain);
}

#[test]
fn all_are_notified() {
    check("condvar, notify all", 3, || takers(Broken::Nothing, 2, Wait::Right, all));
}

#[test]
fn each_is_notified() {
    check("condvar, notify each", 3, || takers(Broken::Nothing, 2, Wait::Right, singly));
}

#[test]
fn one_is_notified() {
    check("condvar, notify one", 4, || takers(Broken::Nothing, 1, Wait::Right, one));
}

#[test]
fn the_checker_sees_a_place_taken_without_the_lock() {
    check_fails("condvar, enrolls late", 3, || takers(Broken::Nothing, 1, Wait::EnrollsLate, one));
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("condvar, sleep in two steps", 3, || takers(Broken::SleepsInTwoSteps, 1, Wait::Right, one));
}
