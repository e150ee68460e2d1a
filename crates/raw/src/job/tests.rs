//! The word of a job: its stages, its steps, and who sleeps until its end.

use super::*;
use crate::world::{Director, State, World};

const SEAT: Stage = Stage::Leased { seat: 3, n: 1 };

fn all() -> [Stage; 7] {
    let most = Stage::Leased { seat: Stage::SEATS - 1, n: Stage::MOST };
    [
        Stage::Free,
        Stage::Owned(Id::new(4095, 9)),
        Stage::queued(u32::MAX),
        SEAT,
        most,
        Stage::Left(7),
        Stage::Buried(1),
    ]
}

#[test]
fn every_stage_is_a_word_and_every_word_some_stage() {
    for stage in all() {
        assert_eq!(Stage::of(stage.word()), stage);
        assert_eq!(Stage::of(stage.word() | AWAITED), stage);
        assert_eq!(stage.word() & AWAITED, 0);
    }
    for word in [1, 7 << 29, u32::MAX, OWNED, QUEUED, LEASED, AWAITED] {
        let found = Stage::of(word);
        assert_eq!(Stage::of(found.word()), found);
    }
    assert_eq!(all().map(Stage::is_unfinished), [false, false, true, true, true, true, false]);
    let more = Stage::leased_after(Stage::MOST, 3);
    assert_eq!((Stage::leased_after(0, 3), more), (SEAT, Stage::Leased { seat: 3, n: Stage::MOST }));
}

#[test]
fn each_step_is_from_one_stage_to_the_next() {
    let mut d = Director::new(Job::new());
    let n = d.spawn(|w| {
        let (job, me) = (&w.shared, w.me().unwrap());
        assert!(job.take(w, me) && !job.take(w, me));
        for (now, next) in
            [(Stage::Owned(me), Stage::queued(5)), (Stage::queued(5), SEAT), (SEAT, Stage::Left(1))]
        {
            assert!(!job.finish(w, next) && !job.change(next, now) && job.await_end(next).is_none());
            assert!(job.change(now, next) && !job.change(now, next));
            assert!(job.current() == next && !job.take(w, me));
        }
        assert!(!job.bury(w, SEAT) && job.bury(w, Stage::Left(1)) && !job.bury(w, Stage::Buried(1)));
        assert!(job.finish(w, Stage::Buried(1)) && !job.finish(w, Stage::Buried(1)));
        assert_eq!(job.current(), Stage::Free);
    });
    d.run_on(n);
    // Who dies while it writes is followed.
    let n = d.spawn(|w| assert!(w.shared.take(w, w.me().unwrap()) && w.shared.current() == Stage::Free));
    d.run(n, 2);
    d.kill(n);
    let n = d.spawn(|w| assert!(w.shared.take(w, w.me().unwrap())));
    d.run_on(n);
}

fn wait(w: &World<Job>) {
    while w.shared.current().is_unfinished() {
        if let Some(word) = w.shared.await_end(w.shared.current()) {
            w.wait_any(&[word], Some(core::time::Duration::from_millis(50)));
        }
    }
}

fn leased() -> Job {
    Job { word: AtomicU32::new(SEAT.word()) }
}

/// Killed at any access, it has ended the job and woken who waits, or done nothing.
#[test]
fn the_end_and_the_wake_are_one_step() {
    for steps in 0.. {
        let mut d = Director::new(leased());
        let waiter = d.spawn(wait);
        d.run_on(waiter);
        let worker = d.spawn(|w| assert!(w.shared.finish(w, SEAT)));
        let more = d.run_and_kill(worker, steps);
        let is_done = d.world.shared.word.peek() == 0;
        assert_eq!(d.state(waiter) != State::Asleep, is_done, "after {steps}");
        if !more {
            return assert!(is_done && steps > 1);
        }
    }
}

#[test]
fn who_waits_goes_on_when_it_only_moves() {
    let mut d = Director::new(leased());
    let waiter = d.spawn(wait);
    d.run_on(waiter);
    let worker = d.spawn(|w| {
        let other = Stage::leased_after(1, 4);
        assert!(w.shared.change(SEAT, Stage::Left(1)) && w.shared.change(Stage::Left(1), other));
        assert!(w.shared.bury(w, other));
    });
    d.run(worker, 5);
    assert_eq!(d.state(waiter), State::Asleep);
    d.run_on(worker);
    assert_ne!(d.state(waiter), State::Asleep);
    d.run_on(waiter);
    assert_eq!(d.state(waiter), State::Done);
}
