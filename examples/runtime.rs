//! Processes, queues and pools in a runtime of tokio: nothing blocks its threads.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;
use procession::queue::bounded;

fn square(n: u64) -> u64 {
    n * n
}

fn count(lines: Receiver<String>) -> usize {
    lines.into_iter().map(|line| line.len()).sum()
}

fn forever(_: ()) {
    loop {
        std::thread::park();
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(2)?;
    let (one, other) = (pool.submit(square, 6)?, pool.submit(square, 7)?);
    let (one, other) = tokio::join!(one, other);
    println!("{} and {}", one?, other?);

    let (tx, rx) = bounded(2)?;
    let counter = procession::spawn(count, rx)?;
    for n in 0..100 {
        tx.send_async(format!("line {n}")).await?;
    }
    tx.close();
    println!("{} letters", counter.join_async().await?);

    // What is dropped is cancelled: the wait here, and then the process.
    let endless = procession::spawn(forever, ())?;
    let patience = tokio::time::timeout(Duration::from_millis(10), endless.join_async());
    println!("in time: {}", patience.await.is_ok());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(run())
}
