//! A pipe with two ends: what goes in comes back in capitals.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;

// ANCHOR: main
fn shout(end: Duplex<String, String>) -> usize {
    let mut n = 0;
    // Ends when the other end is dropped, or its process dies.
    while let Ok(text) = end.recv() {
        if end.send(&text.to_uppercase()).is_err() {
            break;
        }
        n += 1;
    }
    n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = procession::pipe::<String, String>()?;
    let child = procession::spawn(shout, theirs)?;
    for text in ["hello", "is anybody there?"] {
        ours.send(&text.to_owned())?;
        match ours.recv_timeout(Duration::from_secs(30)) {
            Ok(answer) => println!("{answer}"),
            Err(RecvError::TimedOut) => println!("no answer yet"),
            Err(e) => return Err(e.into()),
        }
    }
    drop(ours);
    println!("{} answers", child.join()?);
    Ok(())
}
// ANCHOR_END: main
