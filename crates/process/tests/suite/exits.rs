//! What a process does before it ends.
//!
//! # Safety
//! `fork`, `exit` and `waitpid` are called in a role whose other threads do nothing that a copy could miss.
#![allow(unsafe_code, reason = "forks a role, and lets the copy leave")]

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_process::{
    Builder, Exit, JoinError, Message, Process, Signal, Stdio, at_exit, exit_limit, spawn,
};
use procession_sys::signal::{self, Disposition};
use procession_testkit::{Identity, Role, processes, role, roles};

use super::{PATIENCE, Start, await_start, expected, gate, hold};

/// Where hooks say that they run.
type Up = Duplex<u8, ()>;

/// A child that runs `task`, and all that its hooks said until it ended.
fn heard<R: Message>(start: Start, task: fn(Up) -> R) -> (Process<R>, Vec<u8>) {
    let (ours, theirs) = pipe::<(), u8>().unwrap();
    let child = start().spawn(task, theirs).unwrap();
    let mut all = Vec::new();
    while let Ok(one) = ours.recv_timeout(PATIENCE) {
        all.push(one);
    }
    (child, all)
}

/// Gives a hook that says `what`.
fn says(up: &Arc<Up>, priority: i32, what: u8) -> procession_process::ExitHook {
    let up = Arc::clone(up);
    at_exit(priority, move || up.send(&what).expect("the parent listens"))
}

/// Gives hooks of three priorities.
fn prepare(up: Up) {
    let up = Arc::new(up);
    for (priority, what) in [(0, b'a'), (-7, b'z'), (i32::MAX, b'1'), (0, b'b'), (i32::MAX, b'2')] {
        says(&up, priority, what);
    }
}

pub(crate) fn hooks_run_whichever_way_it_leaves(start: Start) {
    const ALL: &[u8] = b"21baz";
    let (child, said) = heard(start, |up| {
        prepare(up);
        7
    });
    assert_eq!((child.join().unwrap(), said.as_slice()), (7, ALL));
    let (child, said) = heard(start, |up| -> () {
        prepare(up);
        panic!("on purpose")
    });
    let panic = expected!(child.join(), Err(JoinError::Panicked(panic)) => panic);
    assert_eq!((panic.message.as_str(), said.as_slice()), ("on purpose", ALL));
    let (child, said) = heard(start, |up| -> () {
        prepare(up);
        std::process::exit(3)
    });
    expected!(child.join(), Err(JoinError::Exited { code: 3, .. }));
    assert_eq!(said, ALL);
    let (child, said) = heard(start, |up| -> () {
        prepare(up);
        thread::spawn(|| std::process::exit(4)).join().unwrap();
    });
    expected!(child.join(), Err(JoinError::Exited { code: 4, .. }));
    assert_eq!(said, ALL);
    // A signal and an abort are no way to leave.
    let (child, said) = heard(start, |up| -> () {
        prepare(up);
        std::process::abort()
    });
    expected!(child.join(), Err(JoinError::Killed { signal: Signal::ABRT, .. }));
    assert_eq!(said, b"");
}

pub(crate) fn a_hook_runs_once_or_not_at_all(start: Start) {
    let (child, said) = heard(start, |up| {
        let up = Arc::new(up);
        let [early, never, late] = [(1, b'e'), (2, b'n'), (3, b'l')].map(|(n, what)| says(&up, n, what));
        assert!(early.is_pending() && early.run() && !early.is_pending());
        assert!(!early.run() && !early.cancel());
        assert!(never.cancel() && !never.run() && !never.cancel());
        assert!(late.is_pending());
    });
    child.join().unwrap();
    assert_eq!(said, b"el");
}

pub(crate) fn hooks_may_fail_and_add_hooks(start: Start) {
    let (child, said) = heard(start, |up| {
        let up = Arc::new(up);
        says(&up, 0, b'z');
        let more = Arc::clone(&up);
        at_exit(5, move || {
            says(&more, -1, b'-');
            says(&more, 9, b'9');
            panic!("on purpose");
        });
        says(&up, 6, b'6');
        5
    });
    assert_eq!((child.join().unwrap(), said.as_slice()), (5, b"69z-".as_slice()));

    // The value was reported before.
    let (child, _) = heard(start, |_| {
        at_exit(0, || std::process::abort());
        6
    });
    let exit = child.wait().unwrap();
    assert!(matches!(exit, Exit::Signal { signal: Signal::ABRT, .. }), "{exit}");
    assert_eq!(child.join().unwrap(), 6);
}

pub(crate) fn a_hook_without_end_costs_the_limit(start: Start) {
    let (child, said) = heard(start, |up| {
        let up = Arc::new(up);
        exit_limit(Duration::from_millis(50));
        says(&up, 2, b'2');
        says(&up, 0, b'0');
        at_exit(1, || {
            loop {
                thread::park();
            }
        });
        1
    });
    assert_eq!((child.join().unwrap(), said.as_slice()), (1, b"2".as_slice()));
    // To leave while leaving is to wait for ever.
    let (child, said) = heard(start, |up| {
        exit_limit(Duration::from_millis(50));
        says(&Arc::new(up), 0, b'0');
        at_exit(1, || std::process::exit(9));
        2
    });
    assert_eq!((child.join().unwrap(), said.as_slice()), (2, b"".as_slice()));
}

/// The first process of a tree has hooks too; a forked copy of it has none of them.
pub(crate) fn hooks_of_the_first_process(start: Start) {
    if let Some(role) = role() {
        let hook = at_exit(0, || roles::say("the hook"));
        assert_eq!(start().spawn(|()| 1, ()).unwrap().join().unwrap(), 1, "a child has none of ours");
        match role.as_str() {
            "returns" => {}
            "exits" => std::process::exit(0),
            _ => {
                // SAFETY: the copy calls what is in this file and libc's `exit` (module page).
                let copy = unsafe { libc::fork() };
                if copy == 0 {
                    let code = i32::from(hook.is_pending() || hook.run());
                    // SAFETY: takes a number and does not return.
                    unsafe { libc::exit(code) };
                }
                let mut status = -1;
                // SAFETY: the pointer is to a local variable.
                let waited = unsafe { libc::waitpid(copy, &raw mut status, 0) };
                assert_eq!((waited, status), (copy, 0), "the copy has no hook");
                roles::say("the copy left");
            }
        }
        return;
    }
    for (role, said) in
        [("returns", &["the hook"][..]), ("exits", &["the hook"]), ("forks", &["the copy left", "the hook"])]
    {
        let output = Role::new(role).spawn().wait_with_output(PATIENCE).expect_success();
        assert_eq!(output.said, said, "{role}: {output}");
    }
}

/// What a child's own children do, they do before they end, and its hooks come after.
pub(crate) fn hooks_of_a_tree(start: Start) {
    let (child, said) = heard(start, |up| {
        let up = Arc::new(up);
        says(&up, 0, b'0');
        let (ours, theirs) = pipe::<(), u8>().unwrap();
        let saying = |up: Up| {
            says(&Arc::new(up), 0, b'g');
        };
        let grandchild = spawn(saying, theirs).unwrap();
        up.send(&ours.recv().unwrap()).unwrap();
        grandchild.join().unwrap();
    });
    child.join().unwrap();
    assert_eq!(said, b"g0");
}

/// Children that are left are ended between the hooks: those of priority 0 still have them, those below have not.
pub(crate) fn children_are_ended_before_the_last_hooks(start: Start) {
    fn stubborn(gate: Duplex<u8, u8>) -> u8 {
        signal::set(Signal::TERM, Disposition::Ignore).unwrap();
        hold(gate)
    }
    /// Starts a child that runs on, and says who it is.
    fn left_behind(builder: Builder, task: fn(Duplex<u8, u8>) -> u8) -> Identity {
        let (ours, theirs) = gate();
        let child = builder.spawn(task, theirs).unwrap();
        await_start(&ours);
        std::mem::forget(ours);
        let identity = Identity::of(child.pid()).unwrap();
        child.detach();
        identity
    }
    fn says_states(up: &Arc<Up>, priority: i32, all: &[Identity; 3]) {
        let (up, all) = (Arc::clone(up), *all);
        at_exit(priority, move || {
            all.iter().for_each(|one| up.send(&if one.is_alive() { b'+' } else { b'-' }).unwrap());
            let (gone, outliving) = (all[0].state().is_none(), all[2].is_alive());
            if gone && outliving {
                processes::kill(all[2].pid(), processes::Signal::KILL).unwrap();
            }
        });
    }
    let (child, said) = heard(start, |up| {
        let up = Arc::new(up);
        let outliving = Process::builder().outlive_parent(true);
        let all = [
            left_behind(Process::builder(), hold),
            left_behind(Process::builder(), stubborn),
            left_behind(outliving, hold),
        ];
        says_states(&up, -1, &all);
        says_states(&up, 0, &all);
    });
    child.join().unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "+++--+");
}

/// The task's thread ends the process, and what it has of its own is dropped before anything else.
pub(crate) fn thread_locals_are_dropped_first(start: Start) {
    struct Noisy;

    impl Drop for Noisy {
        fn drop(&mut self) {
            let _ = writeln!(std::io::stdout(), "local");
        }
    }

    thread_local! {
        static LOCAL: Noisy = const { Noisy };
    }

    fn task(_: ()) {
        at_exit(0, || drop(writeln!(std::io::stdout(), "hook")));
        LOCAL.with(|_| ());
    }

    let child = start().stdout(Stdio::piped()).spawn(task, ()).unwrap();
    assert_eq!(child.join_with_output().stdout, b"local\nhook\n");
}
