//! One thread serves whatever is ready first: a queue, a pipe, an event, a child that ends, a socket.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procession::Waitable;
use procession::pipe::wait;
use procession::prelude::*;

fn work((jobs, gone): (Sender<u32>, Event)) -> u32 {
    (0..3).for_each(|n| jobs.send(n).expect("somebody receives"));
    gone.set();
    3
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = procession::queue::bounded::<u32>(8)?;
    let (ours, theirs) = procession::pipe::<(), String>()?;
    let (gone, (mut near, mut far)) = (Event::new()?, UnixStream::pair()?);
    let child = procession::spawn(work, (tx, gone.clone()))?;
    theirs.send(&"a message".into())?;
    far.write_all(b"!")?;

    let (mut sum, mut seen) = (0, [false; 4]);
    while seen != [true; 4] || sum < 3 {
        // Only what is still of interest.
        let all: [&dyn Waitable; 5] = [&rx, &ours, &gone, &child, &near];
        let wanted: Vec<usize> = (0..5).filter(|n| *n == 0 && sum < 3 || *n > 0 && !seen[n - 1]).collect();
        let things: Vec<&dyn Waitable> = wanted.iter().map(|n| all[*n]).collect();
        for index in wait(&things, Duration::from_secs(30))? {
            match wanted[index] {
                0 => sum += rx.try_recv().unwrap_or(0),
                1 => println!("{}", ours.try_recv()?),
                4 => near.read_exact(&mut [0])?,
                _ => {}
            }
            if let Some(seen) = wanted[index].checked_sub(1).and_then(|n| seen.get_mut(n)) {
                *seen = true;
            }
        }
    }
    println!("{} jobs, whose numbers are {sum} together", child.join()?);
    Ok(())
}
