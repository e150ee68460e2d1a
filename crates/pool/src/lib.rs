//! A pool of worker processes: one outcome for every task, whoever dies.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use procession_pool::{ParProcs, Pool};
//!
//! let pool = Pool::builder().workers(2).name("lengths").build()?;
//! let words = ["three", "small", "words"].map(String::from);
//! for length in words.par_procs(&pool).in_flight(64).map(|word: String| word.len()) {
//!     assert_eq!(length?, 5);
//! }
//! # Ok(()) }
//! ```
//!
//! [`Pool::submit`] runs one task and gives a [`Task`] to wait on; [`Pool::map`] runs one for each item of an iterator;
//! [`ParProcs::par_procs`] is the same lazily, item by item, with a bound on what is under way. Items travel in chunks
//! whose size follows the time they take; each has its own outcome all the same: a worker writes every answer into a
//! journal that outlives it.
//!
//! | wanted | call |
//! |---|---|
//! | one value, now | [`Pool::apply`] |
//! | one value, later | [`Pool::submit`] and [`Task::get`], or `task.await` with the feature `async` |
//! | to be called with it | [`Pool::submit_then`], [`Task::on_done`] |
//! | the values of many items, or the first failure | [`Pool::map`]; later: [`Pool::map_async`] |
//! | what became of each item | [`Pool::map_each`]; one by one: [`par_procs`](ParProcs::par_procs), [`Pool::map_unordered`] |
//! | the first or all of several tasks, or each as it is done | [`wait_any`], [`wait_all`], [`as_completed`] |
//! | some before others | [`TaskOptions::priority`] |
//! | another number of workers | [`Pool::resize`], [`Builder::idle_shrink`], [`Builder::lazy_start`], [`Pool::warm_up`] |
//!
//! A task can be cancelled ([`Task::cancel`]), limited in time ([`Builder::task_timeout`]) and tried again
//! ([`Builder::retries`]); whatever has to be ended for that, nobody else pays. Workers can have a state of their own
//! ([`Builder::initializer`]) and be replaced after so many tasks ([`Builder::max_tasks_per_worker`]), or when they have
//! grown too large ([`Builder::recycle_above`], [`Builder::memory_limit`]). A failure says what is known of it: [`Report`].
//! [`Pool::with`] gives tasks a large object once; [`Builder::serial`], [`replay`] and [`Chaos`] are for debuggers and tests.
//!
//! When *not* to use it: where threads would do. A task costs half a microsecond in a chunk and some four alone, and
//! arguments and values are encoded.
//!
//! Where the time goes tells [`Pool::insights`], how far a map is [`ParIter::on_progress`]; the feature `progress` shows that.
//! Tasks have a [`Priority`], can be waited for together ([`wait_any`], [`as_completed`]), awaited (feature `async`), and end
//! in callbacks ([`Task::on_done`]). [`Pool::resize`] and [`Builder::idle_shrink`] change how many workers there are.
#![forbid(unsafe_code)]

mod attend;
mod builder;
mod callback;
mod care;
mod chaos;
mod chunks;
mod collector;
mod context;
mod crew;
mod current;
mod error;
mod flat;
#[cfg(feature = "async")]
mod future;
mod herald;
mod insights;
mod job;
mod journal;
mod lane;
mod map;
mod notice;
mod origin;
mod par;
mod pool;
mod progress;
mod replay;
mod replies;
mod report;
mod rules;
mod serial;
mod setup;
mod sink;
mod size;
mod slots;
mod streams;
mod task;
mod waits;
mod ways;
mod wire;
mod worker;

pub use builder::Builder;
pub use callback::Callback;
pub use chaos::{Chaos, ChaosError, ChaosPoint};
pub use context::With;
pub use current::attempt;
pub use error::{BuildError, SubmitError, TaskFailed, TaskId};
#[cfg(feature = "async")]
pub use future::TaskFuture;
pub use insights::{Insights, Shares, SlowTask, Verdict, WorkerInsights};
pub use map::MapTask;
pub use par::{NotYet, Outcomes, ParIter, ParProcs};
pub use pool::Pool;
pub use progress::Progress;
pub use replay::{ReplayError, Replayed, SaveError, replay};
pub use report::Report;
pub use rules::{Priority, TaskOptions};
pub use setup::{InitializerFailure, with_state};
pub use task::Task;
pub use waits::{AnyTask, AsCompleted, Completed, as_completed, wait_all, wait_any};
