//! One process makes things, another one uses them; the queue between holds three of them at most.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

fn produce(things: Sender<String>) {
    for n in 1..=5 {
        // Waits while the queue is full. An error: nobody is left who could take it.
        if things.send(format!("thing {n}")).is_err() {
            return;
        }
    }
    // The last sender goes here, and with it the consumer's loop ends: there is no sentinel to send.
}

fn consume(things: Receiver<String>) -> usize {
    let mut n = 0;
    for thing in things {
        println!("got {thing}");
        n += 1;
    }
    n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = procession::queue::bounded(3)?;
    let consumer = procession::spawn(consume, rx)?;
    procession::spawn(produce, tx)?.join()?;
    println!("{} things", consumer.join()?);
    Ok(())
}
