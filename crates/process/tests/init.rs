//! Programs whose pre-main hook does not run: with `init()` first in `main` all is well, without it there is an error.
//!
//! No test harness here: what is tested is `main`. The program runs itself, as one of the [`MAINS`], with the hook
//! switched off, as it is where a linker drops constructors.

use std::process::{Command, ExitCode};
use std::time::Duration;

use procession_process::{Exit, JoinError, Process, SpawnError, init, spawn};
use procession_shm::domain::Domain;
use procession_testkit::mains::{self, Main};
use procession_testkit::{Identity, processes};

const LIMIT: Duration = Duration::from_secs(60);
/// What a `main` exits with that should not have been entered, and notices.
const ENTERED: u8 = 42;

/// The programs, by the name of what they show.
const MAINS: [Main; 6] = [
    ("with_init_children_run", with_init),
    ("without_init_the_child_never_starts", never_starts),
    ("without_init_a_waiting_main_is_no_handshake", no_handshake),
    ("without_init_a_detached_child_that_waits_is_ended", detached_and_late),
    ("a_child_that_made_a_domain_before_init_keeps_it", late_init),
    ("init_in_a_parent_does_nothing", with_init),
];

fn main() -> ExitCode {
    let without_hook = |name: &str, command: &mut Command| {
        if name != "init_in_a_parent_does_nothing" {
            command.env("PROCESSION_WITHOUT", "hook");
        }
    };
    mains::run(&MAINS, without_hook, |_, _| true)
}

fn with_init() {
    init();
    init();
    fn generations(n: u32) -> u32 {
        if n == 0 { 0 } else { spawn(generations, n - 1).unwrap().join().unwrap() + 1 }
    }
    assert_eq!(spawn(generations, 2).unwrap().join().unwrap(), 2);
    let exits = spawn(|code: i32| -> () { std::process::exit(code) }, 3).unwrap().join();
    assert!(matches!(exits, Err(JoinError::Exited { code: 3, .. })), "{exits:?}");
}

/// Whether this is the `main` of a child, which the hook should have prevented. Such a one can start nothing: else
/// every child would start another.
fn entered() -> bool {
    let Some(_) = std::env::var_os("PROCESSION_CHILD") else { return false };
    let refused = spawn(|()| (), ());
    let Err(SpawnError::Os(error)) = refused else { panic!("a child without a hook started another") };
    assert!(error.to_string().contains("call `procession::init()` first in `main`"), "{error}");
    true
}

fn never_starts() {
    if entered() {
        std::process::exit(ENTERED.into());
    }
    let outcome = spawn(|()| (), ()).unwrap().join();
    let Err(JoinError::NeverStarted { exit, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(exit, Exit::Code(ENTERED.into()));
}

fn no_handshake() {
    if entered() {
        loop {
            std::thread::park();
        }
    }
    let timeout = Duration::from_millis(200);
    let child = Process::builder().start_timeout(timeout).spawn(|()| (), ()).unwrap();
    let error = child.join().unwrap_err();
    assert!(matches!(error, JoinError::NoHandshake { after, .. } if after == timeout), "{error:?}");
    assert!(error.to_string().contains("call `procession::init()` first in `main`"), "{error}");
}

/// Nobody waits for it but the background thread.
fn detached_and_late() {
    if entered() {
        loop {
            std::thread::park();
        }
    }
    let late = Process::builder().start_timeout(Duration::from_millis(200)).spawn(|()| (), ()).unwrap();
    let in_time = Process::builder().start_timeout(LIMIT).spawn(|()| (), ()).unwrap();
    let all = [&late, &in_time].map(|child| Identity::of(child.pid()).expect("it is not waited for"));
    in_time.detach();
    late.detach();
    let ended = all[0].wait_gone(LIMIT);
    let spared = all[1].is_alive();
    // It never learned who its parent is, so it would outlive us.
    all[1].kill(processes::Signal::KILL).expect("it is ours");
    assert!(ended, "it was neither ended nor waited for");
    assert!(spared, "its time was not up");
}

/// `main` makes something shared before it becomes the child.
fn late_init() {
    let ours = Domain::current().unwrap().id().to_words();
    init();
    let domain = |()| Domain::current().unwrap().id().to_words();
    let theirs = spawn(domain, ()).unwrap().join().unwrap();
    assert_ne!(theirs, ours, "it had its own already");
}
