//! Starting children when descriptors run out: an error with the system's reason, and nothing left behind.
//!
//! # Safety
//! `setrlimit` gets a pointer to a local variable.
#![allow(unsafe_code, reason = "lowers this process's own limit of descriptors")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use procession_codec::Bytes;
use procession_process::{SpawnError, spawn};
use procession_testkit::{Role, counted, role};

/// Leaves this process exactly `n` descriptors that it can still open, runs `body`, and gives back the rest.
fn with_descriptors_left<R>(n: u64, body: impl FnOnce() -> R) -> R {
    let set = |soft: u64| {
        let hard = procession_sys::limits::get().descriptors.hard.unwrap_or(libc::RLIM_INFINITY);
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the pointer is to a local variable.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    };
    let before = procession_sys::limits::get().descriptors.soft.unwrap_or(libc::RLIM_INFINITY);
    // The lowest number that is free is the first that would be used: everything below is open.
    let next = loop {
        let one = File::open("/dev/null").expect("there are descriptors");
        let number = one.as_raw_fd();
        if (0..number).all(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()) {
            break u64::try_from(number).expect("a descriptor");
        }
    };
    set(next + n);
    let answer = body();
    set(before);
    answer
}

#[test]
fn without_descriptors_there_is_an_error_and_no_child() {
    if role().is_none() {
        for without in ["", "pidfd"] {
            let starter = Role::new("starter").env("PROCESSION_WITHOUT", without).spawn();
            drop(starter.wait_with_output(Duration::from_secs(60)).expect_success());
        }
        return;
    }
    // The first child raises the limit, once.
    spawn(|()| (), ()).unwrap().join().unwrap();
    counted(|| {
        for length in [1, 100_000] {
            let n_refused = (0..16).filter(|left| !starts_with(*left, length)).count();
            assert!((1..16).contains(&n_refused), "{n_refused} of 16 were refused");
        }
    });
}

/// Whether a child with an argument of this length could be started with so many descriptors.
fn starts_with(left: u64, length: usize) -> bool {
    let argument = Bytes::from(vec![7; length]);
    let started = with_descriptors_left(left, || {
        spawn(|bytes: Bytes| bytes.into_vec().len(), argument).map(procession_process::Process::join)
    });
    match started {
        Ok(value) => {
            assert_eq!(value.unwrap(), length, "with {left} descriptors");
            true
        }
        Err(SpawnError::Os(error)) => {
            assert_eq!(error.errno(), Some(libc::EMFILE), "{error}");
            false
        }
        Err(other) => panic!("{other:?}"),
    }
}
