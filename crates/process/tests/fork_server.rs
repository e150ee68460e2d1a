//! The fork server: what it leaves behind, what happens when it dies, and what it cannot do.
//!
//! # Safety
//! `prctl` gets numbers; `fork` runs in a role whose only thread is its caller, and the child ends without returning.
#![allow(unsafe_code, reason = "gives up privileges, and forks a role")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_process::{
    Builder, Exit, JoinError, Process, Setting, Signal, SpawnError, StartMethod, set_start_method, spawn,
};
use procession_sys::{child, zygote};
use procession_testkit::processes::{self, State};
use procession_testkit::{Counted, Identity, Role, Storm, guarded, role, roles};

const PATIENCE: Duration = Duration::from_secs(30);

fn by_server() -> Builder {
    Process::builder().start_method(StartMethod::ForkServer)
}

/// The server of this process, which a child is made for if there is none.
fn server() -> Identity {
    assert_eq!(by_server().spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
    Identity::of(zygote::server_pid().expect("a server")).expect("it is not waited for")
}

/// Kills the server; it is dead when this returns.
fn kill(server: &Identity) {
    server.kill(processes::Signal::KILL).unwrap();
    assert!(server.wait_ended(PATIENCE));
}

/// Says that it runs, and goes on when it is told to.
fn hold(gate: Duplex<u8, u8>) -> u8 {
    gate.send(&1).expect("the parent is there");
    gate.recv().expect("the parent says when to go on")
}

/// A child that holds, whose task runs.
fn held(task: fn(Duplex<u8, u8>) -> u8) -> (Process<u8>, Duplex<u8, u8>) {
    let (ours, theirs) = pipe().unwrap();
    let child = by_server().spawn(task, theirs).unwrap();
    assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 1);
    (child, ours)
}

/// As `counted`, and no other test uses the server meanwhile. The last server stays, and is another than the one before.
fn with_the_server(body: impl FnMut()) {
    Counted::new().allow("procession-fork").run(body);
}

fn alone(name: &str) -> bool {
    if role().is_some() {
        return true;
    }
    drop(Role::new(name).spawn().wait_with_output(PATIENCE).expect_success());
    false
}

#[test]
fn another_program_is_for_an_execution() {
    guarded(|| {
        let refused = by_server().program("/proc/self/exe").spawn(|()| (), ());
        let Err(SpawnError::Setting { setting: Setting::Program, error }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("only `StartMethod::Spawn`"), "{error}");
    });
}

#[test]
fn one_server_makes_all_children_and_keeps_nothing_of_them() {
    if !alone("starter") {
        return;
    }
    let server = server();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = descriptors();
    let children: Vec<_> = (0..100).map(|n| (n, by_server().spawn(|n: u32| n * 2, n).unwrap())).collect();
    for (n, child) in children {
        match n % 3 {
            0 => drop(child),
            1 => child.detach(),
            _ => assert_eq!(child.join().unwrap(), n * 2),
        }
    }
    assert_eq!(zygote::server_pid(), Some(server.pid()));
    while !processes::children(server.pid()).is_empty() || descriptors() > before {
        thread::yield_now();
    }
    // It is no member of the domain, and has nothing of it.
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().flatten();
    let paths: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    assert!(!paths.iter().any(|path| path.to_string_lossy().contains("memfd")), "{paths:?}");
    assert!(procession_process::active_children().is_empty(), "the server is none of them");
}

#[test]
fn a_killed_server_is_replaced() {
    with_the_server(|| {
        for _ in 0..5 {
            let first = server();
            kill(&first);
            let second = server();
            assert_ne!(first, second);
            assert_eq!(first.state(), None, "the first one was waited for");
        }
    });
}

/// Its children go on when it dies, their values arrive, and how they end is told right or is lost, never guessed.
#[test]
fn children_outlive_their_server() {
    with_the_server(|| {
        let server = server();
        let (returns, our_returns) = held(hold);
        let (is_killed, our_killed) = held(hold);
        let (exits, our_exits) = held(|gate| {
            hold(gate);
            std::process::exit(3)
        });
        let (panics, our_panics) = held(|gate| panic!("told {}", hold(gate)));
        let (asked, _our_asked) = held(hold);
        kill(&server);
        assert!([&returns, &is_killed, &exits, &panics, &asked].iter().all(|child| child.is_alive()));
        assert_eq!(returns.wait_timeout(Duration::from_millis(5)).unwrap(), None);
        for gate in [our_returns, our_exits, our_panics] {
            gate.send(&9).unwrap();
        }
        assert_eq!(returns.join_timeout(PATIENCE).unwrap(), Some(9));
        is_killed.kill().unwrap();
        let told = is_killed.wait_timeout(PATIENCE).unwrap().expect("its end is seen");
        assert!([Some(Signal::KILL), None].contains(&told.signal()) && told != Exit::Code(0), "{told}");
        match is_killed.join() {
            Err(JoinError::Killed { signal: Signal::KILL, .. } | JoinError::StatusLost { .. }) => {}
            other => panic!("{other:?}"),
        }
        match exits.join() {
            Err(JoinError::Exited { code: 3, .. } | JoinError::StatusLost { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert!(matches!(panics.join(), Err(JoinError::Panicked(panic)) if panic.message == "told 9"));
        let running = Identity::of(asked.pid()).unwrap();
        drop(asked);
        assert!(!running.is_alive(), "dropping a handle still ends the child");
        drop(our_killed);
    });
}

/// Whether this kernel remembers how a process ended that is gone; and what it is.
fn remembers() -> (bool, String) {
    let release = procession_sys::caps::diagnostics().kernel;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    ((numbers.next(), numbers.next()) >= (Some(6), Some(15)), release)
}

/// Where the kernel remembers, nobody waits for the server to hear of an end, and the dead leave nothing there.
#[test]
fn ends_are_told_while_the_server_stands_still() {
    if !remembers().0 || !alone("starter") {
        return;
    }
    let server = server();
    let ((killed, _ours), (returns, gate)) = (held(hold), held(hold));
    server.kill(processes::Signal::STOP).unwrap();
    killed.kill().unwrap();
    gate.send(&7).unwrap();
    assert_eq!(returns.join_timeout(PATIENCE).unwrap(), Some(7));
    assert_eq!(killed.wait_timeout(PATIENCE).unwrap().and_then(Exit::signal), Some(Signal::KILL));
    assert!(processes::children(server.pid()).is_empty(), "the kernel has cleared them away");
    server.kill(processes::Signal::CONT).unwrap();
    assert_eq!(by_server().spawn(|n: u8| n + 1, 2).unwrap().join().unwrap(), 3);
    assert_eq!(zygote::server_pid(), Some(server.pid()));
}

/// Where the kernel remembers, nothing is lost with the server.
#[test]
fn the_kernel_remembers_what_the_server_knew() {
    let (remembers, release) = remembers();
    with_the_server(|| {
        let server = server();
        let (child, ours) = held(hold);
        kill(&server);
        child.kill().unwrap();
        let outcome = child.join();
        // Whoever takes the orphan in must also wait for it.
        let lost = matches!(outcome, Err(JoinError::StatusLost { .. }));
        let told = matches!(outcome, Err(JoinError::Killed { signal: Signal::KILL, .. }));
        assert!(told || (lost && !remembers), "{release}: {outcome:?}");
        drop(ours);
    });
}

/// The server dies at any moment of a request: the child is made all the same, once, and its value arrives.
#[test]
fn a_server_that_dies_while_it_is_asked_is_replaced() {
    with_the_server(|| {
        let mut storm = Storm::seeded();
        let stop = AtomicBool::new(false);
        thread::scope(|s| {
            let killer = s.spawn(|| {
                let mut n_killed = 0;
                while !stop.load(Ordering::Relaxed) {
                    let pause = Duration::from_micros(500 + storm.below(3000));
                    thread::sleep(pause); // tidy: sleep: the moment of the next kill
                    let server = zygote::server_pid().and_then(Identity::of);
                    n_killed +=
                        u32::from(server.is_some_and(|one| one.kill(processes::Signal::KILL).is_ok()));
                }
                n_killed
            });
            let starters: Vec<_> = (0..2_u32)
                .map(|thread| {
                    s.spawn(move || {
                        for n in 0..150 {
                            let started = by_server().spawn(|n: u32| n + 1, n);
                            match started {
                                Ok(child) => assert_eq!(child.join().unwrap(), n + 1, "{thread}"),
                                // One after the other, and each killed: said so, and no child.
                                Err(SpawnError::Os(error)) => {
                                    assert!(
                                        error.to_string().contains("one fork server after another"),
                                        "{error}"
                                    );
                                }
                                Err(other) => panic!("{other:?}"),
                            }
                        }
                    })
                })
                .collect();
            starters.into_iter().for_each(|starter| starter.join().unwrap());
            stop.store(true, Ordering::Relaxed);
            assert!(killer.join().unwrap() > 0, "no server was killed: the storm missed all of them");
        });
        // All servers but the last have been waited for.
        let left: Vec<_> = processes::children(std::process::id());
        assert!(left.iter().filter(|one| one.state() == Some(State::Zombie)).count() <= 1, "{left:?}");
    });
}

/// A server that does not answer costs the start timeout and no more; the next start makes another.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    if !alone("starter") {
        return;
    }
    let first = server();
    first.kill(processes::Signal::STOP).unwrap();
    let limited = by_server().start_timeout(Duration::from_millis(100));
    let Err(SpawnError::Os(error)) = limited.spawn(|()| (), ()) else { panic!("nobody answered") };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    assert_ne!(server(), first);
    assert_eq!(server().pid(), zygote::server_pid().unwrap());
    assert_eq!(first.state(), None, "it was killed, and waited for");
}

/// What a server cannot take off for its children is a reason for another one; the first serves those that it has.
#[test]
fn children_of_a_process_that_gave_up_privileges_have_none() {
    fn privileges(_: ()) -> bool {
        std::fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t0")
    }
    if !alone("starter") {
        return;
    }
    let first = server();
    let (child, ours) = held(hold);
    assert!(by_server().spawn(privileges, ()).unwrap().join().unwrap());
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    assert!(!by_server().spawn(privileges, ()).unwrap().join().unwrap());
    assert_ne!(zygote::server_pid(), Some(first.pid()));
    assert!(first.is_alive() && child.is_alive());
    ours.send(&4).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    assert_eq!(child.join().unwrap(), 4);
    assert!(first.wait_ended(PATIENCE), "it has no children any more");
}

/// A forked copy of a process has a server of its own.
#[test]
fn a_copy_asks_its_own_server() {
    if !alone("original") {
        return;
    }
    let ours = server();
    // SAFETY: this role has one thread (module page).
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let theirs = server();
        child::end_now(i32::from(theirs == ours));
    }
    let mut status = 0;
    // SAFETY: waits for the child just made, and writes one local variable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
    assert_eq!(server(), ours);
}

#[test]
fn without_pidfds_children_are_executed() {
    if role().is_some() {
        assert_eq!(by_server().spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
        return assert_eq!(zygote::server_pid(), None);
    }
    let without = Role::new("old").env("PROCESSION_WITHOUT", "pidfd").spawn();
    drop(without.wait_with_output(PATIENCE).expect_success());
}

/// What is set in one process holds for all below it.
#[test]
fn the_default_is_inherited() {
    fn servers(depth: u32) -> Vec<bool> {
        let mut all = vec![];
        if depth > 0 {
            all = spawn(servers, depth - 1).unwrap().join().unwrap();
            all.push(zygote::server_pid().is_some());
        }
        all
    }
    if alone("root") {
        set_start_method(StartMethod::ForkServer);
        assert_eq!(servers(3), [true; 3]);
        roles::say("done");
    }
}
