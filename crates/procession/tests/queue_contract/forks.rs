//! Ends of queues in forked children.
//!
//! # Safety
//! Each child is made by libc's `fork`, runs one function, also to a panic, and ends without returning; glibc makes its
//! allocator usable in a forked child whatever other threads were doing.
#![allow(unsafe_code, reason = "forks")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_queue::{RecvError, bounded, jobs};
use procession_testkit::Identity;
use procession_testkit::processes::Signal;

/// Runs a function in a forked child.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: see the page.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    if pid == 0 {
        let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
        procession_sys::child::end_now(i32::from(failed));
    }
    pid
}

fn status(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: waits for a child made here, and writes one local variable.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
    status
}

pub(crate) fn a_forked_child_uses_both_ends() {
    let (there, from_there) = bounded::<u64>(4).unwrap();
    let (back, from_back) = bounded::<u64>(4).unwrap();
    // This thread has a place in the domain, which is not the child's.
    there.send(0).unwrap();
    assert_eq!(from_there.recv().unwrap(), 0);
    let pid = fork(|| (0..1000).for_each(|_| back.send(from_there.recv().unwrap() + 1).unwrap()));
    for n in 0..1000 {
        there.send(n).unwrap();
        assert_eq!(from_back.recv().unwrap(), n + 1);
    }
    assert_eq!(status(pid), 0);
}

pub(crate) fn an_end_in_a_forked_child_keeps_its_side() {
    let (tx, rx) = bounded::<u64>(4).unwrap();
    let (go, gate) = bounded::<u64>(4).unwrap();
    let mut ours = Some(tx);
    let pid = fork(|| {
        ours.as_ref().unwrap().send(1).unwrap();
        gate.recv().unwrap();
        ours.as_ref().unwrap().send(2).unwrap();
        gate.recv().unwrap();
    });
    drop(ours.take());
    assert_eq!(rx.recv().unwrap(), 1);
    assert!(matches!(rx.try_recv(), Err(RecvError::Empty)));
    go.send(0).unwrap();
    assert_eq!(rx.recv().unwrap(), 2);
    Identity::of(pid.unsigned_abs()).unwrap().kill(Signal::KILL).unwrap();
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    assert_eq!(libc::WTERMSIG(status(pid)), libc::SIGKILL);
}

/// A copy of a job is not the job: the child neither finishes it nor has it.
pub(crate) fn a_job_in_a_forked_child_stays_its_parents() {
    let (tx, rx) = jobs::<u64>(4).unwrap();
    tx.send(1).unwrap();
    let mut job = Some(rx.recv().unwrap());
    let pid = fork(|| {
        drop(job.take());
        tx.send(2).unwrap();
        let own = rx.recv().unwrap();
        assert_eq!((*own, own.deliveries(), tx.unfinished()), (2, 1, 2));
        // It ends with it.
        std::mem::forget(own);
    });
    assert_eq!(status(pid), 0);
    let again = rx.recv().unwrap();
    assert_eq!((*again, again.deliveries(), tx.unfinished()), (2, 2, 2));
    drop((again, job));
    tx.join().unwrap();
}
