//! Locks and guards in forked children, and a process whose main thread ends before the others.
//!
//! # Safety
//! Each child is made by libc's `fork`, runs one function, also to a panic, and ends without returning; glibc makes its
//! allocator usable in a forked child whatever other threads were doing. The system call `exit` ends one thread whose
//! stack nobody looks at any more.
#![allow(unsafe_code, reason = "forks, and a main thread that ends alone")]

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use procession_shm::Atomic;
use procession_sync::{Condvar, Failed, Mutex, OrRepair, RLock};
use procession_testkit::Identity;
use procession_testkit::processes::Signal;

use crate::suite::{SOON, until};

/// A child that was forked.
pub(crate) struct Forked(libc::pid_t);

impl Forked {
    pub(crate) fn new(child: impl FnOnce()) -> Self {
        // SAFETY: see the page.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "no fork");
        if pid == 0 {
            let failed = catch_unwind(AssertUnwindSafe(child)).is_err();
            procession_sys::child::end_now(i32::from(failed));
        }
        Self(pid)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    pub(crate) fn status(self) -> i32 {
        let mut status = 0;
        // SAFETY: waits for the child just made, and writes one local variable.
        let reaped = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(reaped, self.0);
        status
    }

    fn kill(self) {
        Identity::of(self.pid()).unwrap().kill(Signal::KILL).unwrap();
        assert_eq!(libc::WTERMSIG(self.status()), libc::SIGKILL);
    }
}

pub(crate) fn a_guard_of_the_parent_holds_nothing_in_the_child() {
    let me = std::process::id();
    let mutex = Mutex::new(0_u32).unwrap();
    let (refused, changed) = (Atomic::new(0_u32).unwrap(), Condvar::new().unwrap());
    let mut guard = Some(mutex.lock().unwrap());
    let child = Forked::new(|| {
        drop(guard.take());
        match mutex.lock_timeout(SOON) {
            Err(Failed::TimedOut { holder }) => assert_eq!(holder.unwrap().pid(), me),
            other => panic!("{other:?}"),
        }
        refused.store(1);
        let mut n = mutex.lock().unwrap();
        *n += 1;
        changed.notify_one();
        assert!(matches!(mutex.lock(), Err(Failed::Deadlock)));
    });
    until(|| refused.load() == 1);
    assert!(matches!(mutex.lock(), Err(Failed::Deadlock)));
    let guard = changed.wait_while(guard.take().unwrap(), |n| *n == 0).unwrap();
    assert_eq!((child.status(), *guard), (0, 1));
}

pub(crate) fn a_level_of_the_parent_is_no_level_of_the_child() {
    let lock = RLock::new().unwrap();
    let mut guards = Some([lock.lock().unwrap(), lock.lock().unwrap()]);
    let child = Forked::new(|| {
        drop(guards.take());
        assert!(matches!(lock.try_lock(), Err(Failed::WouldBlock { holder: Some(_) })));
    });
    assert_eq!(child.status(), 0);
    drop(guards.take());
    drop(lock.try_lock().unwrap());
}

pub(crate) fn a_forked_child_dies_inside() {
    let (mutex, inside) = (Mutex::new(0_u32).unwrap(), Atomic::new(0_u32).unwrap());
    // Once here, so that the child could mistake its parent's place in the domain for its own.
    drop(mutex.lock().unwrap());
    let child = Forked::new(|| {
        mem::forget(mutex.lock().unwrap());
        inside.store(1);
        loop {
            thread::park();
        }
    });
    let pid = child.pid();
    until(|| inside.load() == 1);
    assert_eq!(mutex.holder().unwrap().pid(), pid);
    assert!(matches!(mutex.try_lock(), Err(Failed::WouldBlock { .. })));
    child.kill();
    let mut told = 0;
    drop(mutex.lock().or_repair(|_, dead| told = dead.pid()).unwrap());
    assert_eq!(told, pid);
}

/// Runs `before` in the main thread of a process, which then ends, and `beside` in another of its threads.
fn main_thread_ends(before: impl FnOnce(), beside: impl FnOnce() + Send + 'static) -> Forked {
    Forked::new(|| {
        thread::spawn(move || {
            beside();
            loop {
                thread::park();
            }
        });
        before();
        // SAFETY: see the page.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    })
}

pub(crate) fn a_main_thread_ends_with_the_lock() {
    let mutex = Mutex::new(0_u32).unwrap();
    let inside = Atomic::new(0_u32).unwrap();
    let before = || {
        mem::forget(mutex.lock().unwrap());
        inside.store(1);
    };
    let child = main_thread_ends(before, || ());
    until(|| inside.load() == 1);
    match mutex.lock() {
        Err(Failed::OwnerDied(died)) => {
            let dead = died.dead().participant().unwrap();
            assert_eq!((dead.pid, dead.tid), (child.pid(), child.pid()));
        }
        other => panic!("{other:?}"),
    }
    assert!(Identity::of(child.pid()).is_some());
    child.kill();
}

pub(crate) fn a_main_thread_ends_while_another_holds_the_lock() {
    let mutex = Mutex::new(0_u32).unwrap();
    let inside = Atomic::new(0_u32).unwrap();
    let (theirs, tell) = (mutex.clone(), inside.clone());
    let beside = move || {
        until(|| tell.load() == 1);
        mem::forget(theirs.lock().unwrap());
        tell.store(2);
    };
    let child = main_thread_ends(|| (), beside);
    let pid = child.pid();
    // The first thread is gone before the other one joins: only the number of the process remains of it.
    until(|| Identity::of(pid).is_some_and(|process| !process.is_alive()));
    inside.store(1);
    until(|| inside.load() == 2);
    match mutex.lock_timeout(30 * SOON) {
        Err(Failed::TimedOut { holder }) => assert_eq!(holder.unwrap().pid(), pid),
        other => panic!("{other:?}"),
    }
    child.kill();
    let mut told = 0;
    drop(mutex.lock().or_repair(|_, dead| told = dead.pid()).unwrap());
    assert_eq!(told, pid);
}
