//! The barrier: all meet and see what the others did before, exactly one leads, and a death is an answer to all.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;
use procession_raw::{Attached, Barrier, Forever, Meeting, Park, Place, Unmet};

use crate::support::{Broken, Domain, be, check, check_fails};

struct Shared {
    domain: Domain,
    meeting: Meeting,
    places: [Place; 2],
    data: [UnsafeCell<u32>; 2],
}

impl Shared {
    fn barrier(&self) -> Barrier<'_> {
        Barrier::new(&self.meeting, &self.places)
    }

    fn attach(&self, slot: usize) -> Attached {
        be(slot);
        self.barrier().attach(&self.domain).unwrap()
    }

    /// Writes its own, meets, reads the other's.
    fn meet(&self, at: Attached) -> Result<bool, Unmet> {
        self.data[at.place].with_mut(|_| ());
        let met = self.barrier().wait(at, &self.domain, &self.domain, &Forever);
        if met.is_ok() {
            self.data[1 - at.place].with(|_| ());
        }
        met
    }
}

/// What the second party does after it attached.
#[derive(Clone, Copy, PartialEq)]
enum Second {
    Meets,
    Dies,
    MeetsAndDies,
}

fn two(broken: Broken, second: Second) {
    let (domain, meeting) = (Domain::broken(broken), Meeting::new());
    let shared = Arc::new(Shared { domain, meeting, places: Default::default(), data: Default::default() });
    let (theirs, ours) = (shared.attach(1), shared.attach(0));
    let other = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(1);
            let met = (second != Second::Dies).then(|| shared.meet(theirs));
            if second != Second::Meets {
                shared.domain.die();
            }
            met
        })
    };
    let (met, theirs) = (shared.meet(ours), other.join().unwrap());
    match theirs {
        Some(theirs) => assert_ne!(met.unwrap(), theirs.unwrap(), "one of them leads"),
        None => assert_eq!(met, Err(Unmet::Broken)),
    }
}

/// One waits alone, the other aborts without having arrived.
fn abort() {
    let (domain, meeting) = (Domain::broken(Broken::Nothing), Meeting::new());
    let shared = Arc::new(Shared { domain, meeting, places: Default::default(), data: Default::default() });
    let ours = shared.attach(0);
    let other = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(1);
            shared.barrier().abort(&shared.domain);
        })
    };
    assert_eq!(shared.meet(ours), Err(Unmet::Broken));
    other.join().unwrap();
}

/// Two guests, who come without names and see what the other did.
fn guests() {
    let (domain, meeting) = (Domain::broken(Broken::Nothing), Meeting::new());
    let shared = Arc::new(Shared { domain, meeting, places: Default::default(), data: Default::default() });
    let meet = |shared: &Shared, slot: usize| {
        be(slot);
        shared.data[slot].with_mut(|_| ());
        let place = shared.barrier().wait_as_guest(&shared.domain, &shared.domain, &Forever).unwrap();
        shared.data[1 - slot].with(|_| ());
        place
    };
    let other = Arc::clone(&shared);
    let other = thread::spawn(move || meet(&other, 1));
    assert_ne!(meet(&shared, 0), other.join().unwrap(), "one of them leads");
}

/// A twin without the fence: each stores its arrival and looks for the other's.
fn unfenced(with_fence: bool) {
    let shared =
        Arc::new((Domain::broken(Broken::Nothing), [(); 2].map(|()| AtomicU32::new(0)), AtomicU32::new(0)));
    let meet = move |(domain, arrived, met): &(Domain, [AtomicU32; 2], AtomicU32), slot: usize| {
        be(slot);
        arrived[slot].store(1, Ordering::Release);
        if with_fence {
            fence(Ordering::SeqCst);
        }
        if arrived[1 - slot].load(Ordering::Acquire) == 1 {
            domain.store_and_wake(met, 1, u32::MAX);
        }
        while met.load(Ordering::Acquire) == 0 {
            domain.wait(met, 0, None);
        }
    };
    let other = Arc::clone(&shared);
    let other = thread::spawn(move || meet(&other, 1));
    meet(&shared, 0);
    other.join().unwrap();
}

#[test]
fn two_meet() {
    check("barrier", 3, || two(Broken::Nothing, Second::Meets));
}

#[test]
fn two_guests_meet() {
    check("barrier, guests", 3, guests);
}

#[test]
fn who_dies_before_it_arrives_breaks_it() {
    check("barrier, a party dies", 4, || two(Broken::Nothing, Second::Dies));
}

#[test]
fn who_dies_after_it_met_breaks_nothing() {
    check("barrier, a party dies later", 3, || two(Broken::Nothing, Second::MeetsAndDies));
}

#[test]
fn an_abort_wakes_who_waits() {
    check("barrier, abort", 4, abort);
}

#[test]
fn the_checker_sees_a_missing_fence() {
    check("barrier, the twin with its fence", 4, || unfenced(true));
    check_fails("barrier, unfenced", 4, || unfenced(false));
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("barrier, lost wakes", 3, || two(Broken::LosesWakes, Second::Meets));
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("barrier, sleep in two steps", 3, || two(Broken::SleepsInTwoSteps, Second::Meets));
}
