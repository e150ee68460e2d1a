//! The bars of managers: a dictionary of ours against a bare one that is served over two rings, an echo over sockets, and
//! Python's `Manager`.
//!
//! `cargo bench --package procession-benches --bench manager_bars` measures all; the arguments and the verdicts are those of
//! the bench `bars`. Keys and values are numbers of eight bytes. The server of each contender is on another processor than
//! its client. The bare dictionary knows no types, no codec and no death.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "manager_bars/python.rs"]
mod python;
#[path = "bars/report.rs"]
mod report;

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use procession_floor::cpu::{Placement, Side, pin};
use procession_floor::fork::{Forked, fork};
use procession_floor::judge::Bar::{AtLeast, AtMost};
use procession_floor::judge::Sorted;
use procession_floor::scenario::Effort;
use procession_floor::served_dict::ServedDict;
use procession_manager::{Dict, Manager};
use report::Report;

/// Keys that are used, one after the other.
const KEYS: u64 = 64;

fn main() {
    let mut report = Report::from_args();
    awake(&mut report);
    asleep(&mut report);
    against_python(&mut report);
    report.end();
}

/// A manager on the far processor, and a dictionary that has every key.
fn served() -> (Manager, Dict<u64, u64>) {
    pin(Placement::Cross, Side::Far);
    let manager = Manager::start().expect("a manager");
    pin(Placement::Cross, Side::Near);
    let dict = manager.dict().expect("a dictionary");
    for key in 0..KEYS {
        assert_eq!(dict.insert(key, key).expect("an answer"), None);
    }
    (manager, dict)
}

/// Thousands of calls in a second.
fn rate(effort: &Effort, mut call: impl FnMut(u64)) -> f64 {
    let calls = u64::from(effort.calls);
    let mut batch = || {
        let began = Instant::now();
        (0..calls).for_each(|n| call(n % KEYS));
        calls as f64 / began.elapsed().as_secs_f64() / 1e3
    };
    Sorted::new((0..effort.batches).map(|_| black_box(batch())).collect()).median()
}

/// Both sides awake: at least 0.4 times the bare dictionary.
fn awake(report: &mut Report) {
    let effort = report.effort();
    for is_get in [true, false] {
        let name = if is_get { "dict, get / bare dict" } else { "dict, set / bare dict" };
        if !report.wants(name) {
            continue;
        }
        let mut bare = ServedDict::new(Placement::Cross);
        (0..KEYS).for_each(|key| assert_eq!(bare.set(key, key), None));
        let (_manager, dict) = served();
        let mut ours = || rate(&effort, |key| assert_eq!(call(&dict, is_get, key), Some(key)));
        let mut floor = || {
            rate(&effort, |key| {
                let value = if is_get { bare.get(key) } else { bare.set(key, key) };
                assert_eq!(value, Some(key));
            })
        };
        report.judge(name, "k/s", AtLeast(0.4), &mut ours, &mut floor);
    }
}

fn call(dict: &Dict<u64, u64>, is_get: bool, key: u64) -> Option<u64> {
    if is_get { dict.get(&key) } else { dict.insert(key, key) }.expect("an answer")
}

/// The server asleep at each call: at least 0.8 times the echo of eight bytes over bare sockets.
fn asleep(report: &mut Report) {
    let name = "dict, get, asleep / socket echo";
    if !report.wants(name) {
        return;
    }
    let effort = report.effort();
    let mut echo = Echo::new();
    let (manager, dict) = served();
    let mut ours = || {
        sleepy(&effort, || until_asleep(manager.pid()), || assert_eq!(dict.get(&7).expect("one"), Some(7)))
    };
    let mut floor = || {
        let Echo { near, child } = &mut echo;
        sleepy(
            &effort,
            || child.until_asleep(),
            || {
                let mut bytes = 7_u64.to_ne_bytes();
                near.write_all(&bytes).expect("a reader");
                near.read_exact(&mut bytes).expect("an answer");
            },
        )
    };
    report.judge(name, "k/s", AtLeast(0.8), &mut ours, &mut floor);
}

/// Thousands of calls in a second, before each of which the server sleeps.
fn sleepy(effort: &Effort, sleep: impl Fn(), mut call: impl FnMut()) -> f64 {
    let mut trip = || {
        sleep();
        let began = Instant::now();
        call();
        1e-3 / began.elapsed().as_secs_f64()
    };
    let trips = effort.batches * effort.trips as usize;
    Sorted::new((0..trips).map(|_| black_box(trip())).collect()).median()
}

/// Waits until all threads of a process sleep in the kernel.
fn until_asleep(pid: u32) {
    let is_asleep = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
        stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S')))
    };
    while !std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").all(is_asleep) {
        std::thread::yield_now();
    }
}

/// Eight bytes there and back over sockets; the child is on the far processor.
struct Echo {
    near: UnixStream,
    child: Forked,
}

impl Echo {
    fn new() -> Self {
        let (near, mut far) = UnixStream::pair().expect("two descriptors");
        pin(Placement::Cross, Side::Near);
        let child = fork(|| {
            pin(Placement::Cross, Side::Far);
            let mut bytes = [0; 8];
            loop {
                far.read_exact(&mut bytes).expect("a number");
                far.write_all(&bytes).expect("a reader");
            }
        });
        Self { near, child }
    }
}

/// Get and set: at least ten times Python's; an object from its making to its end: at most 0.02 times as long.
fn against_python(report: &mut Report) {
    let names =
        ["dict, get / Python's Manager", "dict, set / Python's Manager", "proxy, create and drop / Python's"];
    if !names.iter().any(|name| report.wants(name)) {
        return;
    }
    let effort = report.effort();
    if let Err(error) = python::figures(effort.window) {
        return println!("{}: not measured, python3 does not do it: {error}", names.join(", "));
    }
    let python = |which: usize| {
        // It binds itself as we do.
        pin(Placement::Anywhere, Side::Near);
        let figures = python::figures(effort.window).expect("it did a moment ago");
        pin(Placement::Cross, Side::Near);
        figures[which]
    };
    let (manager, dict) = served();
    for (which, is_get) in [(0, true), (1, false)] {
        let mut ours = || rate(&effort, |key| assert_eq!(call(&dict, is_get, key), Some(key)));
        report.judge(names[which], "k/s", AtLeast(10.0), &mut ours, &mut || python(which));
    }
    let few = Effort { calls: effort.calls.min(100), ..effort };
    let mut ours = || 1e3 / rate(&few, |_| drop(manager.dict::<u64, u64>().expect("a dictionary")));
    report.judge(names[2], "µs", AtMost(0.02), &mut ours, &mut || python(2));
}
