//! Workers die, and the work is done all the same: by a pool that tries again, by hand, and by jobs that come back.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

// ANCHOR: main
/// Dies at the first attempt, as a bug in foreign code would have it.
fn fragile(n: u32) -> u32 {
    if n == 3 && procession::pool::attempt() == 1 {
        std::process::abort();
    }
    n * 10
}

fn crash(_: ()) {
    std::process::abort();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The tasks may be run again, so nobody notices.
    let patient = Pool::builder().workers(2).retries(1).build()?;
    println!("{:?}", patient.map(fragile, 1..=5)?);

    // They may not: one is lost, and says so; the others are done.
    let strict = Pool::builder().workers(2).name("strict").build()?;
    for (n, outcome) in (1..=5).zip(strict.map_each(fragile, 1..=5)) {
        match outcome {
            Ok(value) => println!("{n}: {value}"),
            Err(TaskFailed::WorkerDied { .. }) => println!("{n}: lost with its worker"),
            Err(e) => return Err(e.into()),
        }
    }

    // A process of one's own: how it ended is a value.
    match procession::spawn(crash, ())?.join() {
        Err(JoinError::Killed { signal, .. }) => println!("it was killed by {signal}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
// ANCHOR_END: main
