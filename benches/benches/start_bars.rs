//! The bars of starts: a process started, its function run, its value here; against what the kernel asks for the same.
//!
//! `cargo bench --package procession-benches --bench start_bars` measures all; the arguments and the verdicts are those of
//! the bench `bars`. A fork server against a bare one, which tells a number and no value; an execution against
//! `std::process::Command` of the same program, which ends at once; a fork against a bare fork. Each from a small parent
//! and from one with a gibibyte that it has written to. Contenders take turns, pair by pair.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "bars/report.rs"]
mod report;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use procession_floor::fork::fork;
use procession_floor::fork_server::ForkServer;
use procession_floor::judge::Bar::AtMost;
use procession_process::{Process, StartMethod};
use report::Report;

/// What is written to before the second half, in bytes; 4096 are a page.
const LARGE: usize = 1 << 30;
/// Makes this program end at once, for its execution by others.
const NOTHING: &str = "--nothing";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(NOTHING) {
        return;
    }
    let mut report = Report::from_args();
    // Both servers are made while the parent is small, as in a program that starts children before it loads its data.
    let floor = ForkServer::new(|| ());
    start_and_join(StartMethod::ForkServer);
    bars(&mut report, &floor, "small parent");
    let full = report.effort().pairs >= procession_floor::judge::ENOUGH;
    let mut memory = vec![0_u8; if full { LARGE } else { 1 << 20 }];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    bars(&mut report, &floor, "1 GiB parent");
    black_box(memory);
    report.end();
}

fn bars(report: &mut Report, floor: &ForkServer, parent: &str) {
    let n = report.effort().batches.max(1);
    let name = format!("fork server, {parent} / bare fork server");
    let mut ours = || median(n, 10, || start_and_join(StartMethod::ForkServer));
    let mut bare = || median(n, 10, || assert_eq!(floor.start_and_join().code, 0));
    report.judge(&name, "µs", AtMost(2.0), &mut ours, &mut bare);

    let name = format!("execution, {parent} / Command");
    let mut ours = || median(n, 2, || start_and_join(StartMethod::Spawn));
    let mut bare = || {
        median(n, 2, || {
            let ended = Command::new("/proc/self/exe").arg(NOTHING).status().expect("this program");
            assert!(ended.success());
        })
    };
    report.judge(&name, "µs", AtMost(1.15), &mut ours, &mut bare);

    // One of a large parent takes as long as a hundred others.
    let n = n.min(5);
    let name = format!("fork, {parent} / bare fork");
    let mut ours = || median(n, 1, || start_and_join(StartMethod::Fork));
    let mut bare = || median(n, 1, || fork(|| ()).finish());
    // No promise: a child of ours has a thread for its task, and a value.
    report.judge(&name, "µs", AtMost(4.0), &mut ours, &mut bare);
}

fn start_and_join(method: StartMethod) {
    let child = Process::builder().start_method(method).spawn(|n: u64| n + 1, 1).expect("a child");
    assert_eq!(child.join().expect("a value"), 2);
}

/// The median over `n` batches of the microseconds that one takes of `each` in a batch.
fn median(n: usize, each: usize, mut one: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..n)
        .map(|_| {
            let began = Instant::now();
            (0..each).for_each(|_| one());
            began.elapsed().as_secs_f64() * 1e6 / each as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
