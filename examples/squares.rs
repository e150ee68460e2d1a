//! A pool of workers maps a function over numbers: all at once, by two arguments, and as each is done.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

fn square(n: i64) -> i64 {
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(4)?;
    println!("{:?}", pool.map(square, 0..10)?);
    println!("{:?}", pool.map(|(a, b): (i64, i64)| a * b, [(1, 2), (3, 4), (5, 6)])?);
    let mut squares = pool.map_unordered(square, 0..5).collect::<Result<Vec<_>, _>>()?;
    squares.sort_unstable();
    println!("{squares:?}");
    Ok(())
}
