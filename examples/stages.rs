//! Three stages, each in a process of its own: read, count, collect. The queues between them are short, so a slow stage
//! holds up those before it, and memory stays small however long the input.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;
use procession::queue::bounded;

// ANCHOR: main
fn produce((lines, n): (Sender<String>, u32)) {
    for i in 0..n {
        if lines.send("word ".repeat(i as usize % 7)).is_err() {
            return;
        }
    }
}

fn count((lines, counts): (Receiver<String>, Sender<usize>)) {
    for line in lines {
        if counts.send(line.split_whitespace().count()).is_err() {
            return;
        }
    }
}

fn collect((counts, deepest): (Receiver<usize>, Atomic<u64>)) -> usize {
    let mut sum = 0;
    while let Ok(n) = counts.recv() {
        deepest.fetch_max(counts.len() as u64);
        sum += n;
    }
    sum
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (lines, to_count) = bounded(4)?;
    let (counts, to_collect) = bounded(4)?;
    let deepest = Atomic::new(0)?;
    let sum = procession::spawn(collect, (to_collect, deepest.clone()))?;
    let counter = procession::spawn(count, (to_count, counts))?;
    procession::spawn(produce, (lines, 10_000))?.join()?;
    counter.join()?;
    println!("{} words, never more than 4 counts waiting: {}", sum.join()?, deepest.load() <= 4);
    Ok(())
}
// ANCHOR_END: main
