//! One task of a pool, whose value is asked for with patience and without.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;

fn slow((n, go): (u64, Event)) -> u64 {
    go.wait();
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(2)?;
    let go = Event::new()?;
    let task = pool.submit(slow, (12, go.clone()))?;
    match task.get_timeout(Duration::from_millis(10))? {
        Some(value) => println!("already: {value}"),
        None => println!("not within 10 ms"),
    }
    go.set();
    println!("{}", task.get()?);
    Ok(())
}
