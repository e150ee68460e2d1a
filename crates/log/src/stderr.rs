//! Records of this process and of all below it on standard error, for programs that want nothing else.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record, SetLoggerError};

/// Prints what this process and its children log with the crate `log`, up to `level`, on standard error of this process:
/// `[INFO/Process-1] text`.
///
/// Each record is written in one piece, by this process. Called again, or in a child, it only sets the level.
///
/// # Errors
/// The program has installed another logger.
///
/// ```
/// procession_log::log_to_stderr(log::LevelFilter::Info)?;
/// procession_process::spawn(|()| log::info!("hello"), ())?.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn log_to_stderr(level: LevelFilter) -> Result<(), SetLoggerError> {
    if !crate::logger::is_ours() {
        crate::logger::set(Box::new(crate::logger(Stderr)))?;
    }
    log::set_max_level(level);
    Ok(())
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let origin = crate::origin();
        let name = origin.as_ref().map_or_else(|| procession_process::current().name(), |who| &who.name);
        let line = format!("[{}/{name}] {}\n", record.level(), record.args());
        // In one write: a line is never torn apart by those of others. There is nobody to tell of an error.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
