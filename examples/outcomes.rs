//! Every way a process can end, and what `join` says to it: one line each, and each is checked.
//!
//! The same under every kind of build: debug, release, fat LTO with symbols stripped, panics that abort.
//! With `--wait` it first waits for a line, so that somebody can delete or replace the program's file meanwhile.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process;

use procession::prelude::*;
use procession::spawn;
use serde::{Deserialize, Serialize};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    if std::env::args().any(|argument| argument == "--wait") {
        println!("waiting for a line");
        std::io::stdin().read_line(&mut String::new())?;
    }
    values()?;
    errors()?;
    deaths()?;
    refusals()?;
    signals()?;
    println!("all as expected");
    Ok(())
}

/// Prints what `join` said, if it is what was expected.
macro_rules! show {
    ($way:expr, $outcome:expr => $expected:pat) => {
        match $outcome {
            outcome if !matches!(outcome, $expected) => panic!("{}: {outcome:?}", $way),
            Ok(value) => println!("{:<28} {value:?}", $way),
            Err(error) => println!("{:<28} error: {error}", $way),
        }
    };
}

fn values() -> Outcome {
    show!("a value", spawn(|n: u64| n * n, 12)?.join() => Ok(144));
    let child = spawn(|()| 'c', ())?;
    show!("how it ended", child.wait() => Ok(Exit::Code(0)));
    show!("its value", child.try_join() => Ok(Some('c')));
    show!("its value again", child.join() => Err(JoinError::AlreadyTaken { .. }));
    Ok(())
}

fn lines(path: &str) -> Result<usize, TaskError> {
    Ok(std::fs::read_to_string(path)?.lines().count())
}

fn errors() -> Outcome {
    let text = |error: TaskError| error.message().to_owned();
    let child = spawn(|()| lines("/no/such/file"), ())?;
    show!("an error, as a value", child.join().map(|value| value.map_err(text)) => Ok(Err(_)));
    let child = spawn(|()| lines("/no/such/file"), ())?;
    show!("an error, flat", child.join_flat() => Err(JoinError::Failed(_)));
    let child = spawn(|n: u8| assert!(n == 0, "{n} is not zero"), 1)?;
    show!("a panic", child.join() => Err(JoinError::Panicked(_)));
    let scope = procession::scope(|s| s.spawn(|()| -> () { panic!("on purpose") }, ()).map(drop));
    show!("a panic, told by a scope", scope => Err(JoinError::Panicked(_)));
    Ok(())
}

fn deaths() -> Outcome {
    let child = spawn(|code: i32| -> () { process::exit(code) }, 7)?;
    show!("exit(7)", child.join() => Err(JoinError::Exited { code: 7, .. }));
    let child = spawn(|()| -> u8 { process::exit(0) }, ())?;
    show!("exit(0), without a value", child.join() => Err(JoinError::Exited { code: 0, .. }));
    let child = spawn(|()| -> () { process::abort() }, ())?;
    show!("abort()", child.join() => Err(JoinError::Killed { signal: Signal::ABRT, .. }));
    show!("a stack overflow", spawn(descend, 1)?.join() => Err(JoinError::Killed { .. }));
    Ok(())
}

/// Deeper than any stack.
fn descend(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    if n == 0 { 0 } else { descend(n + 1) + page[0] }
}

/// A type that refuses to be read with some of the values that can be written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "u32")]
struct Even(u32);

impl TryFrom<u32> for Even {
    type Error = String;

    fn try_from(n: u32) -> Result<Self, String> {
        if n.is_multiple_of(2) { Ok(Self(n)) } else { Err(format!("{n} is odd")) }
    }
}

fn refusals() -> Outcome {
    let child = spawn(|even: Even| even.0, Even(3))?;
    show!("an argument not decoded", child.join() => Err(JoinError::Argument { .. }));
    show!("a result not decoded", spawn(Even, 3)?.join() => Err(JoinError::ResultNotDecoded { .. }));
    let child = spawn(|()| PathBuf::from(OsString::from_vec(vec![0xff])), ())?;
    show!("a result not encoded", child.join() => Err(JoinError::ResultNotEncoded { .. }));
    Ok(())
}

fn signals() -> Outcome {
    for (way, end) in [("killed", Process::kill as fn(&Process) -> _), ("terminated", Process::terminate)] {
        let (ours, theirs) = procession::pipe::<(), ()>()?;
        let child = spawn(|end: Duplex<(), ()>| drop((end.send(&()), end.recv())), theirs)?;
        ours.recv()?; // it runs, and waits for what never comes
        end(&child)?;
        show!(way, child.join() => Err(JoinError::Killed { signal: Signal::KILL | Signal::TERM, .. }));
    }
    Ok(())
}
