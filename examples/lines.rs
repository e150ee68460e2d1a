//! Counts the bytes of the lines of its input, with four processes that take lines from one queue.
//!
//! `cargo run --example lines < FILE`
//!
//! ci: stdin: one
//! ci: stdin: three
//! ci: stdin: seventeen

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use procession::prelude::*;

fn count(lines: Receiver<String>) -> usize {
    lines.into_iter().map(|line| line.len()).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = procession::queue::bounded::<String>(1024)?;
    let workers: Vec<_> = (0..4).map(|_| procession::spawn(count, rx.clone())).collect::<Result<_, _>>()?;
    // So that `send` fails, and does not wait, when every worker has died.
    drop(rx);
    for line in std::io::stdin().lines() {
        tx.send(line?)?;
    }
    tx.close();
    let bytes = workers.into_iter().map(Process::join).sum::<Result<usize, _>>()?;
    println!("{bytes} bytes");
    Ok(())
}
