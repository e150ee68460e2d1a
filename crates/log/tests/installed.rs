//! Loggers that a child has already stay, and a program that asks for nothing gets nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use procession_process::{Process, StartMethod};
use procession_testkit::guarded;

static N_HERE: AtomicU32 = AtomicU32::new(0);

/// Installed without a wrapper: a forked child goes on with it.
struct Counts;

impl Log for Counts {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        N_HERE.fetch_add(1, Ordering::Relaxed);
        // A logger may start and join a child; not for what that child logs, again.
        if record.args().to_string() == "starts another" {
            let child = Process::builder().spawn(|()| log::info!("the other"), ()).unwrap();
            child.join().unwrap();
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_without_a_wrapper() {
    guarded(|| {
        log::set_logger(&Counts).unwrap();
        log::set_max_level(LevelFilter::Info);
        let logs = |n: u32| {
            log::info!("{n}");
            N_HERE.load(Ordering::Relaxed)
        };
        let join = |method, n| {
            let builder = Process::builder().start_method(method).allow_threads(true);
            let there = builder.spawn(logs, n).unwrap().join().unwrap();
            (there, N_HERE.swap(0, Ordering::Relaxed))
        };
        assert_eq!(join(StartMethod::Spawn, 1), (0, 0), "nobody asked for them");
        procession_log::collect();
        procession_log::collect();
        assert_eq!(join(StartMethod::Spawn, 2), (0, 1));
        assert_eq!(join(StartMethod::Fork, 3), (1, 0), "it has the logger already");
        log::set_max_level(LevelFilter::Off);
        assert_eq!(join(StartMethod::Spawn, 4), (0, 0), "nobody hears them");
        log::set_max_level(LevelFilter::Info);
        let starts = Process::builder().spawn(|()| log::info!("starts another"), ()).unwrap();
        starts.join().unwrap();
        assert_eq!(N_HERE.load(Ordering::Relaxed), 2);
    });
}
