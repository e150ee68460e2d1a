//! The copy of the newest message beside the counter: it is that message's, or it is not looked at.

use loom::sync::atomic::{AtomicU64, Ordering, fence};
use procession_raw::{Forever, Owners, Ring, Side};

use super::{Passage, put, run, take};
use crate::support::{Broken, Domain, check, check_fails};

/// A ring by steps, with copies.
struct Posted(Ring);

impl Passage for Posted {
    fn new() -> Self {
        Self(Ring::new())
    }

    fn put(&self, domain: &Domain, slots: u32, fill: impl Fn(u32)) -> bool {
        match self.0.step_at_once(Side::Producers, domain, domain.me().unwrap(), slots) {
            Some(step) => {
                fill(step.at());
                let at = step.at();
                step.end_with(at, &[at.into(); 2]);
                true
            }
            None => Passage::put(&self.0, domain, slots, fill),
        }
    }

    fn take(&self, domain: &Domain, slots: u32, empty: impl Fn(u32)) -> bool {
        match self.0.step_at_once(Side::Consumers, domain, domain.me().unwrap(), slots) {
            Some(step) => {
                let at = step.at();
                if let Some(copy) = step.mail(2) {
                    assert_eq!(copy, (at, [at.into(); 2]));
                }
                empty(at);
                step.end(true);
                true
            }
            None => Passage::take(&self.0, domain, slots, empty),
        }
    }

    fn close(&self, domain: &Domain) {
        self.0.close(domain);
    }
}

/// What a twin does wrong.
const NOTHING: u8 = 0;
/// The note comes after the words.
const NOTES_LAST: u8 = 1;
/// No fence between the note and the words.
const NO_FENCE_OF_THE_WRITER: u8 = 2;
/// No fence between the words and the second look at the note.
const NO_FENCE_OF_THE_READER: u8 = 3;
const NO_SECOND_LOOK: u8 = 4;

/// A copy in plain code, with one fault, beside a ring by turns.
struct Twin<const FAULT: u8> {
    ring: Ring,
    note: AtomicU64,
    words: [AtomicU64; 2],
}

impl<const FAULT: u8> Twin<FAULT> {
    fn post(&self, at: u64) {
        if FAULT != NOTES_LAST {
            self.note.store(at, Ordering::Relaxed);
        }
        if FAULT != NO_FENCE_OF_THE_WRITER {
            fence(Ordering::Release);
        }
        self.words.iter().for_each(|word| word.store(at, Ordering::Relaxed));
        if FAULT == NOTES_LAST {
            self.note.store(at, Ordering::Relaxed);
        }
    }

    fn read(&self, at: u64) -> Option<[u64; 2]> {
        if self.note.load(Ordering::Relaxed) != at {
            return None;
        }
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        if FAULT != NO_FENCE_OF_THE_READER {
            fence(Ordering::Acquire);
        }
        (FAULT == NO_SECOND_LOOK || self.note.load(Ordering::Relaxed) == at).then_some(words)
    }
}

impl<const FAULT: u8> Passage for Twin<FAULT> {
    fn new() -> Self {
        Self {
            ring: Ring::new(),
            note: AtomicU64::new(u64::MAX),
            words: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn put(&self, domain: &Domain, slots: u32, fill: impl Fn(u32)) -> bool {
        let mut turn = self.ring.enter(Side::Producers, domain, domain, &Forever).unwrap();
        assert!(turn.ready(slots, 1).unwrap() > 0, "there is room for all");
        fill(turn.at());
        self.post(turn.at().into());
        turn.commit(1);
        true
    }

    fn take(&self, domain: &Domain, slots: u32, empty: impl Fn(u32)) -> bool {
        loop {
            let mut turn = self.ring.enter(Side::Consumers, domain, domain, &Forever).unwrap();
            if turn.ready(slots, 1).unwrap() > 0 {
                let at = turn.at();
                if turn.other() == at + 1
                    && let Some(words) = self.read(at.into())
                {
                    assert_eq!(words, [at.into(); 2]);
                }
                empty(at);
                turn.commit(1);
                return true;
            }
            let seen = turn.other();
            drop(turn);
            self.ring.nap(Side::Consumers, seen, domain, &[], None);
        }
    }

    fn close(&self, domain: &Domain) {
        self.ring.close(domain);
    }
}

fn one_and_one<P: Passage>(slots: usize) {
    run::<P>(Broken::Nothing, slots, &[put::<P, 2>], &[take::<P, 2>]);
}

#[test]
fn a_copy_is_that_of_the_message() {
    check("mail, one slot", 2, || one_and_one::<Posted>(1));
    check("mail, two slots", 3, || one_and_one::<Posted>(2));
    check("mail, two producers", 2, || {
        run::<Posted>(Broken::Nothing, 2, &[put::<Posted, 1>, put::<Posted, 1>], &[take::<Posted, 2>]);
    });
    check("mail, two consumers", 2, || {
        run::<Posted>(Broken::Nothing, 2, &[put::<Posted, 2>], &[take::<Posted, 1>, take::<Posted, 1>]);
    });
    check("mail, twin", 3, || one_and_one::<Twin<NOTHING>>(2));
}

#[test]
fn the_checker_sees_a_copy_of_another_message() {
    check_fails("mail, note last", 3, || one_and_one::<Twin<NOTES_LAST>>(2));
    check_fails("mail, no fence of the writer", 3, || one_and_one::<Twin<NO_FENCE_OF_THE_WRITER>>(2));
    check_fails("mail, no fence of the reader", 3, || one_and_one::<Twin<NO_FENCE_OF_THE_READER>>(2));
    check_fails("mail, no second look", 3, || one_and_one::<Twin<NO_SECOND_LOOK>>(2));
}
