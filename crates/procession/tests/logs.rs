//! What workers of pools log comes to the logger of their parent, whatever becomes of them.

use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record, info};
use procession::prelude::*;
use procession_testkit::guarded;

static GOT: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Memory;

impl Log for Memory {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let from_worker = procession::log::origin().is_some();
        let line = format!("{from_worker} {}", record.args());
        GOT.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

#[test]
fn workers_log_in_the_parent() {
    guarded(|| {
        log::set_boxed_logger(Box::new(procession::log::logger(Memory))).unwrap();
        log::set_max_level(LevelFilter::Info);
        let pool = Pool::new(2).unwrap();
        let squares = pool.map(
            |n: u32| {
                info!("task {n}");
                n * n
            },
            0..20,
        );
        assert_eq!(squares.unwrap()[19], 361);
        let last_words = |()| -> () {
            info!("last words");
            std::process::abort();
        };
        assert!(matches!(pool.submit(last_words, ()).unwrap().get(), Err(TaskFailed::WorkerDied { .. })));
        // The death of that worker has been told, so its records have come.
        assert!(GOT.lock().unwrap().contains(&"true last words".to_owned()));
        drop(pool);
        let mut got = std::mem::take(&mut *GOT.lock().unwrap());
        got.sort();
        let mut expected: Vec<_> = (0..20).map(|n| format!("true task {n}")).collect();
        expected.push("true last words".into());
        expected.sort();
        assert_eq!(got, expected);
    });
}
