//! Lines of children in their parent: all of them, in order, whatever becomes of who wrote them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what children print is what is tested")]

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession_pipe::Duplex;
use procession_process::{Builder, JoinError, OutputStream, Process, Signal, StartMethod, Stdio, scope};
use procession_testkit::processes::{self, State};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, guarded, role};

const PATIENCE: Duration = Duration::from_secs(30);

/// What was heard: name, number, stream, text, whether it goes on.
type Heard = (String, u32, OutputStream, String, bool);

fn log() -> (Stdio, Receiver<Heard>) {
    let (tell, heard) = channel();
    let stdio = Stdio::lines(move |line| {
        let _ =
            tell.send((line.process.to_owned(), line.pid, line.stream, line.text.to_owned(), line.goes_on));
    });
    (stdio, heard)
}

fn texts(heard: &Receiver<Heard>) -> Vec<String> {
    heard.try_iter().map(|(_, _, _, text, _)| text).collect()
}

/// A child whose two streams are heard.
fn child(name: &str) -> (Builder, Receiver<Heard>) {
    let (stdio, heard) = log();
    (Process::builder().name(name).stdout(stdio.clone()).stderr(stdio), heard)
}

#[test]
fn all_that_is_printed_has_come_when_join_returns() {
    guarded(|| {
        for _ in 0..50 {
            let (builder, heard) = child("printer");
            let print = |()| {
                println!("to stdout");
                eprintln!("to stderr");
                std::io::stdout().write_all(b"\xffno end").unwrap();
            };
            let process = builder.spawn(print, ()).unwrap();
            let pid = process.pid();
            process.join().unwrap();
            let mut lines: Vec<_> = heard.try_iter().collect();
            lines.sort_by_key(|(_, _, stream, ..)| *stream == OutputStream::Stderr);
            let line = |stream, text: &str| ("printer".to_owned(), pid, stream, text.to_owned(), false);
            let expected = [
                line(OutputStream::Stdout, "to stdout"),
                line(OutputStream::Stdout, "\u{fffd}no end"),
                line(OutputStream::Stderr, "to stderr"),
            ];
            assert_eq!(lines, expected);
        }
    });
}

/// With a deadline the lines come as well; a callback that takes longer does not hold it up.
#[test]
fn joined_within_a_deadline() {
    guarded(|| {
        let (builder, heard) = child("timed");
        let process = builder.spawn(|n: u32| (0..n).for_each(|i| println!("{i}")), 1000).unwrap();
        process.join_timeout(PATIENCE).unwrap().expect("it has ended");
        assert_eq!(texts(&heard).len(), 1000);

        let (go_on, gate) = channel::<()>();
        let (tell, told) = channel();
        let stdio = Stdio::lines(move |_| {
            let _ = tell.send(());
            let _ = gate.recv();
        });
        let process = Process::builder().stdout(stdio).spawn(|()| println!("held up"), ()).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        process.wait().unwrap();
        process.join_timeout(Duration::from_millis(20)).unwrap().expect("it has ended");
        drop(go_on);
    });
}

/// A fork has a copy of our end of its own pipe; the end of the last child ends the thread all the same.
#[test]
fn by_every_start_method() {
    guarded(|| {
        for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork] {
            let (builder, heard) = child("method");
            let builder = builder.start_method(method).allow_threads(true);
            // No `println!`: another thread may have held its lock when we forked.
            let write = |()| {
                let written = File::options()
                    .write(true)
                    .open("/proc/self/fd/1")
                    .and_then(|mut out| out.write_all(b"out\n"));
                written
                    .and_then(|()| {
                        File::options()
                            .write(true)
                            .open("/proc/self/fd/2")
                            .and_then(|mut err| err.write_all(b"err\n"))
                    })
                    .unwrap();
            };
            builder.spawn(write, ()).unwrap().join().unwrap();
            let mut lines = texts(&heard);
            lines.sort();
            assert_eq!(lines, ["err", "out"], "{method:?}");
            assert!(heard.recv_timeout(PATIENCE).is_err(), "{method:?}: nobody can write any more");
        }
    });
}

#[test]
fn panics_and_programs_that_the_child_starts() {
    guarded(|| {
        let (builder, heard) = child("panics");
        let outcome = builder.spawn(|()| -> () { panic!("on purpose") }, ()).unwrap().join();
        assert!(matches!(outcome, Err(JoinError::Panicked(_))));
        assert!(texts(&heard).iter().any(|text| text.contains("on purpose")));

        let (builder, heard) = child("shell");
        let shell =
            |()| Command::new("sh").args(["-c", "echo out; echo err >&2"]).status().unwrap().success();
        assert!(builder.spawn(shell, ()).unwrap().join().unwrap());
        let mut lines = texts(&heard);
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
    });
}

#[test]
fn a_killed_child_s_lines_arrive() {
    guarded(|| {
        let (builder, heard) = child("doomed");
        let doomed = |n: usize| {
            (0..n).for_each(|i| println!("line {i}"));
            processes::kill(std::process::id(), processes::Signal::KILL).unwrap();
        };
        let outcome = builder.spawn(doomed, 3000).unwrap().join();
        assert!(matches!(outcome, Err(JoinError::Killed { signal: Signal::KILL, .. })));
        assert!(texts(&heard).into_iter().eq((0..3000).map(|i| format!("line {i}"))));
    });
}

#[test]
fn a_long_line_comes_in_pieces() {
    guarded(|| {
        let (builder, heard) = child("long");
        builder.spawn(|n: usize| println!("{}", "ä".repeat(n)), 100_000).unwrap().join().unwrap();
        let lines: Vec<_> = heard.try_iter().map(|(.., text, goes_on)| (text, goes_on)).collect();
        assert!(lines.iter().all(|(text, _)| text.len() <= 64 << 10));
        assert_eq!(lines.iter().map(|(text, _)| text.as_str()).collect::<String>(), "ä".repeat(100_000));
        assert_eq!(lines.iter().filter(|(_, goes_on)| !goes_on).count(), 1);
        assert!(!lines.last().unwrap().1);
    });
}

#[test]
fn many_children_at_once_and_nothing_is_left() {
    counted(|| {
        let (stdio, heard) = log();
        scope(|s| {
            for child in 0..8 {
                let builder = Process::builder().name(child.to_string());
                let builder = builder.stdout(stdio.clone()).stderr(stdio.clone());
                let print =
                    |n: u32| (0..n).for_each(|i| if i % 2 == 0 { println!("{i}") } else { eprintln!("{i}") });
                s.spawn_with(builder, print, 2000).unwrap();
            }
        })
        .unwrap();
        let heard: Vec<_> = heard.try_iter().collect();
        for child in 0..8 {
            for (stream, rest) in [(OutputStream::Stdout, 0), (OutputStream::Stderr, 1)] {
                let of_child =
                    heard.iter().filter(|(name, _, s, ..)| *name == child.to_string() && *s == stream);
                let expected = (0..2000).filter(|i| i % 2 == rest).map(|i| i.to_string());
                assert!(of_child.map(|(.., text, _)| text.clone()).eq(expected), "{child} {stream:?}");
            }
        }
        // The thread ends with the last pipe.
        await_thread(false);
    });
}

/// Waits until the thread that reads is there, or is not.
fn await_thread(is_there: bool) {
    let is_it = |task: std::io::Result<std::fs::DirEntry>| {
        let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
        // Names of threads are cut off.
        name.is_ok_and(|name| name.trim_end() == "procession-line")
    };
    while std::fs::read_dir("/proc/self/task").unwrap().any(is_it) != is_there {
        std::thread::yield_now();
    }
}

/// Leaves a process behind that holds its streams, says so, and does what it is told.
fn leave_behind(gate: Duplex<u8, u8>) {
    let late = |(gate, up): (Duplex<u8, u8>, Duplex<u8, u8>)| {
        up.send(&1).unwrap();
        gate.recv().unwrap();
        println!("late");
        gate.send(&2).unwrap();
        let _ = gate.recv();
    };
    print!("no end");
    std::io::stdout().flush().unwrap();
    let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
    Process::builder().outlive_parent(true).spawn(late, (gate, theirs)).unwrap().detach();
    // From here on it does not end with us.
    ours.recv().unwrap();
}

#[test]
fn a_grandchild_holds_up_nobody_and_is_heard_later() {
    counted(|| {
        let (stdio, heard) = log();
        let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
        let child = Process::builder().name("child").stdout(stdio).spawn(leave_behind, theirs).unwrap();
        child.join().unwrap();
        assert_eq!(texts(&heard), ["no end"]);
        ours.send(&1).unwrap();
        assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 2);
        let (name, .., text, _) = heard.recv_timeout(PATIENCE).unwrap();
        assert_eq!((name.as_str(), text.as_str()), ("child", "late"));
        await_thread(true);
        drop(ours);
        // With the last writer the callback goes.
        assert!(heard.recv_timeout(PATIENCE).is_err());
        await_thread(false);
    });
}

#[test]
fn a_callback_that_panics_stops_no_child() {
    guarded(|| {
        let calls = Arc::new(Mutex::new(0));
        let count = Arc::clone(&calls);
        let stdio = Stdio::lines(move |_| {
            *count.lock().unwrap() += 1;
            panic!("on purpose");
        });
        let noisy = |n: usize| (0..n).for_each(|_| println!("{}", "x".repeat(1000)));
        Process::builder().stdout(stdio).spawn(noisy, 1000).unwrap().join().unwrap();
        assert_eq!(*calls.lock().unwrap(), 1);
        let (builder, heard) = child("another");
        builder.spawn(|()| println!("heard"), ()).unwrap().join().unwrap();
        assert_eq!(texts(&heard), ["heard"]);
    });
}

#[test]
fn a_callback_may_join_others() {
    guarded(|| {
        let (tell, told) = channel();
        let other = Arc::new(Mutex::new(None));
        let to_join = Arc::clone(&other);
        let stdio = Stdio::lines(move |line| {
            let other: Option<Process<u8>> = to_join.lock().unwrap().take();
            tell.send((line.text.to_owned(), other.map(|other| other.join().unwrap()))).unwrap();
        });
        let quiet = Process::builder()
            .stdout(stdio.clone())
            .spawn(
                |n: u8| {
                    println!("other");
                    n
                },
                7,
            )
            .unwrap();
        *other.lock().unwrap() = Some(quiet);
        let first = Process::builder().stdout(stdio).spawn(|()| println!("first"), ()).unwrap();
        first.join().unwrap();
        let mut told: Vec<_> = (0..2).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        told.sort();
        assert_eq!(told.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["first", "other"]);
        assert_eq!(told.iter().filter_map(|(_, value)| *value).collect::<Vec<_>>(), [7]);
    });
}

#[test]
fn input_of_this_kind_is_none() {
    guarded(|| {
        let read = |()| std::io::read_to_string(std::io::stdin()).unwrap();
        let (stdio, _heard) = log();
        assert_eq!(Process::builder().stdin(stdio).spawn(read, ()).unwrap().join().unwrap(), "");
    });
}

#[test]
fn prefixed_lines_and_those_of_a_dropped_child() {
    if role().is_some() {
        let child = Process::builder().name("worker").stdout(Stdio::prefixed());
        let process = child.clone().spawn(|()| println!("hello"), ()).unwrap();
        let pid = process.pid();
        process.join().unwrap();
        // This one ends with its handle.
        let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
        let endless = |gate: Duplex<u8, u8>| {
            println!("dropped");
            gate.send(&1).unwrap();
            let _ = gate.recv();
        };
        let process = child.clone().spawn(endless, theirs).unwrap();
        ours.recv().unwrap();
        let second = process.pid();
        drop(process);
        // And this one when this process does.
        let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
        let process = child.spawn(endless, theirs).unwrap();
        ours.recv().unwrap();
        roles::say(&format!("{pid} {second} {}", process.pid()));
        std::mem::forget((process, ours));
        std::process::exit(0);
    }
    guarded(|| {
        let mut parent = Role::new("parent").spawn();
        let pids = parent.hear(PATIENCE).expect("numbers");
        let output = parent.wait_with_output(PATIENCE).expect_success();
        let mut pids = pids.split(' ');
        let line = |text| format!("[worker {}] {text}\n", pids.next().unwrap());
        let expected: String = ["hello", "dropped", "dropped"].map(line).concat();
        assert!(output.stderr.ends_with(&expected), "{} for {expected}", output.stderr);
    });
}

fn is_stopped(pid: u32) -> bool {
    processes::state(pid) == Some(State::Stopped)
}

/// Whether a thread of the process waits in a write to its standard output.
fn waits_in_write(pid: u32) -> bool {
    let is_it = |task: std::io::Result<std::fs::DirEntry>| {
        let call = task.and_then(|task| std::fs::read_to_string(task.path().join("syscall")));
        call.is_ok_and(|call| call.starts_with("1 0x1 "))
    };
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().any(is_it)
}

/// A callback that hands lines on only when their child has ended, and takes its time.
fn late(mut hear: impl FnMut(&str) + Send + 'static) -> Stdio {
    Stdio::lines(move |line| {
        while matches!(processes::state(line.pid), Some(state) if state != State::Zombie) {
            std::thread::yield_now();
        }
        // tidy: sleep: who does not wait is long gone by then
        std::thread::sleep(Duration::from_micros(200));
        hear(line.text);
    })
}

/// Prints so many lines, says so, and waits.
fn print_and_wait((gate, n): (Duplex<u8, u8>, usize)) {
    (0..n).for_each(|i| println!("line {i}"));
    gate.send(&1).unwrap();
    let _ = gate.recv();
}

#[test]
fn a_drop_and_an_exit_wait_for_lines() {
    let start = |stdio: Stdio| {
        let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
        let child = Process::builder().stdout(stdio).spawn(print_and_wait, (theirs, 100)).unwrap();
        ours.recv().unwrap();
        (child, ours)
    };
    if role().is_some() {
        let stdio = late(|text| eprintln!("heard {text}"));
        roles::say("running");
        // Nobody drops it: it ends with this process.
        std::mem::forget(start(stdio));
        std::process::exit(0);
    }
    guarded(|| {
        let (tell, told) = channel();
        let (child, gate) = start(late(move |text| drop(tell.send(text.to_owned()))));
        drop(child);
        assert_eq!(told.try_iter().count(), 100);
        drop(gate);
        let output = Role::new("parent").spawn().wait_with_output(PATIENCE).expect_success();
        assert_eq!(output.stderr.matches("heard line").count(), 100, "{}", output.stderr);
    });
}

/// While its parent is stopped a child that writes much waits, and then goes on.
#[test]
fn a_stopped_parent_misses_nothing() {
    const LINES: usize = 20_000;
    if role().is_some() {
        let (stdio, heard) = log();
        let print = |(parent, n): (u32, usize)| {
            while !is_stopped(parent) {
                std::thread::yield_now();
            }
            (0..n).for_each(|i| println!("line {i}"));
        };
        let print = Process::builder().stdout(stdio).spawn(print, (std::process::id(), LINES)).unwrap();
        roles::say(&print.pid().to_string());
        print.join().unwrap();
        let all = texts(&heard).into_iter().eq((0..LINES).map(|i| format!("line {i}")));
        return roles::say(&all.to_string());
    }
    guarded(|| {
        let mut parent = Role::new("parent").spawn();
        let child: u32 = parent.hear(PATIENCE).expect("a number").parse().unwrap();
        processes::kill(parent.pid(), processes::Signal::STOP).unwrap();
        while !is_stopped(parent.pid()) {
            std::thread::yield_now();
        }
        while !waits_in_write(child) {
            std::thread::yield_now();
        }
        processes::kill(parent.pid(), processes::Signal::CONT).unwrap();
        assert_eq!(parent.hear(PATIENCE).as_deref(), Some("true"));
        parent.wait_with_output(PATIENCE).expect_success();
    });
}
