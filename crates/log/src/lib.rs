//! Log records and spans of child processes, in the loggers of their parent.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! procession_log::log_to_stderr(log::LevelFilter::Info)?;
//!
//! // Prints `[INFO/Process-1] hello`, from this process, before `join` returns.
//! procession_process::spawn(|()| log::info!("hello"), ())?.join()?;
//! # Ok(()) }
//! ```
//!
//! A child writes each record into a ring in shared memory that it has alone with its parent, from before its task starts.
//! The parent reads it, and gives the record to its own logger. What was written is there whatever then becomes of the
//! child, SIGKILL included, and has been handed on when its end is reported: by a join, a wait, a scope, a drop, a pool.
//!
//! # What works today
//! | for | in the parent | what comes |
//! |---|---|---|
//! | `tracing` (feature `tracing`) | [`layer`] in the subscriber | events, spans with their values; the span that started the child is around all of them |
//! | `log` (feature `log`) | [`logger`] around any logger, or [`collect`] beside it | records with target, module, file, line, key-values |
//! | neither yet | [`log_to_stderr`] | lines on standard error |
//!
//! - Each record has the fields `process` and `pid`; loggers that know no fields can ask for the [`origin`].
//! - A panic of a child is a record at level error, with the target `panic`, its file and line.
//! - By all start methods, from workers of pools, and from children of children: those ship to their parent, which passes on.
//! - The levels that are let through when a child is started are those that it writes at all. Filters by target are applied
//!   where records arrive.
//! - A child never waits for its parent: what finds no room in the ring ([`set_capacity`]) is counted, and the parent says how
//!   many there were, at level warn, with the target `procession::log`.
//! - A program that asks for none of this, or whose loggers are off, pays nothing for it.
//!
//! # If a process dies
//! | who | what is lost |
//! |---|---|
//! | a child, at any moment | what it had not written yet; spans of it are closed |
//! | a process with children, by a signal | what its children wrote and it had not passed on |
//!
//! # What it does not do
//! It has no macros of its own. It keeps the order of the records of one child, and not that of two. It tells of spans made,
//! given values and closed, and not of each time that one is entered, nor of one that follows from another. A copy that a child
//! forks by itself ships nothing. A level that the parent changes later counts for children that are started later.
//!
//! A process with one thread that [forks] its children gets no second thread for this: their records come when their end is
//! seen, so that a ring may fill before.
//!
//! Loggers of the parent run on a thread of ours, `procession-log`, or on one that waits for a child. They may start and join
//! children. One that panics costs its record. A logger that blocks on something that the waiting thread holds delays the report
//! of an end by a second, and no more.
//!
//! [forks]: procession_process::StartMethod::Fork
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(feature = "log", feature = "tracing")),
    allow(dead_code, reason = "without a feature there is nothing to ship")
)]

mod collector;
mod emit;
mod frame;
mod intake;
#[cfg(feature = "tracing")]
mod layer;
#[cfg(any(feature = "log", feature = "tracing"))]
mod level;
#[cfg(feature = "log")]
mod logger;
mod notice;
mod origin;
mod outlet;
#[doc(hidden)]
pub mod ring;
#[cfg(feature = "tracing")]
mod scene;
#[cfg(feature = "tracing")]
mod sites;
mod spawn;
#[cfg(feature = "log")]
mod stderr;
mod value;

#[cfg(feature = "tracing")]
pub use layer::{Shipping, layer};
#[cfg(feature = "log")]
pub use logger::{Logger, Shipper, logger};
pub use origin::origin;
pub use spawn::{collect, set_capacity};
#[cfg(feature = "log")]
pub use stderr::log_to_stderr;
