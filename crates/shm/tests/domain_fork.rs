//! A forked child in its parent's domain: a slot of its own, and nothing of its parent's.
//!
//! # Safety
//! The forks are made by libc's `fork`; each child runs one function and ends with `_exit`.
#![allow(unsafe_code, reason = "fork has no safe form")]

use procession_raw::{Id, Owners};
use procession_shm::domain::Domain;
use procession_testkit::roles::Role;
use procession_testkit::{guarded, role};

/// Runs `child` in a forked child, which reports by its exit code.
fn in_a_fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child uses what was made before the fork and libc's allocator, which can be used after a fork; no
    // other thread of this process holds a lock of the domain's registry; it never returns from here.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(99);
        procession_sys::child::end_now(code);
    }
    let mut status = 0;
    // SAFETY: waits for the child just made, and writes one local variable.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
    libc::WEXITSTATUS(status)
}

/// A forked child that joins, and forks one that does the same.
fn generations(domain: &Domain, ancestors: &[Id], depth: u32) -> i32 {
    in_a_fork(|| {
        if *domain != Domain::current().expect("inherited") {
            return 1;
        }
        let own = domain.join().expect("there is room");
        if ancestors.contains(&own) || ancestors.iter().any(|id| domain.is_dead(*id)) {
            return 2;
        }
        let slots: Vec<_> = ancestors.iter().map(|id| id.slot()).collect();
        if slots.contains(&own.slot()) || domain.join() != Ok(own) {
            return 3;
        }
        let below =
            if depth == 0 { 0 } else { generations(domain, &[ancestors, &[own]].concat(), depth - 1) };
        if domain.is_dead(own) || ancestors.iter().any(|id| domain.is_dead(*id)) { 4 } else { below }
    })
}

#[test]
fn a_forked_child_joins_anew_and_its_parent_stays() {
    let check = || {
        let domain = Domain::current().unwrap();
        let id = domain.join().unwrap();
        assert_eq!(generations(&domain, &[id], 2), 0);
        assert!(!domain.is_dead(id));
        assert_eq!(domain.join(), Ok(id));
    };
    if role().is_some() {
        return check();
    }
    guarded(|| {
        check();
        let without = Role::new("without").env(procession_sys::caps::SWITCH, "robust_list").spawn();
        without.wait_with_output(std::time::Duration::from_secs(60)).expect_success();
    });
}

#[test]
fn a_forked_child_that_never_joins_changes_nothing() {
    guarded(|| {
        let domain = Domain::create().unwrap();
        let id = domain.join().unwrap();
        let before = domain.occupancy();
        assert_eq!(in_a_fork(|| i32::from(domain.is_dead(id))), 0);
        assert_eq!(domain.occupancy(), before);
        assert!(!domain.is_dead(id));
    });
}
