//! What is done once: by one thread at a time, visible to all who find it done, and by another if that one fails.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use procession_raw::{Begin, Forever, Once};

use crate::support::{Broken, Domain, be, check, check_fails};

/// How the first thread that runs it ends.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Finishes,
    GivesUp,
    Dies,
}

/// So many come; the one in slot 0, if it is to run it, ends as told.
fn come(broken: Broken, threads: usize, first: First) {
    let shared = Arc::new((Domain::broken(broken), Once::new(), UnsafeCell::new(0)));
    let go = move |(domain, once, data): &(Domain, Once, UnsafeCell<u32>), slot| {
        be(slot);
        let Begin::Run(held) = once.begin(domain, domain, &Forever).unwrap() else {
            return data.with(|_| ());
        };
        data.with_mut(|_| ());
        match first {
            First::GivesUp if slot == 0 => once.give_up(domain, held.me).unwrap(),
            First::Dies if slot == 0 => domain.die(),
            _ => once.finish(domain, held.me).unwrap(),
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

#[test]
fn two_and_three_come() {
    check("once", 5, || come(Broken::Nothing, 2, First::Finishes));
    check("once, three threads", 2, || come(Broken::Nothing, 3, First::Finishes));
}

#[test]
fn who_gives_up_is_followed() {
    check("once, the first gives up", 2, || come(Broken::Nothing, 3, First::GivesUp));
}

#[test]
fn who_dies_is_followed() {
    check("once, the first dies", 4, || come(Broken::Nothing, 2, First::Dies));
    check("once, the first of three dies", 1, || come(Broken::Nothing, 3, First::Dies));
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("once, lost wakes", 3, || come(Broken::LosesWakes, 2, First::Finishes));
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("once, sleep in two steps", 3, || come(Broken::SleepsInTwoSteps, 2, First::Finishes));
}

#[test]
fn the_checker_sees_two_who_run_it() {
    check_fails("once, the living are dead", 3, || come(Broken::BuriesTheLiving, 2, First::Finishes));
}
