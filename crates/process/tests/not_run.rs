//! A child that starts, and then lacks what its task needs: the parent is told so, and not that the task failed.
//!
//! # Safety
//! `setrlimit` gets a pointer to a local variable.
#![allow(unsafe_code, reason = "sets limits that children inherit")]

use procession_process::{JoinError, spawn};
use procession_testkit::guarded;

/// Sets the soft limit of a resource; answers the one before.
fn set_soft(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local variable.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: the pointer is to a local variable.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
    before
}

/// The stack of the task's thread is as large as a main thread's may be, which here is more than the address space.
#[test]
fn a_child_without_room_for_a_thread() {
    guarded(|| {
        let stack = set_soft(libc::RLIMIT_STACK, 1 << 30);
        let space = set_soft(libc::RLIMIT_AS, 1 << 29);
        let child = spawn(|()| -> () { panic!("it ran") }, ()).unwrap();
        set_soft(libc::RLIMIT_AS, space);
        set_soft(libc::RLIMIT_STACK, stack);
        let outcome = child.join();
        let Err(JoinError::NotRun { who, error }) = outcome else { panic!("{outcome:?}") };
        assert!(error.contains("os error") && !who.name.is_empty(), "{error}");
        spawn(|()| (), ()).unwrap().join().unwrap();
    });
}
