//! Several tasks at once: each outcome as it comes, a callback, priorities, and another number of workers.
//!
//! `cargo run --example tasks`

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::mpsc;

use procession::as_completed;
use procession::prelude::*;

fn letters(word: String) -> usize {
    word.chars().filter(|letter| letter.is_alphabetic()).count()
}

/// Says that it runs, and goes on when it is told to.
fn hold(gate: Duplex<(), ()>) -> usize {
    gate.send(&()).and_then(|()| gate.recv().map_err(|_| SendError::Closed)).map_or(0, |()| 1)
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(2).name("letters").build()?;
    let (_gate, theirs) = procession::pipe()?;
    let tasks = [
        pool.submit(letters, "a-b-c".into())?,
        pool.submit(letters, "letters".into())?,
        pool.submit(hold, theirs)?,
    ];
    tasks[2].cancel();
    for (index, outcome) in as_completed(tasks) {
        let name = ["a", "b", "c"][index];
        match outcome {
            Ok(n) => println!("{name}: {n} letters"),
            Err(failure) => println!("{name}: no: {failure}"),
        }
    }

    // The only worker is busy; of what waits, the urgent task goes first.
    pool.resize(1)?;
    let (gate, theirs) = procession::pipe()?;
    let busy = pool.submit(hold, theirs)?;
    gate.recv()?;
    let (sender, order) = mpsc::channel();
    let late = sender.clone();
    let low = TaskOptions::new().priority(Priority::Low);
    pool.submit_with(low, letters, "whenever".into())?
        .on_done(move |_| late.send("whenever").unwrap_or_default())?;
    let high = TaskOptions::new().priority(Priority::High);
    pool.submit_with(high, letters, "urgent".into())?
        .on_done(move |_| sender.send("urgent").unwrap_or_default())?;
    gate.send(&())?;
    busy.get()?;
    println!("{} goes first", order.recv()?);

    pool.resize(3)?;
    pool.warm_up()?;
    let n_workers = pool.pids().len();
    pool.resize(1)?;
    println!("{n_workers} workers, then {}", pool.workers());
    pool.join();
    Ok(())
}
