//! Waiting for an event: one process as long as it takes, the other one as long as it is patient.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;

fn wait(ready: Event) -> bool {
    ready.wait();
    ready.is_set()
}

fn wait_a_little((ready, looked): (Event, Event)) -> bool {
    let came = ready.wait_timeout(Duration::from_millis(10));
    looked.set();
    came
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ready, looked) = (Event::new()?, Event::new()?);
    let patient = procession::spawn(wait, ready.clone())?;
    let hasty = procession::spawn(wait_a_little, (ready.clone(), looked.clone()))?;
    looked.wait();
    ready.set();
    println!("with a time limit: {}", if hasty.join()? { "it came" } else { "it did not come in time" });
    println!("without: {}", if patient.join()? { "it came" } else { "it did not come" });
    Ok(())
}
