//! The bars of logs: shipping a record, in the child, against formatting its text into a buffer that is used again.
//!
//! `cargo bench --package procession-benches --bench log_bars` measures all; the arguments and the verdicts are those of the
//! bench `bars`. Both contenders are loops in a child of their own, started as users start theirs; the parent reads what is
//! shipped at the same time, and no record may be lost.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "bars/report.rs"]
mod report;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use procession_floor::judge::Bar::AtMost;
use procession_process::spawn;
use report::Report;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

static N_CAME: AtomicU64 = AtomicU64::new(0);

/// Takes all, and does nothing with it.
struct Sink;

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert_ne!(record.target(), "procession::log", "{}", record.args());
        N_CAME.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {}
}

impl<S: tracing::Subscriber> Layer<S> for Sink {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        assert_ne!(event.metadata().target(), "procession::log");
        N_CAME.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() {
    let mut report = Report::from_args();
    log::set_boxed_logger(Box::new(Sink)).expect("no other");
    log::set_max_level(LevelFilter::Info);
    let all = tracing_subscriber::registry().with(procession_log::layer()).with(Sink);
    tracing::subscriber::set_global_default(all).expect("no other");
    procession_log::set_capacity(64 << 20);
    let n = u64::from(report.effort().calls) * 10;
    let mut floor = || spawn(formats, n).expect("a child").join().expect("a time");
    report.judge("log, record / formatting", "ns", AtMost(2.0), &mut || shipped(ships_log, n), &mut floor);
    report.judge(
        "tracing, event / formatting",
        "ns",
        AtMost(2.0),
        &mut || shipped(ships_event, n),
        &mut floor,
    );
    report.end();
}

fn shipped(ships: fn(u64) -> f64, n: u64) -> f64 {
    let before = N_CAME.load(Ordering::Relaxed);
    let time = spawn(ships, n).expect("a child").join().expect("a time");
    assert_eq!(N_CAME.load(Ordering::Relaxed) - before, n + WARM);
    time
}

/// Records before those that count.
const WARM: u64 = 100;

/// The nanoseconds that one takes.
fn timed(n: u64, mut one: impl FnMut(u64)) -> f64 {
    (0..WARM).for_each(&mut one);
    let began = Instant::now();
    (0..n).for_each(one);
    began.elapsed().as_secs_f64() * 1e9 / n as f64
}

/// Who asks, in each record.
const USER: &str = "user";

fn took(n: u64) -> Duration {
    Duration::from_micros(1_000 + n)
}

fn formats(n: u64) -> f64 {
    let mut text = String::new();
    timed(n, |n| {
        text.clear();
        write!(text, "request {n} of {USER} took {:?}, {} bytes", took(n), n * 7).expect("into memory");
        black_box(&text);
    })
}

fn ships_log(n: u64) -> f64 {
    timed(n, |n| log::info!("request {n} of {USER} took {:?}, {} bytes", took(n), n * 7))
}

fn ships_event(n: u64) -> f64 {
    timed(n, |n| tracing::info!("request {n} of {USER} took {:?}, {} bytes", took(n), n * 7))
}
