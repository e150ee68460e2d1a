//! What a child sees of its parent, and what it does not see.
//!
//! # Safety
//! The calls into libc get pointers to live local variables, and run in processes of one test each. The environment
//! is changed in a role, where no other test runs.
#![allow(unsafe_code, reason = "changes a process's surroundings through libc and std")]

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;

use procession_testkit::{Role, role};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Start};

/// What this process is surrounded by.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Surroundings {
    environment: Vec<(String, String)>,
    directory: PathBuf,
    arguments: Vec<String>,
    limits: String,
    /// Of the calling thread: umask, signals that are blocked, signals that are ignored, processors.
    status: Vec<String>,
    standard: Vec<PathBuf>,
}

fn look(_: ()) -> Surroundings {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let kept = ["Umask:", "SigBlk:", "SigIgn:", "Cpus_allowed:", "Uid:", "Groups:", "NoNewPrivs:"];
    Surroundings {
        environment: std::env::vars().collect(),
        directory: std::env::current_dir().unwrap(),
        arguments: std::env::args().collect(),
        limits: std::fs::read_to_string("/proc/self/limits").unwrap(),
        status: status.lines().filter(|l| kept.iter().any(|k| l.starts_with(k))).map(str::to_owned).collect(),
        standard: (0..3).map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()).collect(),
    }
}

/// Changes everything that a child shall see, differently for each `round`.
fn change(round: u32) {
    // SAFETY: nobody else uses the environment of this process (module page).
    unsafe { std::env::set_var("PROCESSION_TEST_ROUND", format!("{round} = ß")) };
    std::env::set_current_dir(["/proc", "/dev"][round as usize % 2]).unwrap();
    // SAFETY: takes a number and cannot fail.
    unsafe { libc::umask(0o021 + round) };
    let limit = libc::rlimit { rlim_cur: 1000 + u64::from(round), rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the pointer is to a local variable.
    let mut answer = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    // SAFETY: a signal set is plain data; the next call fills it.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local variable.
    answer |= unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: as above.
    answer |= unsafe { libc::sigaddset(&raw mut set, [libc::SIGUSR1, libc::SIGWINCH][round as usize % 2]) };
    // SAFETY: as above; the old set is not asked for.
    answer |= unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: a set of processors is plain data.
    let mut processors: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local variable, the size is its own.
    unsafe { libc::sched_getaffinity(0, size_of_val(&processors), &raw mut processors) };
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: the index is below the size of the set.
    let some = all.clone().filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &processors) }).next_back();
    for cpu in all.filter(|cpu| Some(*cpu) != some) {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_CLR(cpu, &mut processors) };
    }
    // SAFETY: the pointer is to a local variable, the size is its own.
    answer |= unsafe { libc::sched_setaffinity(0, size_of_val(&processors), &raw const processors) };
    assert_eq!(answer, 0, "changing the surroundings");
}

/// In a role, since all of this belongs to the whole process.
pub(crate) fn the_caller_s_surroundings_of_that_moment(start: Start) {
    if role().is_none() {
        drop(Role::new("changes").spawn().wait_with_output(PATIENCE).expect_success());
        return;
    }
    let before = look(());
    for round in 0..2 {
        change(round);
        let seen = start().spawn(look, ()).unwrap().join().unwrap();
        assert_eq!(seen, look(()));
        assert_ne!(seen, before);
    }
}

/// A descriptor that a foreign library would have left without close-on-exec.
fn careless(name: &CStr) -> OwnedFd {
    // SAFETY: the name ends with a zero.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), 0) };
    assert!(fd > 2, "a memfd");
    // SAFETY: just made, and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn descriptors(_: ()) -> Vec<(String, PathBuf)> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    // Without the directory itself, which is closed by the time it is looked at.
    all.filter_map(|e| Some((e.file_name().into_string().ok()?, std::fs::read_link(e.path()).ok()?)))
        .collect()
}

pub(crate) fn no_descriptor_but_its_own(start: Start) {
    let _kept: Vec<OwnedFd> = (0..40).map(|_| careless(c"procession-careless")).collect();
    let ours = descriptors(());
    let foreign = |all: &[(String, PathBuf)]| {
        all.iter().filter(|(_, path)| path.to_string_lossy().contains("procession-careless")).count()
    };
    assert_eq!(foreign(&ours), 40);
    let theirs = start().spawn(descriptors, ()).unwrap().join().unwrap();
    assert_eq!(foreign(&theirs), 0, "{theirs:?}");
    assert!(theirs.len() <= 10, "three of everybody, and those of the runtime: {theirs:?}");
}

pub(crate) fn nothing_of_the_handshake_stays(start: Start) {
    let variable = |()| std::env::vars_os().any(|(name, _)| name == "PROCESSION_CHILD");
    assert!(!start().spawn(variable, ()).unwrap().join().unwrap());
    // A program that the child starts is no child of ours.
    fn run(_: ()) -> bool {
        let environment = std::process::Command::new("env").output().unwrap().stdout;
        String::from_utf8_lossy(&environment).contains("PROCESSION_CHILD")
    }
    assert!(!start().spawn(run, ()).unwrap().join().unwrap());
}
