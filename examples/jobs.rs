//! Jobs for workers in processes of their own: all are done when `join` says so, and the one that kills whoever touches it
//! is named in the end.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use procession::prelude::*;
use procession::queue::{JobOptions, JobsError};

type R = Result<(), Box<dyn std::error::Error>>;

/// A job is a guard: it is done when it is dropped, also while unwinding.
fn work(jobs: JobReceiver<u64>) {
    for job in jobs {
        println!("{}", *job);
    }
}

fn all_are_done() -> R {
    let (tx, rx) = procession::queue::jobs::<u64>(64)?;
    let _worker = procession::spawn(work, rx)?;
    for i in 0..100 {
        tx.send(i)?;
    }
    tx.join()?;
    Ok(())
}

/// Dies of what it should do.
fn work_badly(jobs: JobReceiver<String>) {
    for job in jobs {
        if job.contains("bomb") {
            std::process::abort();
        }
    }
}

fn one_is_given_up() -> R {
    let (tx, rx) = JobOptions::new(64).max_deliveries(2).create::<String>()?;
    let workers: Vec<_> =
        (0..3).map(|_| procession::spawn(work_badly, rx.clone())).collect::<Result<_, _>>()?;
    drop(rx);
    for what in ["a letter", "a bomb", "a cake"] {
        tx.send(what.into())?;
    }
    match tx.join() {
        Err(JobsError::DeadLetters(given_up)) => println!("{} given up", given_up.len()),
        other => return Ok(other?),
    }
    for letter in tx.dead_letters() {
        let (n, worker) = (letter.deliveries(), letter.worker());
        let is_ours = worker.is_some_and(|worker| workers.iter().any(|process| process.pid() == worker.pid));
        println!(
            "{}, delivered {n} times, the last time to a worker of ours: {is_ours}",
            letter.into_value()?
        );
    }
    Ok(())
}

fn main() -> R {
    all_are_done()?;
    one_is_given_up()
}
