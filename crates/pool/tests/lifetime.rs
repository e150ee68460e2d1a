//! Nothing outlives a pool's process: not after Ctrl-C, not after SIGKILL, not when it forgets the pool.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, PipeReader, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use procession_pipe::Duplex;
use procession_pool::Pool;
use procession_sys::signal::{self, Disposition};
use procession_testkit::processes::Identity;
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, role};
use rustix::process::{Pid, Signal, kill_process_group};

const PATIENCE: Duration = Duration::from_secs(30);

type Gate = Duplex<u32, u32>;

/// A task that starts a process of its own, tells both numbers, and never ends by itself.
fn never_ends(gate: Gate) -> u32 {
    let child = procession_process::spawn(
        |gate: Gate| {
            gate.send(&std::process::id()).unwrap();
            gate.recv().unwrap_or(0)
        },
        gate,
    );
    child.unwrap().join().unwrap_or(0)
}

/// In the role: a pool with three workers, two of them busy; tells the numbers of all workers and of the tasks' children.
fn start_and_tell() -> Pool {
    // Who runs tests in the background may have us ignore it.
    signal::set(procession_process::Signal::INT, Disposition::Default).unwrap();
    let pool = Pool::new(3).unwrap();
    tell(&pool);
    pool
}

/// Keeps two workers of `pool` busy, and tells.
fn tell(pool: &Pool) {
    let mut pids = pool.pids();
    for _ in 0..2 {
        let (ours, theirs) = procession_pipe::pipe().unwrap();
        let task = pool.submit(never_ends, theirs).unwrap();
        pids.push(ours.recv_timeout(PATIENCE).unwrap());
        // Neither may end of being dropped here.
        std::mem::forget((task, ours));
    }
    let mut report = std::fs::File::from(roles::handed("report"));
    for pid in pids {
        writeln!(report, "{pid}").unwrap();
    }
    drop(report);
    // Who ends before anybody has looked at it could not be told from who has its number next.
    std::fs::File::from(roles::handed("known")).read_to_end(&mut Vec::new()).unwrap();
}

/// Named shared memory, of anybody.
fn names() -> BTreeSet<OsString> {
    std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// A role in a process group of its own, as a shell starts it, and who belongs to it.
struct Family {
    parent: Child,
    /// What had a name before.
    names: BTreeSet<OsString>,
    members: Vec<Identity>,
    report: BufReader<PipeReader>,
}

impl Family {
    fn start() -> Self {
        Self::start_with(|role| role)
    }

    fn start_with(more: impl FnOnce(Role) -> Role) -> Self {
        let names = names();
        let (report, theirs) = pipe().unwrap();
        let (known, all_known) = pipe().unwrap();
        let role = Role::new("parent").hand("report", OwnedFd::from(theirs));
        let role = more(role.hand("known", OwnedFd::from(known)));
        let mut command = role.into_command();
        let parent = command.process_group(0).spawn().unwrap();
        // The command holds our side of what it hands over.
        drop(command);
        let mut report = BufReader::new(report);
        let mut members = Vec::new();
        for _ in 0..3 + 2 {
            let mut line = String::new();
            report.read_line(&mut line).unwrap();
            let pid = line.trim().parse().expect("a process number");
            members.push(Identity::of(pid).expect("it runs"));
        }
        drop(all_known);
        Self { parent, names, members, report }
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(i32::try_from(self.parent.id()).unwrap()).unwrap();
        kill_process_group(group, signal).unwrap();
    }

    /// Waits until nobody is left; how the parent ended.
    fn end(mut self) -> ExitStatus {
        let status = self.parent.wait().unwrap();
        for member in &self.members {
            assert!(member.wait_ended(PATIENCE), "{member} outlives its parent");
        }
        // Whoever still held the report would keep it open: nobody of the tree that we were not told of is left either.
        assert_eq!(self.report.read_line(&mut String::new()).unwrap(), 0);
        let new: Vec<_> = names().difference(&self.names).cloned().collect();
        assert!(new.is_empty(), "{new:?}");
        status
    }
}

#[test]
fn ctrl_c_ends_everything() {
    if role().is_some() {
        let _pool = start_and_tell();
        loop {
            std::thread::park();
        }
    }
    guarded(|| {
        let family = Family::start();
        family.signal(Signal::INT);
        assert_eq!(family.end().signal(), Some(Signal::INT.as_raw()));
    });
}

/// Workers leave Ctrl-C to their parent: one that ignores it keeps its pool whole.
#[test]
fn ctrl_c_is_the_parent_s_to_decide() {
    if role().is_some() {
        let pool = Pool::new(3).unwrap();
        // After the start: workers would inherit it.
        signal::set(procession_process::Signal::INT, Disposition::Ignore).unwrap();
        tell(&pool);
        let before = pool.pids();
        let mut go = String::new();
        BufReader::new(std::fs::File::from(roles::handed("go"))).read_line(&mut go).unwrap();
        assert_eq!(pool.map(|n: u8| n, 0..9).unwrap(), Vec::from_iter(0..9));
        assert_eq!((pool.pids(), go.as_str()), (before, "go\n"));
        return;
    }
    guarded(|| {
        let (theirs, mut go) = pipe().unwrap();
        let family = Family::start_with(|role| role.hand("go", OwnedFd::from(theirs)));
        family.signal(Signal::INT);
        writeln!(go, "go").unwrap();
        assert_eq!(family.end().code(), Some(0));
    });
}

#[test]
fn a_killed_parent_leaves_nobody() {
    if role().is_some() {
        let _pool = start_and_tell();
        loop {
            std::thread::park();
        }
    }
    guarded(|| {
        let mut family = Family::start();
        family.parent.kill().unwrap();
        assert_eq!(family.end().signal(), Some(Signal::KILL.as_raw()));
    });
}

#[test]
fn exit_without_dropping_the_pool() {
    if role().is_some() {
        let _pool = start_and_tell();
        std::process::exit(7);
    }
    guarded(|| assert_eq!(Family::start().end().code(), Some(7)));
}

#[test]
fn a_forgotten_pool() {
    if role().is_some() {
        std::mem::forget(start_and_tell());
        return;
    }
    guarded(|| assert_eq!(Family::start().end().code(), Some(0)));
}
