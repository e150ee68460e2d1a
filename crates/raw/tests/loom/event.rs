//! The event: who waits when it is set is released, also if it is cleared at once, and sees what the setter did.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_raw::{Event, Forever, Park, Waited};

use crate::support::{Broken, Domain, be, check, check_fails};

/// What is under test, and what a twin of it does instead.
trait Flag: Default + Send + Sync + 'static {
    fn set(&self, park: &impl Park);
    fn clear(&self);
    fn wait(&self, park: &impl Park);
}

impl Flag for Event {
    fn set(&self, park: &impl Park) {
        self.set(park);
    }

    fn clear(&self) {
        self.clear();
    }

    fn wait(&self, park: &impl Park) {
        assert!(self.wait(park, &Forever));
    }
}

/// A flag without generations: who is woken looks at the flag alone.
#[derive(Default)]
struct Forgetful(AtomicU32);

impl Flag for Forgetful {
    fn set(&self, park: &impl Park) {
        park.store_and_wake(&self.0, 1, u32::MAX);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn wait(&self, park: &impl Park) {
        while self.0.load(Ordering::Acquire) == 0 {
            park.wait(&self.0, 0, None);
        }
    }
}

/// Raises a flag when somebody is about to sleep: who does that has looked at the event, so it is waiting.
struct Announced {
    domain: Domain,
    waiting: AtomicU32,
}

impl Park for Announced {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited {
        self.waiting.store(1, Ordering::Release);
        self.domain.wait(word, expected, timeout)
    }

    fn wait_any(&self, words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> Waited {
        self.domain.wait_any(words, timeout)
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        self.domain.wake(word, n)
    }

    fn store_and_wake(&self, word: &AtomicU32, value: u32, n: u32) {
        self.domain.store_and_wake(word, value, n);
    }
}

/// A setter and two who wait.
fn set_once(broken: Broken) {
    let shared = Arc::new((Domain::broken(broken), Event::new(), UnsafeCell::new(0)));
    let waiters = [1, 2].map(|slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (domain, event, data) = &*shared;
            be(slot);
            assert!(event.wait(domain, &Forever));
            data.with(|_| ());
        })
    });
    let (domain, event, data) = &*shared;
    be(0);
    data.with_mut(|_| ());
    event.set(domain);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

/// One waits; the other sets, and clears at once if it saw that the first was waiting.
fn set_and_clear<F: Flag>() {
    let park = Announced { domain: Domain::broken(Broken::Nothing), waiting: AtomicU32::new(0) };
    let shared = Arc::new((park, F::default()));
    let waiter = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(1);
            shared.1.wait(&shared.0);
        })
    };
    let (park, flag) = &*shared;
    be(0);
    let waiting = park.waiting.load(Ordering::Acquire) == 1;
    flag.set(park);
    if waiting {
        flag.clear();
    }
    waiter.join().unwrap();
}

#[test]
fn two_wait_for_one_set() {
    check("event", 3, || set_once(Broken::Nothing));
}

#[test]
fn a_quick_set_and_clear_strands_nobody() {
    check("event, set and clear", 4, set_and_clear::<Event>);
}

#[test]
fn the_checker_sees_a_flag_without_generations() {
    check_fails("event without generations", 4, set_and_clear::<Forgetful>);
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("event, sleep in two steps", 3, || set_once(Broken::SleepsInTwoSteps));
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("event, lost wakes", 3, || set_once(Broken::LosesWakes));
}
