//! Ten processes add to one number, under its lock; then the same with a number that needs none.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

// ANCHOR: count
fn count((number, plain): (Value<u64>, Atomic<u64>)) {
    for _ in 0..1000 {
        // Reads, adds and writes under the lock. The one error: who held it died, and this is what it left.
        number.update(|n| *n += 1).expect("nobody was killed");
        plain.fetch_add(1);
    }
}
// ANCHOR_END: count

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (number, plain) = (Value::new(0)?, Atomic::new(0)?);
    procession::scope(|s| {
        for _ in 0..10 {
            s.spawn(count, (number.clone(), plain.clone()))?;
        }
        Ok::<_, SpawnError>(())
    })??;
    println!("{} under a lock, {} without", number.get(), plain.load());
    Ok(())
}
