//! Children of a block.

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_process::{JoinError, Signal, scope};
use procession_testkit::Identity;

use super::{PATIENCE, Start, await_start, expected, gate, hold, is_taken};

pub(crate) fn a_scope_joins_all(start: Start) {
    let (ours, theirs) = gate();
    let mut all = Vec::new();
    let value = scope(|s| {
        for n in 0..3_u8 {
            let child = s.spawn_with(start(), |n: u8| assert!(n < 3), n).unwrap();
            // It may have ended, and who made it may have waited for it.
            all.extend(Identity::of(child.pid()));
        }
        let child = s.spawn_with(start(), hold, theirs).unwrap();
        all.push(Identity::of(child.pid()).unwrap());
        await_start(&ours);
        ours.send(&5).unwrap();
        let joined = s.spawn(|n: u32| n + 1, 1).unwrap();
        joined.join().unwrap()
    });
    assert_eq!(value.unwrap(), 2);
    assert!(all.iter().all(|child| child.state().is_none()), "all have ended and were waited for");
}

pub(crate) fn a_scope_gives_the_first_failure(start: Start) {
    let (ours, theirs) = gate();
    let mut last = None;
    let outcome = scope(|s| {
        s.spawn_with(start(), |n: u8| n, 1).unwrap();
        // The first in the order of their start, not of their end.
        let first = s.spawn_with(start().name("first"), hold, theirs).unwrap();
        let second = s.spawn_with(start().name("second"), |()| -> () { panic!("earlier") }, ()).unwrap();
        second.wait().unwrap();
        await_start(&ours);
        first.terminate().unwrap();
        last = Identity::of(s.spawn_with(start(), |n: u8| n, 1).unwrap().pid());
    });
    let (who, signal) = expected!(outcome, Err(JoinError::Killed { who, signal, .. }) => (who, signal));
    assert_eq!((who.name.as_str(), signal), ("first", Signal::TERM));
    assert_eq!(last.unwrap().state(), None, "the others were joined all the same");
    drop(ours);
}

pub(crate) fn a_failure_that_was_joined_is_told_once(start: Start) {
    let outcome = scope(|s| {
        let child = s.spawn_with(start(), |()| -> () { panic!("told to the block") }, ()).unwrap();
        let child_again = s.spawn_with(start(), |n: u8| n, 4).unwrap();
        expected!(child.join(), Err(JoinError::Panicked(_)));
        assert_eq!(child_again.join_timeout(PATIENCE).unwrap(), Some(4));
        assert!(is_taken(&child_again.try_join()));
        7
    });
    assert_eq!(outcome.unwrap(), 7);
}

pub(crate) fn a_panicking_block_ends_its_children(start: Start) {
    let (ours, theirs) = gate();
    let mut running = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            running = Identity::of(s.spawn_with(start(), hold, theirs).unwrap().pid());
            await_start(&ours);
            panic!("the block");
        })
    }));
    assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"the block"));
    assert_eq!(running.unwrap().state(), None);
}
