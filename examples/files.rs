//! Files are written and read in parallel; what is wrong with one of them is said of that one.
//!
//! `cargo run --example files -- [DIRECTORY]`; without one, in a directory of its own that it removes.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use procession::prelude::*;

fn write((path, lines): (PathBuf, u32)) -> Result<u64, TaskError> {
    let text: String = (0..lines).map(|n| format!("line {n}\n")).collect();
    fs::write(&path, &text)?;
    Ok(text.len() as u64)
}

fn count_lines(path: PathBuf) -> Result<usize, TaskError> {
    Ok(fs::read_to_string(path)?.lines().count())
}

fn run(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(2)?;
    let paths: Vec<_> = (1..=4).map(|n| directory.join(format!("{n}.txt"))).collect();
    let written = pool.map(write, paths.iter().cloned().zip([10, 200, 3000, 4]))?;
    println!("{} bytes written", written.into_iter().sum::<Result<u64, _>>()?);

    let missing = directory.join("none.txt");
    for (path, lines) in
        paths.iter().chain([&missing]).zip(pool.map(count_lines, paths.iter().chain([&missing]).cloned())?)
    {
        let name = path.file_name().unwrap_or_default().display();
        match lines {
            Ok(n) => println!("{name}: {n} lines"),
            Err(e) => println!("{name}: {e}"),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(directory) = env::args_os().nth(1) {
        return run(Path::new(&directory));
    }
    let directory = env::temp_dir().join(format!("procession-files-{}", process::id()));
    fs::create_dir(&directory)?;
    let done = run(&directory);
    let removed: io::Result<()> = fs::remove_dir_all(&directory);
    done.and(removed.map_err(Into::into))
}
