//! A forked child has copies of all handles, and owns none of the names.
//!
//! # Safety
//! The child runs destructors, which allocate and make system calls, and ends without returning, also after a panic.
//! glibc makes its allocator usable in a forked child whatever other threads were doing.
#![allow(unsafe_code, reason = "forks")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use procession_shm::{ForeignSegment, Nameable, Segment};
use procession_testkit::Counted;
use rustix::process::{Pid, WaitOptions, waitpid};

/// Runs `child` in a forked child and waits for its end.
fn forked(child: impl FnOnce()) {
    // SAFETY: see the page.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
        // SAFETY: ends the process at once, without the harness's exit handlers.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

#[test]
fn names_outlive_the_copies_of_a_forked_child() {
    let prefix = format!("procession-fork.{}", std::process::id());
    Counted::new().names(&prefix).names(format!("procession.{prefix}")).run(|| {
        let named = Segment::create_named(&prefix, 8).unwrap();
        let mut foreign = Some(ForeignSegment::create(&prefix, 8).unwrap());
        let mut copy = Some(named);
        forked(|| {
            copy.take().unwrap().put(0, &7_u64).unwrap();
            drop(foreign.take());
        });
        assert_eq!(Segment::open_named(&prefix).unwrap().get::<u64>(0).unwrap(), 7);
        assert!(Path::new("/dev/shm").join(&prefix).exists());
        drop((copy, foreign));
        assert!(!Path::new("/dev/shm").join(&prefix).exists() && Segment::open_named(&prefix).is_err());
    });
}
