//! Watching a pool: how far it is, what its workers print, where the time goes, and how to see why it is slow.
//!
//! On a terminal there is a bar; in a pipe or a file there are lines.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::thread::sleep;
use std::time::Duration;

use procession::pool::Verdict;
use procession::prelude::*;
use procession::process::Stdio;

/// One frame in forty takes long, and one cannot be drawn.
fn draw(frame: u64) -> u64 {
    if frame == 13 {
        println!("frame {frame} is a large one");
        sleep(Duration::from_millis(100));
    }
    assert!(frame != 26, "frame 26 is broken");
    sleep(Duration::from_millis(5));
    frame * frame
}

/// What is in it for a task of a nanosecond is the way to it and back.
fn tiny(n: u64) -> u64 {
    n + 1
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Who prints what: each line with the worker's name and number before it.
    let log = Stdio::prefixed();
    let pool = Pool::builder().workers(2).name("render").stdout(log.clone()).stderr(log).build()?;

    let drawn = (0..40).par_procs(&pool).unordered().progress().map(draw).filter(Result::is_ok).count();
    println!("{drawn} frames of 40\n\n{}\n", pool.insights());

    // One item per message is what makes small tasks slow. The window leaves out what was before.
    let before = pool.insights();
    let mut told = 0;
    let ones = (0..2000).par_procs(&pool).chunk(1).on_progress(|progress| told = progress.done).map(tiny);
    let sum = ones.sum::<Result<u64, _>>()?;
    let window = pool.insights().since(&before);
    println!("{sum} in all, the last of {told} steps");
    println!("{} tasks: {}", window.total().done, window.verdict());
    // Whatever this machine does meanwhile, a nanosecond is not most of it.
    assert!(!matches!(window.verdict(), Verdict::Fine(_) | Verdict::Nothing));

    // Lines that workers have printed are all there when the pool has ended.
    pool.join();
    Ok(())
}
