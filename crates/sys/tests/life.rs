//! Life words and real deaths: everything that ends a thread marks its word, nothing else does.
//!
//! # Safety
//! The fork test forks this process; the child runs one function and ends with `_exit`.
#![allow(unsafe_code, reason = "fork has no safe form")]

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread;
use std::time::Duration;

use procession_sys::caps::{self, Capability};
use procession_sys::life::{
    self, LifeSlot, Membership, OWNER_DIED, Place, Registration, SLOT_SIZE, WAITERS, is_alive,
};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{Deadline, fork, futex};
use procession_testkit::processes::State;
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, guarded};

const LIMIT: Duration = Duration::from_secs(60);

/// A page of slots.
struct Page {
    memory: Memfd,
    mapping: Arc<Mapping>,
}

impl Page {
    fn new() -> Self {
        Self::of(Memfd::sealed("slots", 4096).unwrap())
    }

    fn handed() -> Self {
        Self::of(Memfd::adopt(roles::handed("page")).unwrap())
    }

    fn of(memory: Memfd) -> Self {
        let mapping = Arc::new(Mapping::shared(&memory).unwrap());
        Self { memory, mapping }
    }

    fn descriptor(&self) -> OwnedFd {
        self.memory.try_clone().unwrap().into_fd()
    }

    fn slot(&self, number: usize) -> &LifeSlot {
        LifeSlot::at(&self.mapping, number * SLOT_SIZE)
    }

    fn word(&self, number: usize) -> u32 {
        self.slot(number).word(&life::layout().unwrap()).load(Acquire)
    }

    fn take(&self, number: usize) -> Option<Membership> {
        Membership::take(Place::new(&self.mapping, number * SLOT_SIZE), &life::layout().unwrap())
    }

    /// Sleeps until the word of slot 0 says that its owner is dead; nothing but a wake ends the sleep.
    fn await_death(&self) {
        let layout = life::layout().unwrap();
        while let Some(value) = self.slot(0).watch(&layout) {
            futex::wait(self.slot(0).word(&layout), value, Deadline::NEVER);
        }
    }
}

/// Takes slot 0 and says so.
fn member(page: &Page) -> Membership {
    let membership = page.take(0).expect("the slot is free");
    roles::say("in");
    membership
}

/// A process that has taken slot 0 in this role.
fn process(role: Role, page: &Page) -> RoleProcess {
    let mut process = role.hand("page", page.descriptor()).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
    assert!(is_alive(page.word(0)));
    assert!(page.take(0).is_none(), "a living owner keeps its slot");
    assert_eq!(page.slot(0).owner().pid, process.pid());
    process
}

/// What the next owner finds, and leaves.
fn can_be_taken_again(page: &Page) {
    let again = page.take(0).expect("a dead owner's slot is free");
    assert_eq!(again.registration(), Registration::Kernel);
    assert_eq!(page.slot(0).owner().pid, std::process::id());
    drop(again);
    assert_eq!(page.word(0), 0);
}

#[test]
fn a_kill_marks_it() {
    if roles::role().is_some() {
        let _member = member(&Page::handed());
        return drop(roles::hear());
    }
    guarded(|| {
        let page = Page::new();
        let mut process = process(Role::new("member"), &page);
        process.kill();
        page.await_death();
        assert_ne!(page.word(0) & OWNER_DIED, 0);
        can_be_taken_again(&page);
    });
}

#[test]
fn a_stop_does_not_mark_it_and_a_kill_in_a_stop_does() {
    if roles::role().is_some() {
        let _member = member(&Page::handed());
        return drop(roles::hear());
    }
    guarded(|| {
        let page = Page::new();
        let mut process = process(Role::new("member"), &page);
        process.signal(Signal::STOP);
        while process.identity().state() != Some(State::Stopped) {
            thread::yield_now();
        }
        assert!(is_alive(page.word(0)));
        assert!(!life::has_ended(&page.slot(0).owner().identity().unwrap()));
        assert!(page.take(0).is_none(), "never taken from a stopped owner");
        process.kill();
        page.await_death();
        can_be_taken_again(&page);
    });
}

#[test]
fn another_program_in_the_same_process_marks_it() {
    if roles::role().is_some() {
        let page = Page::handed();
        // A forked child has one thread, its first.
        in_a_fork(|| {
            let _member = member(&page);
            panic!("{}", Command::new("cat").exec());
        });
        return;
    }
    guarded(|| {
        let page = Page::new();
        let mut process = Role::new("member").hand("page", page.descriptor()).spawn();
        assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
        page.await_death();
        let owner = page.slot(0).owner().identity().unwrap();
        assert!(owner.process.exists().unwrap(), "the process goes on as another program");
        assert!(!life::has_ended(&owner), "which its identity does not tell");
        can_be_taken_again(&page);
        process.hush();
    });
}

/// The kernel renames a thread that is not the first of its process to the first one's number before it walks the
/// thread's list (Linux 6.18), finds words of a stranger and marks none. Its old number is nobody's then, which is
/// proof.
#[test]
fn another_program_started_by_a_later_thread_is_seen_by_the_proof() {
    if roles::role().is_some() {
        let page = Page::handed();
        let thread = thread::spawn(move || {
            let _member = member(&page);
            drop(roles::hear());
            panic!("{}", Command::new("cat").exec());
        });
        return drop(thread.join());
    }
    guarded(|| {
        let page = Page::new();
        let mut process = process(Role::new("member"), &page);
        let (owner, word) = (page.slot(0).owner().identity().unwrap(), page.word(0));
        assert!(!life::has_ended(&owner));
        process.say("go");
        while is_alive(page.word(0)) && !life::has_ended(&owner) {
            thread::yield_now();
        }
        assert!(process.identity().is_alive());
        page.slot(0).mark_dead(&life::layout().unwrap(), word);
        can_be_taken_again(&page);
    });
}

#[test]
fn every_way_for_a_thread_to_end_marks_it() {
    if let Some(role) = roles::role() {
        let page = Page::handed();
        let thread = thread::spawn(move || {
            let member = member(&page);
            drop(roles::hear());
            match role.as_str() {
                "panics" => panic!("with its membership: {member:?}"),
                "exits" => std::process::exit(0),
                "leaves" => drop(member),
                _ => std::mem::forget(member),
            }
        });
        let _ = thread.join();
        return drop(roles::hear());
    }
    guarded(|| {
        for (role, marked) in [("forgets", true), ("exits", true), ("panics", false), ("leaves", false)] {
            let page = Page::new();
            let mut process = process(Role::new(role), &page);
            process.say("go");
            page.await_death();
            assert_eq!(page.word(0) & OWNER_DIED != 0, marked, "{role}");
            if role != "exits" {
                assert!(process.identity().is_alive(), "{role}");
            }
            can_be_taken_again(&page);
        }
    });
}

#[test]
fn a_leaver_wakes_all_who_watch() {
    guarded(|| {
        let page = Page::new();
        let member = page.take(0).unwrap();
        thread::scope(|scope| {
            let sleepers = [(); 3].map(|()| scope.spawn(|| page.await_death()));
            while page.word(0) & WAITERS == 0 {
                thread::yield_now();
            }
            drop(member);
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        });
    });
}

/// Runs `child` in a forked child, and returns its exit code.
fn in_a_fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child uses what was made before the fork and libc's allocator, which can be used after a fork; it
    // takes no lock that another thread may have held, and never returns from here.
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

#[test]
fn a_forked_child_has_nothing_of_its_parent_s() {
    if roles::role().is_some() {
        return fork_with_a_membership(Registration::Nobody);
    }
    guarded(|| {
        fork_with_a_membership(Registration::Kernel);
        let without = Role::new("without").env(caps::SWITCH, "robust_list").spawn();
        without.wait_with_output(LIMIT).expect_success();
    });
}

fn fork_with_a_membership(registration: Registration) {
    let page = Page::new();
    let member = page.take(0).unwrap();
    assert_eq!(member.registration(), registration);
    let (before, epoch) = (page.word(0), fork::epoch());
    let mut member = Some(member);
    let code = in_a_fork(|| {
        let inherited = member.take().unwrap();
        if inherited.is_ours() || fork::epoch() == epoch {
            return 1;
        }
        drop(inherited);
        if page.word(0) != before || page.take(0).is_some() {
            return 2;
        }
        let Some(own) = page.take(1) else { return 3 };
        std::mem::forget(own);
        if fork::epoch() == epoch || !is_alive(page.word(1)) { 4 } else { 0 }
    });
    assert_eq!(code, 0);
    let member = member.unwrap();
    assert!(member.is_ours() && fork::epoch() == epoch);
    assert_eq!(page.word(0), before, "the child's end is not its parent's");
    let marked = page.word(1) & OWNER_DIED != 0;
    assert_eq!(marked, registration == Registration::Kernel, "the child's end is its own");
    assert!(marked || life::has_ended(&page.slot(1).owner().identity().unwrap()));
    assert_ne!(page.slot(1).owner().pid, page.slot(0).owner().pid);
    drop(member);
    assert_eq!(page.word(0), 0);
}

/// A first thread stays in the process table until its process was waited for.
fn zombie() {
    let page = Page::new();
    // SAFETY: as in `in_a_fork`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        std::mem::forget(page.take(0));
        procession_sys::child::end_now(0);
    }
    while page.word(0) & OWNER_DIED == 0 {
        thread::yield_now();
    }
    let owner = page.slot(0).owner().identity().unwrap();
    assert_eq!(owner.tid.cast_signed(), pid);
    while !life::has_ended(&owner) {
        thread::yield_now();
    }
    assert!(owner.process.exists().unwrap(), "nobody has waited for it");
    assert!(life::thread_has_ended(owner.tid, owner.process.namespace));
    // SAFETY: waits for the child just made, and asks for no status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert!(life::has_ended(&owner));
}

#[test]
fn a_process_that_was_not_waited_for_has_ended() {
    if roles::role().is_some() {
        assert!(!caps::has(Capability::Pidfd));
        return zombie();
    }
    guarded(|| {
        zombie();
        let without = Role::new("without").env(caps::SWITCH, "pidfd").spawn();
        without.wait_with_output(LIMIT).expect_success();
    });
}

#[test]
fn every_generation_of_forks_has_its_own_epoch() {
    guarded(|| {
        let parent = fork::epoch();
        assert_eq!(fork::detection(), fork::Detection::WipedPage);
        assert_eq!(thread::spawn(fork::epoch).join().unwrap(), parent);
        let code = in_a_fork(|| {
            let child = fork::epoch();
            if child == parent || fork::epoch() != child {
                return 1;
            }
            in_a_fork(|| i32::from(fork::epoch() == child || fork::epoch() == parent))
        });
        assert_eq!(code, 0);
        assert_eq!(fork::epoch(), parent);
    });
}

#[test]
fn without_the_kernel_s_list_a_death_is_proved_by_identity() {
    if roles::role().is_some() {
        assert!(!caps::has(Capability::RobustList));
        let member = member(&Page::handed());
        assert_eq!(member.registration(), Registration::Nobody);
        return drop(roles::hear());
    }
    guarded(|| {
        let layout = life::layout().unwrap();
        for off in ["robust_list", "robust_list,pidfd"] {
            let page = Page::new();
            let role = || Role::new("member").env(caps::SWITCH, off);
            let mut process = process(role(), &page);
            let owner = page.slot(0).owner().identity().expect("its identity can be known");
            assert!(!life::has_ended(&owner));
            process.kill();
            // Not waited for: it stays in the process table, and has ended all the same.
            while !life::has_ended(&owner) {
                thread::yield_now();
            }
            let word = page.word(0);
            assert!(is_alive(word), "the kernel does not know of it");
            assert!(life::thread_has_ended(owner.tid, owner.process.namespace));
            drop(process);
            assert!(life::has_ended(&owner), "and after it was waited for");
            assert!(page.slot(0).mark_dead(&layout, word));
            assert!(!page.slot(0).mark_dead(&layout, word), "once");
            can_be_taken_again(&page);

            // Politely: a leaver frees its slot itself.
            let mut process = self::process(role(), &page);
            process.hush();
            page.await_death();
            assert_eq!(page.word(0), 0);
            can_be_taken_again(&page);
        }
    });
}

#[test]
fn a_number_that_was_given_to_somebody_else_is_not_its_owner() {
    guarded(|| {
        let page = Page::new();
        let member = page.take(0).unwrap();
        let owner = page.slot(0).owner();
        let me = owner.identity().unwrap();
        assert!(!life::has_ended(&me));
        let mut earlier = me;
        earlier.started -= 1;
        assert!(life::has_ended(&earlier), "an earlier thread with our number");
        assert_eq!(page.slot(0).generation().load(Relaxed), 0, "the table's, not ours");
        drop(member);
    });
}
