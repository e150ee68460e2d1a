//! Either side of a worker's lane killed wherever it changed: a job is taken whole or is not there, what is done is told with
//! all that belongs to it, and who is left is never kept waiting by a word of the dead.
//!
//! The lane is compiled in here a second time, since it is nobody's business outside of the pool.

use std::cell::RefCell;
use std::convert::Infallible;
use std::os::fd::OwnedFd;

use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded_for, need, role};

#[allow(dead_code, reason = "the pool needs all of it, a kill point only some")]
#[path = "../src/journal.rs"]
mod journal;
#[allow(dead_code, reason = "the pool needs all of it, a kill point only some")]
#[path = "../src/lane.rs"]
mod lane;

use lane::{Entry, Lane};

const FIRST: &[u8] = b"the first job";
const SECOND: &[u8] = b"the second, somewhat longer job";
/// Where the ring is after the first, and after both.
const AFTER_FIRST: u64 = 8 + 16;
const AFTER_BOTH: u64 = AFTER_FIRST + 8 + 32;

fn map(memory: &Memfd) -> Mapping {
    Mapping::shared(memory).expect("a mapping")
}

/// A lane with one job in it, whose worker has done job 6.
fn prepared() -> Memfd {
    let memory = Memfd::sealed("lane", journal::SIZE).expect("memory");
    let map = map(&memory);
    let (lane, mut head) = (Lane::of(&map), 0);
    lane.finish(6, 60, 1);
    lane.post(&mut head, Some(FIRST)).expect("there is room");
    assert_eq!(head, AFTER_FIRST);
    memory
}

/// Kills a process within `operation`; what the other one then sees, by `read`, must go through `states`, in this order.
fn sweep<S: PartialEq + std::fmt::Debug>(
    scenario: &str,
    operation: fn(Lane<'_>),
    read: fn(Lane<'_>) -> S,
    states: &[S],
) {
    if role().is_some() {
        let memory: OwnedFd = roles::handed("lane");
        let map = map(&Memfd::adopt(memory).expect("a memfd"));
        step::here();
        operation(Lane::of(&map));
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
            Role::new("victim").hand("lane", theirs).into_command()
        };
        let mut seen = 0;
        let kills = step::sweep_changes(scenario, victim, |n, outcome| {
            let told = read(Lane::of(&map(&memory.borrow())));
            let state = states.iter().position(|state| *state == told);
            let state = state.unwrap_or_else(|| panic!("killed after {n} instructions: {told:?}"));
            if matches!(outcome, Outcome::Ended { .. }) {
                return assert_eq!(state, states.len() - 1, "all was done");
            }
            assert!(state >= seen, "{told:?} after {:?}, at {n}", states[seen]);
            seen = state;
        });
        assert_eq!(seen, states.len() - 1, "all was seen: {kills}");
    });
}

/// What a worker finds.
fn take_all(lane: Lane<'_>) -> Vec<Entry> {
    let mut taken = 0;
    std::iter::from_fn(|| lane.take(&mut taken)).collect()
}

fn job(bytes: &[u8]) -> Entry {
    Entry::Job(bytes.to_vec())
}

#[test]
fn a_job_is_posted() {
    fn post(lane: Lane<'_>) {
        lane.post(&mut { AFTER_FIRST }, Some(SECOND)).expect("there is room");
    }
    sweep("post a job", post, take_all, &[vec![job(FIRST)], vec![job(FIRST), job(SECOND)]]);
}

#[test]
fn a_job_of_the_socket_is_posted() {
    fn post(lane: Lane<'_>) {
        lane.post(&mut { AFTER_FIRST }, None).expect("there is room");
    }
    sweep("post a mark", post, take_all, &[vec![job(FIRST)], vec![job(FIRST), Entry::Socket]]);
}

/// How many jobs the pool can still post: the room of what a dead worker has taken is there, or is not.
#[test]
fn a_job_is_taken() {
    fn take(lane: Lane<'_>) {
        assert_eq!(lane.take(&mut 0), Some(job(FIRST)));
    }
    fn room(lane: Lane<'_>) -> usize {
        let mut head = AFTER_FIRST;
        (0..).take_while(|_| lane.post(&mut head, None).is_ok()).count()
    }
    let ring = journal::LANE_LEN - 192;
    let all = ring / 8;
    sweep("take a job", take, room, &[all - AFTER_FIRST as usize / 8, all]);
}

#[test]
fn a_job_is_done() {
    fn done(lane: Lane<'_>) -> (u64, Option<(u64, u64)>) {
        // The notes belong to what is done, and are read when that is the job that was given.
        let done = lane.done();
        (done, (done == 7).then(|| lane.done_notes()))
    }
    sweep("a job is done", |lane| lane.finish(7, 70, 2), done, &[(6, None), (7, Some((70, 2)))]);
}

/// Whoever falls asleep and is killed is rung for at most once, and nobody waits for it.
#[test]
fn a_worker_falls_asleep() {
    fn sleep(lane: Lane<'_>) {
        let sleeps = lane.look(AFTER_FIRST, || Ok::<(), Infallible>(()));
        assert_eq!(sleeps, Ok(false));
    }
    fn rings(lane: Lane<'_>) -> (bool, bool, bool) {
        let posted = lane.post(&mut { AFTER_FIRST }, Some(SECOND)).is_ok();
        assert_eq!(take_all(lane).last(), Some(&job(SECOND)));
        (posted, lane.must_ring(), lane.must_ring())
    }
    sweep("fall asleep", sleep, rings, &[(true, false, false), (true, true, false)]);
}

/// What both had said before either was killed, in the words of a lane that both used.
#[test]
fn positions_are_as_this_file_counts_them() {
    let memory = prepared();
    let map = map(&memory);
    let (lane, mut head) = (Lane::of(&map), AFTER_FIRST);
    lane.post(&mut head, Some(SECOND)).expect("there is room");
    assert_eq!(head, AFTER_BOTH);
}
