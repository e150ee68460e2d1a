//! A worker killed wherever its journal changed: the pool reads an answer whole or not at all.
//!
//! The journal is compiled in here a second time, since it is nobody's business outside of the pool.

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use procession_sys::memory::Memfd;
use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded_for, need, role};

#[allow(dead_code, reason = "the pool needs all of it, a kill point only some")]
#[path = "../src/journal.rs"]
mod journal;

use journal::{Entries, Journal};

const JOB: u64 = 7;
/// Long enough for words and odd bytes, short enough for a step through every instruction.
const FIRST: &[u8] = b"first answer";
const SECOND: &[u8] = b"the second, somewhat longer answer";

fn open(memory: OwnedFd) -> Journal {
    Journal::open(&Memfd::adopt(memory).expect("a memfd")).expect("a mapping")
}

/// A journal in which one item is answered and the next one runs.
fn prepared() -> Memfd {
    let memory = Memfd::sealed("journal", journal::SIZE).expect("memory");
    let journal = Journal::open(&memory).expect("a mapping");
    journal.begin(JOB);
    assert!(journal.start(0));
    assert!(journal.append(FIRST));
    assert!(journal.start(1));
    memory
}

fn entries(base: usize, answers: &[&[u8]], started: usize) -> Option<Entries> {
    Some(Entries { base, answers: answers.iter().map(|answer| answer.to_vec()).collect(), started })
}

/// Kills a worker within `operation`; what the pool reads of `job` must go through `states`, in this order.
fn sweep(scenario: &str, operation: fn(&Journal), job: u64, states: &[Option<Entries>]) {
    if role().is_some() {
        let journal = open(roles::handed("journal"));
        step::here();
        operation(&journal);
        return step::end();
    }
    guarded_for(std::time::Duration::from_secs(3000), || {
        if !need("ptrace") {
            return;
        }
        let memory = RefCell::new(prepared());
        let victim = || {
            memory.replace(prepared());
            let theirs = memory.borrow().try_clone().expect("a descriptor").into_fd();
            Role::new("worker").hand("journal", theirs).into_command()
        };
        let mut seen = 0;
        let kills = step::sweep_changes(scenario, victim, |n, outcome| {
            let read = Journal::open(&memory.borrow()).expect("a mapping").read(job);
            let state = states.iter().position(|state| *state == read);
            let state = state.unwrap_or_else(|| panic!("killed after {n} instructions: {read:?}"));
            if matches!(outcome, Outcome::Ended { .. }) {
                return assert_eq!(state, states.len() - 1, "all was done");
            }
            assert!(state >= seen, "{read:?} after {:?}, at {n}", states[seen]);
            seen = state;
        });
        assert_eq!(seen, states.len() - 1, "all was seen: {kills}");
    });
}

#[test]
fn an_answer_is_appended() {
    let states = [entries(0, &[FIRST], 2), entries(0, &[FIRST, SECOND], 2)];
    sweep("append", |journal| assert!(journal.append(SECOND)), JOB, &states);
}

/// The pool asks for the job that it gave last: it sees none of it, or all words anew.
#[test]
fn a_job_is_begun() {
    sweep("begin a job", |journal| journal.begin(JOB + 1), JOB + 1, &[None, entries(0, &[], 0)]);
}

/// A message took the answers: they stand here still, or none do, then the base tells that the message has them.
#[test]
fn a_flush_is_finished() {
    let states = [entries(0, &[FIRST], 2), entries(0, &[], 2), entries(1, &[], 2)];
    sweep("finish a flush", |journal| journal.restart(1), JOB, &states);
}

#[test]
fn an_item_is_begun() {
    let states = [entries(0, &[FIRST], 2), entries(0, &[FIRST], 3)];
    sweep("begin an item", |journal| assert!(journal.start(2)), JOB, &states);
}
