//! Who a process is, who started it, and whom it has started.

use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_process::{
    ActiveChild, JoinError, Process, Signal, active_children, current, parent, scope, spawn,
};
use procession_testkit::Identity;

use super::{PATIENCE, Start, await_start, expected, gate, hold};

/// Name, number, path, daemon.
type Told = (String, u32, Vec<u32>, bool);

fn told(_: ()) -> Told {
    let me = current();
    (me.name().into(), me.pid(), me.path().into(), me.is_daemon())
}

pub(crate) fn a_child_knows_its_place(start: Start) {
    /// What it knows itself, and of its own first two children.
    fn with_children(_: ()) -> (Told, [Told; 2]) {
        let children = [(); 2].map(|()| spawn(told, ()).unwrap());
        let handles = children.each_ref().map(|c| (c.name().to_owned(), c.pid(), c.path().to_vec(), false));
        assert_eq!(children.map(|child| child.join().unwrap()), handles);
        (told(()), handles)
    }
    assert_eq!(
        (current().name(), current().pid(), current().path()),
        ("MainProcess", std::process::id(), &[][..])
    );
    let child = start().spawn(with_children, ()).unwrap();
    let (pid, n) = (child.pid(), child.path()[0]);
    assert_eq!(child.path(), [n]);
    let (me, [one, two]) = child.join().unwrap();
    assert_eq!(me, (format!("Process-{n}"), pid, vec![n], false));
    assert_eq!((one.0, one.2), (format!("Process-{n}:1"), vec![n, 1]));
    assert_eq!((two.0, two.2), (format!("Process-{n}:2"), vec![n, 2]));

    // A name takes no number away, and hides none.
    let named = start().name("calc").spawn(told, ()).unwrap();
    let next = start().spawn(told, ()).unwrap();
    assert!(n < named.path()[0] && named.path() < next.path());
    assert_eq!(named.join().unwrap().0, "calc");
    next.join().unwrap();
}

pub(crate) fn a_child_knows_its_parent(start: Start) {
    fn look(_: ()) -> (u32, String, bool) {
        let parent = parent().unwrap();
        assert!(!parent.join_timeout(Duration::ZERO).unwrap(), "it lives: {parent:?}");
        (parent.pid(), parent.name().into(), parent.is_alive())
    }
    assert!(parent().is_none());
    let alive = |pid: u32, name: &str| (pid, name.to_owned(), true);
    assert_eq!(start().spawn(look, ()).unwrap().join().unwrap(), alive(std::process::id(), "MainProcess"));
    let middle = start().name("middle").spawn(|()| spawn(look, ()).unwrap().join().unwrap(), ()).unwrap();
    let pid = middle.pid();
    assert_eq!(middle.join().unwrap(), alive(pid, "middle"));
}

/// The active child with this number. Other tests have children too.
fn active(pid: u32) -> Option<ActiveChild> {
    active_children().into_iter().find(|child| child.pid() == pid)
}

pub(crate) fn active_children_are_those_that_run(start: Start) {
    let (our_gates, children): (Vec<_>, Vec<_>) = (0..3)
        .map(|n| {
            let (ours, theirs) = gate();
            let child = start().name(format!("active {n}")).daemon(n == 1).spawn(hold, theirs).unwrap();
            await_start(&ours);
            (ours, child)
        })
        .unzip();
    let pids: Vec<_> = children.iter().map(Process::pid).collect();
    let listed: Vec<_> = active_children().into_iter().filter(|one| pids.contains(&one.pid())).collect();
    assert_eq!(listed.iter().map(ActiveChild::pid).collect::<Vec<_>>(), pids, "in the order of their start");
    assert_eq!(
        listed.iter().map(ActiveChild::name).collect::<Vec<_>>(),
        ["active 0", "active 1", "active 2"]
    );
    assert!(listed.iter().zip(&children).all(|(one, child)| one.path() == child.path()));
    assert_eq!(listed.iter().map(ActiveChild::is_daemon).collect::<Vec<_>>(), [false, true, false]);

    let [first, second, third] = <[Process<u8>; 3]>::try_from(children).unwrap();
    // One that has ended is cleared away by asking, and its value stays.
    let ended = Identity::of(first.pid()).unwrap();
    our_gates[0].send(&5).unwrap();
    assert!(ended.wait_ended(PATIENCE));
    assert!(active(first.pid()).is_none());
    assert_eq!(ended.state(), None, "a child that has ended is no zombie after that");
    assert_eq!(first.join().unwrap(), 5);
    // One that is detached is still ours.
    second.detach();
    let second = active(pids[1]).unwrap();
    assert_eq!((second.is_alive(), second.wait_timeout(Duration::ZERO).unwrap()), (true, None));
    our_gates[1].send(&6).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(0));
    // What is done to one is done to the child.
    active(pids[2]).unwrap().kill().unwrap();
    expected!(third.join(), Err(JoinError::Killed { signal: Signal::KILL, .. }));
    assert!(pids.into_iter().all(|pid| active(pid).is_none()));
}

pub(crate) fn a_daemon_is_one_by_its_flag_alone(start: Start) {
    fn flags(_: ()) -> (bool, bool) {
        (current().is_daemon(), spawn(|()| current().is_daemon(), ()).unwrap().join().unwrap())
    }
    let daemon = start().daemon(true).spawn(flags, ()).unwrap();
    assert!(daemon.is_daemon());
    assert_eq!(daemon.join().unwrap(), (true, false), "it may have children, which are none");
    let (ours, theirs) = gate();
    let daemon = start().daemon(true).spawn(hold, theirs).unwrap();
    let running = Identity::of(daemon.pid()).unwrap();
    await_start(&ours);
    drop(daemon);
    assert_eq!(running.state(), None, "a dropped handle ends it like others");
}

pub(crate) fn daemons_of_a_scope_serve_it_to_its_end(start: Start) {
    fn serve((ready, end): (Duplex<u8, u8>, Duplex<u8, u8>)) {
        ready.send(&1).unwrap();
        while let Ok(n) = end.recv() {
            end.send(&(n + 1)).unwrap();
        }
        // Nobody asks any more, which is no reason to end.
        hold(ready);
    }
    fn ask(end: Duplex<u8, u8>) {
        for n in 0..50 {
            end.send(&n).unwrap();
            assert_eq!(end.recv().unwrap(), n + 1);
        }
    }
    let (ours, theirs) = gate();
    let (asking, answering) = pipe::<u8, u8>().unwrap();
    let daemon = scope(|s| {
        let daemon = s.spawn_with(start().daemon(true), serve, (theirs, answering)).unwrap();
        await_start(&ours);
        s.spawn_with(start(), ask, asking).unwrap();
        Identity::of(daemon.pid()).unwrap()
    });
    assert_eq!(daemon.unwrap().state(), None, "the daemon is ended, and that is no failure");

    let failed = scope(|s| {
        let daemon = s.spawn_with(start().daemon(true), |()| -> () { panic!("too early") }, ()).unwrap();
        daemon.wait().unwrap();
    });
    assert_eq!(expected!(failed, Err(JoinError::Panicked(panic)) => panic.message), "too early");
}
