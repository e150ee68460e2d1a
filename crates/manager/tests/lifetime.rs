//! The end of a server: whoever asks it anything hears of it, and it comes within a bound.

use std::io::Write;
use std::thread;
use std::time::Duration;

use procession_manager::{CallError, Dict, Manager};
use procession_process::{Exit, Signal, spawn};
use procession_testkit::processes::{self, Identity};
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, role};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_killed_server_is_one_error_that_says_how_it_ended() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        let (ours, theirs) = procession_pipe::pipe::<(), bool>().unwrap();
        let task = |(dict, end): (Dict<u8, u8>, procession_pipe::Duplex<bool, ()>)| {
            dict.insert(1, 1).unwrap();
            end.send(&true).unwrap();
            // Parked in the server, or about to ask it.
            let lost = dict.wait_for(&2);
            end.send(&matches!(lost, Err(CallError::ServerGone { exit: None }))).unwrap();
        };
        let child = spawn(task, (dict.clone(), theirs)).unwrap();
        assert!(ours.recv().unwrap());
        let killed = |lost: CallError| {
            let is_told = matches!(
                lost,
                CallError::ServerGone { exit: Some(Exit::Signal { signal: Signal::KILL, .. }) }
            );
            assert!(is_told, "{lost:?}");
        };
        thread::scope(|scope| {
            let parked: Vec<_> = (0..3).map(|_| scope.spawn(|| dict.wait_for(&2).unwrap_err())).collect();
            processes::kill(manager.pid(), processes::Signal::KILL).unwrap();
            parked.into_iter().for_each(|thread| killed(thread.join().unwrap()));
        });
        assert!(ours.recv().unwrap(), "the child heard something else");
        child.join().unwrap();
        killed(dict.get(&1).unwrap_err());
        killed(manager.dict::<u8, u8>().unwrap_err());
        assert!(dict.len().unwrap_err().to_string().contains("its server is gone: killed by"));
        // Who meets it first after its end hears the same.
        let late = spawn(|dict: Dict<u8, u8>| dict.get(&1).unwrap_err().to_string(), dict.clone()).unwrap();
        assert!(late.join().unwrap().ends_with("its server is gone"));
    });
}

#[test]
fn shutdown_is_told_and_can_be_repeated() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        let server = Identity::of(manager.pid()).unwrap();
        for _ in 0..2 {
            assert_eq!(manager.shutdown(PATIENCE), Some(Exit::Code(0)));
            assert!(!server.is_alive());
        }
        let lost = dict.insert(1, 1).unwrap_err();
        assert!(matches!(lost, CallError::ServerGone { exit: Some(Exit::Code(0)) }), "{lost:?}");
    });
}

#[test]
fn a_dropped_manager_ends_its_server_also_one_that_hears_nothing() {
    guarded(|| {
        for is_stopped in [false, true] {
            let manager = Manager::start().unwrap();
            let dict = manager.dict::<u8, u8>().unwrap();
            let server = Identity::of(manager.pid()).unwrap();
            if is_stopped {
                server.kill(processes::Signal::STOP).unwrap();
            }
            drop(manager);
            assert!(!server.is_alive());
            assert!(matches!(dict.get(&1), Err(CallError::ServerGone { .. })));
        }
    });
}

#[test]
fn a_server_ends_with_a_starter_that_is_killed() {
    if role().as_deref() == Some("starter") {
        let manager = Manager::start().unwrap();
        let mut report = std::fs::File::from(roles::handed("report"));
        writeln!(report, "{}", manager.pid()).unwrap();
        drop(report);
        loop {
            thread::park();
        }
    }
    guarded(|| {
        let (report, theirs) = std::io::pipe().unwrap();
        let starter = Role::new("starter").hand("report", theirs).spawn();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(report), &mut line).unwrap();
        let server = Identity::of(line.trim().parse().unwrap()).unwrap();
        assert!(server.is_alive());
        processes::kill(starter.pid(), processes::Signal::KILL).unwrap();
        assert!(server.wait_ended(PATIENCE));
    });
}

#[test]
fn a_call_gives_up_on_a_server_that_does_not_answer() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        let server = Identity::of(manager.pid()).unwrap();
        server.kill(processes::Signal::STOP).unwrap();
        let given_up = dict.wait_for_timeout(&1, Duration::from_millis(1));
        assert!(matches!(given_up, Err(CallError::TimedOut)), "{given_up:?}");
        server.kill(processes::Signal::CONT).unwrap();
        // The answers to what was given up are nobody's.
        assert_eq!(dict.insert(1, 2).unwrap(), None);
        assert_eq!(dict.get(&1).unwrap(), Some(2));
    });
}
