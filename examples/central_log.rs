//! One log for a tree of processes: children log as if they were threads, and one of them is killed while it does.
//!
//! `cargo run --example central_log`

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::sync::atomic::{AtomicUsize, Ordering};

use log::{LevelFilter, Log, Metadata, Record, info, warn};
use procession::prelude::*;

/// The logger of the program; any other would do. It knows nothing of children, but asks where a record comes from.
struct Terminal;

static N_LINES: AtomicUsize = AtomicUsize::new(0);

impl Log for Terminal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        N_LINES.fetch_add(1, Ordering::Relaxed);
        let from = procession::log::origin().map_or("main".into(), |who| who.name);
        println!("{:5} {from}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn resize(n: u32) {
    info!("picture {n} is read");
    if n == 2 {
        warn!("picture {n} is too large");
        std::process::abort();
    }
    info!("picture {n} is written");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    log::set_boxed_logger(Box::new(procession::log::logger(Terminal)))?;
    log::set_max_level(LevelFilter::Info);

    for n in 1..=3 {
        let worker = Process::builder().name(format!("worker-{n}")).spawn(resize, n)?;
        // All that the worker logged has been printed when this returns, also what it logged last.
        if let Err(error) = worker.join() {
            warn!("no picture {n}: {}", error.signal().map_or("?".into(), |signal| signal.to_string()));
        }
    }
    println!("{} records", N_LINES.load(Ordering::Relaxed));
    Ok(())
}
