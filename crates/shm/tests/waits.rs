//! Who waits for whom, as everybody can read it, and the report of a wait that takes too long.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use procession_raw::Lock;
use procession_shm::domain::{DEADLOCK, Domain, Waiter, report_deadlocks};
use procession_shm::space::from_descriptor;
use procession_shm::{Cell, Locked, Shared, Wait};
use procession_sys::Deadline;
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{counted, role};

const LIMIT: Duration = Duration::from_secs(60);

/// Two locks in one piece of memory.
#[derive(Clone, Shared)]
struct Table {
    left: Fork,
    right: Fork,
}

#[derive(Clone, Shared)]
struct Fork(Cell<Lock, u32>);

fn lock(fork: &Fork) -> Locked<'_, Lock, u32> {
    fork.0.lock(Wait(Deadline::NEVER)).unwrap().0
}

/// Takes one lock, says so, and takes the other when told to.
fn philosopher(role: &str) {
    let domain = Domain::adopt(roles::handed("domain")).unwrap();
    let table: Table = from_descriptor(roles::handed("table"), Some(domain)).unwrap();
    let (first, second) =
        if role == "left" { (&table.left, &table.right) } else { (&table.right, &table.left) };
    let _first = lock(first);
    roles::say("has one");
    assert_eq!(roles::hear().as_deref(), Some("go"));
    let _second = lock(second);
    roles::say("has both");
}

/// Waits for a lock while its standard error takes nothing.
fn complainer() {
    report_deadlocks(Some(Duration::ZERO));
    let table = Table::create((1, 2)).unwrap();
    let guard = lock(&table.left);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| *lock(&table.left));
        waiters(&table, 1);
        drop(guard);
        assert_eq!(waiter.join().unwrap(), 1);
    });
}

fn start(role: &str, table: &Table, limit: Option<&str>) -> RoleProcess {
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let space = table.space();
    let (domain, memory) = (own(space.domain().unwrap().as_fd()), own(space.as_fd()));
    let role = Role::new(role).hand("domain", domain).hand("table", memory);
    let role = match limit {
        Some(limit) => role.env(DEADLOCK, limit),
        None => role.env_remove(DEADLOCK),
    };
    let mut process = role.spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("has one"));
    process
}

/// Who waits for something in the table now. The other tests of this process wait in the same domain.
fn waiting(table: &Table) -> Vec<Waiter> {
    let inode = table.space().file().unwrap().inode;
    let waiters = table.space().domain().unwrap().waiters().into_iter();
    waiters.filter(|waiter| waiter.place.0 == inode).collect()
}

/// The waiters, once they are so many.
fn waiters(table: &Table, n: usize) -> Vec<Waiter> {
    loop {
        let waiters = waiting(table);
        if waiters.len() == n {
            return waiters;
        }
        thread::yield_now();
    }
}

#[test]
fn two_processes_that_wait_for_each_other_are_reported_by_name() {
    match role().as_deref() {
        Some("complainer") => return complainer(),
        Some(role) => return philosopher(role),
        None => {}
    }
    counted(|| {
        let table = Table::create((1, 2)).unwrap();
        let domain = table.space().domain().unwrap().clone();
        let mut left = start("left", &table, Some("0ms"));
        let mut right = start("right", &table, None);
        assert!(waiting(&table).is_empty(), "who has not slept has said nothing");
        left.say("go");
        let waiter = waiters(&table, 1).remove(0);
        assert_eq!((waiter.who.pid, waiter.holder.unwrap().pid), (left.pid(), right.pid()));
        assert_eq!((&*waiter.what, waiter.place.1), ("Fork", 64));
        assert_eq!(waiter.place.0, table.space().file().unwrap().inode);
        assert!(domain.deadlock_report().cycles.is_empty());
        right.say("go");
        waiters(&table, 2);
        let report = domain.deadlock_report();
        let mut cycle: Vec<u32> = report.cycles[0].iter().map(|who| who.pid).collect();
        cycle.sort_unstable();
        let mut both = [left.pid(), right.pid()];
        both.sort_unstable();
        assert_eq!((report.cycles.len(), &*cycle), (1, &both[..]));
        // The end of one sets the other free.
        right.kill();
        assert_eq!(left.hear(LIMIT).as_deref(), Some("has both"));
        let pids = [left.pid(), right.pid()].map(|pid| pid.to_string());
        let output = left.wait_with_output(LIMIT).expect_success();
        let line = |text: &str| {
            output.stderr.lines().any(|line| pids.iter().all(|p| line.contains(p)) && line.contains(text))
        };
        assert!(line("waits for Fork"), "{}", output.stderr);
        let silent = right.wait_with_output(LIMIT);
        assert!(!silent.stderr.contains("waits for"), "{}", silent.stderr);
        assert!(waiting(&table).is_empty(), "a dead waiter waits for nothing");
    });
}

#[test]
fn who_has_what_it_waited_for_waits_no_more() {
    counted(|| {
        let table = Table::create((1, 2)).unwrap();
        let domain = table.space().domain().unwrap().clone();
        let guard = lock(&table.left);
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| *lock(&table.left) += 1));
            let all = waiters(&table, 3);
            let me = domain.participant(guard.me()).unwrap();
            assert!(all.iter().all(|waiter| waiter.holder == Some(me) && waiter.who != me));
            assert_eq!((table.left.0.waiters().len(), table.right.0.waiters().len()), (3, 0));
            drop(guard);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(waiting(&table).is_empty());
        });
        assert_eq!(*lock(&table.left), 4);
    });
}

#[test]
fn a_report_that_nobody_takes_costs_the_waiter_nothing() {
    const TEST: &str = "two_processes_that_wait_for_each_other_are_reported_by_name";
    counted(|| {
        let complain = |stderr: OwnedFd| {
            let mut child = Role::of(TEST, "complainer").into_command().stderr(stderr).spawn().unwrap();
            child.wait().unwrap()
        };
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(complain(writer.into()).success(), "nobody is there to read");
        let (_reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while writer.write(&[b'x'; 4096]).is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        assert!(complain(writer.into()).success(), "nobody reads");
    });
}
