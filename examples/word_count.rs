//! Counts words in all text files below a directory, with a pool of processes.
//!
//! `cargo run --release --example word_count -- [--check] [--workers N] [PATH]`
//!
//! A real file job: files that are no text or cannot be read are noted and skipped, a worker that dies costs the files
//! it was counting and no more, and the exit code says whether anything was lost. `--check` counts everything again in
//! this process alone and compares.
//!
//! ci: --workers 2 crates

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for the terminal")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// Files are handed out in batches of about so many bytes, or so many files.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_FILES: usize = 512;
/// So many notes are printed; the others are counted.
const NOTES_SHOWN: usize = 10;

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Counts {
    words: HashMap<String, u64>,
    n_files: u64,
    n_bytes: u64,
    /// Files that were skipped, and why.
    notes: Vec<(PathBuf, String)>,
}

/// The task: runs in a worker. What is wrong with one file is a note, not the end of the job.
fn count(paths: Vec<PathBuf>) -> Counts {
    let mut counts = Counts::default();
    for path in paths {
        match fs::read(&path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) if !text.contains('\0') => counts.add_text(text),
                _ => counts.notes.push((path, "not a text".into())),
            },
            Err(e) => counts.notes.push((path, e.to_string())),
        }
    }
    counts
}

impl Counts {
    fn add_text(&mut self, text: &str) {
        self.n_files += 1;
        self.n_bytes += text.len() as u64;
        let lower = text.to_lowercase();
        for word in lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()) {
            self.add(word, 1);
        }
    }

    fn add(&mut self, word: &str, n: u64) {
        match self.words.get_mut(word) {
            Some(count) => *count += n,
            None => drop(self.words.insert(word.to_owned(), n)),
        }
    }

    fn merge(&mut self, other: Self) {
        self.n_files += other.n_files;
        self.n_bytes += other.n_bytes;
        self.notes.extend(other.notes);
        for (word, n) in other.words {
            self.add(&word, n);
        }
    }

    fn top(&self, n: usize) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        words.truncate(n);
        words
    }
}

/// Walks a tree and gives its files in batches. Directories that cannot be read become notes.
struct Batches<'a> {
    todo: Vec<PathBuf>,
    files: Vec<(PathBuf, u64)>,
    notes: &'a RefCell<Vec<(PathBuf, String)>>,
}

impl<'a> Batches<'a> {
    fn below(root: &Path, notes: &'a RefCell<Vec<(PathBuf, String)>>) -> Self {
        Self { todo: vec![root.to_owned()], files: Vec::new(), notes }
    }

    /// Reads one more directory (or takes the root, where that is a file).
    fn read(&mut self, path: &Path) -> std::io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        if meta.is_file() {
            self.files.push((path.to_owned(), meta.len()));
        } else if meta.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    self.todo.push(entry.path());
                } else if kind.is_file() {
                    self.files.push((entry.path(), entry.metadata()?.len()));
                }
            }
        }
        Ok(())
    }
}

impl Iterator for Batches<'_> {
    type Item = Vec<PathBuf>;

    fn next(&mut self) -> Option<Vec<PathBuf>> {
        let mut batch = Vec::new();
        let mut n_bytes = 0;
        while n_bytes < BATCH_BYTES && batch.len() < BATCH_FILES {
            if let Some((path, len)) = self.files.pop() {
                batch.push(path);
                n_bytes += len;
            } else if let Some(path) = self.todo.pop() {
                if let Err(e) = self.read(&path) {
                    self.notes.borrow_mut().push((path, e.to_string()));
                }
            } else {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}

struct Arguments {
    root: PathBuf,
    check: bool,
    workers: Option<usize>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { root: ".".into(), check: false, workers: None };
    let mut given = std::env::args_os().skip(1);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--check") => parsed.check = true,
            Some("--workers") => {
                let n = given.next().and_then(|n| n.to_str()?.parse().ok());
                parsed.workers = Some(n.ok_or("--workers needs a number")?);
            }
            Some(option) if option.starts_with("--") => return Err(format!("unknown option {option}")),
            _ => parsed.root = argument.into(),
        }
    }
    fs::metadata(&parsed.root).map_err(|e| format!("{}: {e}", parsed.root.display()))?;
    Ok(parsed)
}

/// Counts with a pool; the second value says how many batches were lost with their workers.
fn count_with(pool: &Pool, root: &Path) -> (Counts, usize) {
    let terminal = std::io::stderr().is_terminal();
    let started = Instant::now();
    let unreadable = RefCell::default();
    let (mut total, mut lost) = (Counts::default(), 0);
    for outcome in Batches::below(root, &unreadable).par_procs(pool).unordered().map(count) {
        match outcome {
            Ok(counts) => total.merge(counts),
            Err(e) => {
                lost += 1;
                eprintln!("lost a batch of files: {e}");
            }
        }
        if terminal {
            let (bytes, seconds) = (total.n_bytes as f64 / 1e6, started.elapsed().as_secs_f64());
            eprint!("\r{} files, {bytes:.0} MB, {:.0} MB/s ", total.n_files, bytes / seconds);
            let _ = std::io::stderr().flush();
        }
    }
    if terminal {
        eprintln!();
    }
    total.notes.extend(unreadable.into_inner());
    (total, lost)
}

fn count_alone(root: &Path) -> Counts {
    let unreadable = RefCell::default();
    let mut total = Counts::default();
    Batches::below(root, &unreadable).for_each(|batch| total.merge(count(batch)));
    total.notes.extend(unreadable.into_inner());
    total
}

fn run() -> Result<bool, Box<dyn Error>> {
    let Arguments { root, check, workers } = arguments()?;
    let settings = Pool::builder().name("words");
    let pool = workers.into_iter().fold(settings, procession::pool::Builder::workers).build()?;
    let started = Instant::now();
    let (mut counts, lost) = count_with(&pool, &root);
    let seconds = started.elapsed().as_secs_f64();

    counts.notes.sort();
    for (path, why) in counts.notes.iter().take(NOTES_SHOWN) {
        eprintln!("skipped {}: {why}", path.display());
    }
    if counts.notes.len() > NOTES_SHOWN {
        eprintln!("skipped {} more files", counts.notes.len() - NOTES_SHOWN);
    }
    println!("{:>12} files, {} skipped", counts.n_files, counts.notes.len());
    println!("{:>12} bytes", counts.n_bytes);
    let speed = counts.n_bytes as f64 / 1e6 / seconds;
    println!("{seconds:>12.3} seconds with {} workers, {speed:.0} MB/s", pool.workers());
    for (word, n) in counts.top(20) {
        println!("{n:>12} {word}");
    }
    if check {
        let started = Instant::now();
        let mut alone = count_alone(&root);
        let alone_seconds = started.elapsed().as_secs_f64();
        alone.notes.sort();
        println!(
            "{alone_seconds:>12.3} seconds in one process, {:.2} times as long",
            alone_seconds / seconds
        );
        if alone != counts {
            return Err("the counts differ: did files change meanwhile?".into());
        }
        println!("             the counts are the same");
    }
    Ok(lost == 0)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("word_count: {e}");
            ExitCode::FAILURE
        }
    }
}
