//! Four processes count the words of four texts into one dictionary, which lives in a fifth.
//!
//! `cargo run --example managers`
//!
//! One of them is killed by what it reads, with the lock of the log: the next one is told, and goes on.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use procession::manager::{LockFailed, Mutex};
use procession::prelude::*;

type Shared = (Dict<String, u32>, Mutex<Vec<String>>);

fn count((text, (counts, log)): (String, Shared)) -> Result<(), TaskError> {
    let mut log = match log.lock() {
        Ok(log) => log,
        Err(LockFailed::OwnerDied { mut guard, .. }) => {
            guard.push("one died before this:".into());
            guard
        }
        Err(error) => return Err(error.into()),
    };
    for word in text.split(' ') {
        if word == "halt" {
            std::process::abort();
        }
        // No count is lost, whoever else counts the same word at this moment.
        counts.update(word.to_owned(), |n, by| *n += by, 1)?;
    }
    log.push(text);
    log.commit()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let shared: Shared = (manager.dict()?, manager.mutex(Vec::new())?);
    for text in ["one two", "two halt", "one one", "three"] {
        // Each after the other, so that the log is the same each time.
        if let Err(error) = procession::spawn(count, (text.to_owned(), shared.clone()))?.join_flat() {
            assert!(error.to_string().contains("SIGABRT"), "{error}");
        }
    }
    let (counts, log) = shared;
    let mut counts = counts.entries()?;
    counts.sort();
    println!("{counts:?}");
    println!("{:?}", *log.lock()?);
    Ok(())
}
