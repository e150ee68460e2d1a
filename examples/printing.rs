//! Several processes print; a lock keeps the lines of each together.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

fn print((lock, n): (Lock, u32)) {
    // With an error comes the guard: a process that died printing has left half a verse, and no more.
    let _guard = lock.lock().or_carry_on().expect("this thread has not got it yet");
    println!("process {n}: first line");
    println!("process {n}: second line");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lock = Lock::new()?;
    procession::scope(|s| {
        for n in 0..4 {
            s.spawn(print, (lock.clone(), n))?;
        }
        Ok::<_, SpawnError>(())
    })??;
    Ok(())
}
