//! Four racers in processes of their own meet at a gate, wait for the start, and count themselves in; the last one ends the
//! race.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;
use procession::{Barrier, Condvar, Mutex};

fn racer((gate, line, go, stop): (Barrier, Mutex<u32>, Condvar, Event)) {
    match gate.wait() {
        Ok(w) => {
            if w.is_leader() {
                println!("all here");
            }
        }
        Err(b) => return eprintln!("lost {:?}", b.died),
    }
    let mut n = go.wait_while(line.lock().unwrap(), |n| *n == 0).unwrap();
    *n += 1;
    if *n == 5 {
        stop.set();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gate = Barrier::new(4)?;
    let line = Mutex::new(0)?;
    let go = Condvar::new()?;
    let stop = Event::new()?;
    procession::scope(|s| {
        for _ in 0..4 {
            s.spawn(racer, (gate.clone(), line.clone(), go.clone(), stop.clone())).unwrap();
        }
        *line.lock().unwrap() = 1;
        go.notify_all();
        let ended = stop.wait_timeout(Duration::from_secs(30));
        println!(
            "{} came in, {}",
            *line.lock().unwrap() - 1,
            if ended { "the race is over" } else { "some are lost" }
        );
    })?;
    Ok(())
}
