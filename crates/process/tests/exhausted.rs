//! Starting children when descriptors run out: an error with the system's reason, and nothing left behind.
//!
//! # Safety
//! `getrlimit` and `setrlimit` get pointers to a local variable.
#![allow(unsafe_code, reason = "lowers this process's own limits")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use procession_codec::Bytes;
use procession_process::{
    JoinError, Message, Process, SpawnError, StartMethod, set_start_method, spawn, start_method,
};
use procession_shm::domain::Domain;
use procession_sys::image::ImageId;
use procession_sys::{limits, zygote};
use procession_testkit::{Role, counted, role};

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

/// Leaves this process exactly `n` descriptors that it can still open, runs `body`, and gives back the rest.
fn with_descriptors_left<R>(n: u64, body: impl FnOnce() -> R) -> R {
    // The lowest number that is free is the first that would be used: everything below is open.
    let next = loop {
        let one = File::open("/dev/null").expect("there are descriptors");
        let number = one.as_raw_fd();
        if (0..number).all(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()) {
            break u64::try_from(number).expect("a descriptor");
        }
    };
    let before = set_soft(libc::RLIMIT_NOFILE, next + n);
    let answer = body();
    set_soft(libc::RLIMIT_NOFILE, before);
    answer
}

#[test]
fn without_descriptors_there_is_an_error_and_no_child() {
    let Some(method) = role() else {
        for (without, method) in [("", "Spawn"), ("pidfd", "Spawn"), ("", "ForkServer"), ("", "Fork")] {
            let starter = Role::new(method).env("PROCESSION_WITHOUT", without).spawn();
            drop(starter.wait_with_output(Duration::from_secs(60)).expect_success());
        }
        return;
    };
    set_start_method(method_called(&method));
    // The first child raises the limit, once.
    start(|()| (), ()).unwrap().join().unwrap();
    counted(|| {
        for length in [1, 100_000] {
            let n_refused = (0..16).filter(|left| !starts_with(*left, length)).count();
            assert!((1..16).contains(&n_refused), "{n_refused} of 16 were refused");
        }
    });
}

fn method_called(name: &str) -> StartMethod {
    let methods = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork];
    *methods.iter().find(|one| format!("{one:?}") == name).expect("one of them")
}

/// By the method of this role. That has a second thread, which waits and holds nothing.
fn start<A: Message, R: Message>(task: fn(A) -> R, argument: A) -> Result<Process<R>, SpawnError> {
    Process::builder().allow_threads(true).spawn(task, argument)
}

/// A fork server is made with the first child: that fails as clearly, and the next attempt makes it.
#[test]
fn without_descriptors_there_is_no_fork_server() {
    if role().is_none() {
        drop(Role::new("starter").spawn().wait_with_output(Duration::from_secs(60)).expect_success());
        return;
    }
    // The first child raises the limit, once.
    spawn(|()| (), ()).unwrap().join().unwrap();
    set_start_method(StartMethod::ForkServer);
    let mut n_refused = 0;
    while !starts_with(n_refused, 1) {
        n_refused += 1;
        assert!(n_refused < 24, "it was never started");
    }
    assert!(n_refused > 0 && zygote::server_pid().is_some());
}

/// No process can be made: by whichever method, that is an error, and nothing is left behind.
#[test]
fn without_processes_there_is_an_error_and_no_child() {
    let Some(method) = role() else {
        for method in ["Spawn", "ForkServer", "Fork"] {
            drop(Role::new(method).spawn().wait_with_output(Duration::from_secs(60)).expect_success());
        }
        return;
    };
    // The limit does not bind the privileged.
    // SAFETY: takes numbers only.
    if user() == 0 && unsafe { libc::setuid(65_534) } != 0 {
        return;
    }
    set_start_method(method_called(&method));
    start(|()| (), ()).unwrap().join().unwrap();
    counted(|| {
        let before = set_soft(libc::RLIMIT_NPROC, 0);
        let refused = start(|()| (), ());
        set_soft(libc::RLIMIT_NPROC, before);
        let Err(SpawnError::Os(error)) = refused else { panic!("{method}: {refused:?}") };
        assert_eq!(error.errno(), Some(libc::EAGAIN), "{method}: {error}");
        start(|()| (), ()).unwrap().join().unwrap();
    });
}

fn user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getuid() }
}

/// The domain of the tree is made with the first child: that fails as clearly, and the next attempt makes it.
#[test]
fn without_descriptors_the_first_child_is_refused_too() {
    if role().is_none() {
        drop(Role::new("starter").spawn().wait_with_output(Duration::from_secs(60)).expect_success());
        return;
    }
    // Both are done once, by the first child.
    limits::raise_descriptor_limit().unwrap();
    ImageId::current().unwrap();
    let n_refused = (0..16).take_while(|left| !starts_with(*left, 1)).count();
    assert!((1..16).contains(&n_refused), "{n_refused} of 16 were refused");
    assert_eq!(domain_of_a_child(), Domain::current().unwrap().id().to_words());
}

/// The domain that a child has.
fn domain_of_a_child() -> [u64; 2] {
    spawn(|()| Domain::current().unwrap().id().to_words(), ()).unwrap().join().unwrap()
}

/// Where files must be short no domain can be made, however often it is tried: children are started without.
#[test]
fn where_no_domain_can_be_made_children_run_without() {
    if role().is_none() {
        drop(Role::new("starter").spawn().wait_with_output(Duration::from_secs(60)).expect_success());
        return;
    }
    let before = set_soft(libc::RLIMIT_FSIZE, 4096);
    let refused = spawn(|()| Domain::current().map(drop).is_err(), ()).unwrap().join().unwrap();
    assert!(refused, "the child has none and can make none");
    set_soft(libc::RLIMIT_FSIZE, before);
    assert_eq!(domain_of_a_child(), Domain::current().unwrap().id().to_words());
}

/// Whether a child with an argument of this length could be started with so many descriptors.
fn starts_with(left: u64, length: usize) -> bool {
    let argument = Bytes::from(vec![7; length]);
    let started = with_descriptors_left(left, || {
        start(|bytes: Bytes| bytes.into_vec().len(), argument).map(Process::join)
    });
    match started {
        Ok(value) => {
            // A copy of this process has as few left.
            if start_method() == StartMethod::Fork && matches!(value, Err(JoinError::NotRun { .. })) {
                return false;
            }
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
