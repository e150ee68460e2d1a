//! The watchdog: a test that hangs says where, and ends its process, so that nothing hangs for ever.
//!
//! Invariants: the watchdog's thread sleeps on a condition variable and costs nothing while the test runs;
//! the body runs on the calling thread, so the test keeps its thread's name; the report is written past the
//! test harness's capture, because an aborted process shows no captured output.

use std::io::Write;
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::path::test_path;
use crate::processes::{Identity, Signal};
use crate::{report, turn};

/// How long a test may run unless it says otherwise. It is meant for hangs, not for slow machines.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs the body of a test under a watchdog of [`LIMIT`] and in a shared turn of the process.
///
/// Returns what the body returns. Tests of a binary that also has [`counted`](crate::counted) tests must
/// all start like this, or they are counted too.
///
/// # Blocking
/// First until no other test has the process for itself; the limit counts from then on.
///
/// # Panics
/// As the body does. After the limit the process is aborted with a report on standard error.
///
/// ```
/// let sum = procession_testkit::guarded(|| 2 + 2);
/// assert_eq!(sum, 4);
/// ```
pub fn guarded<R>(body: impl FnOnce() -> R) -> R {
    guarded_for(LIMIT, body)
}

/// [`guarded`] with a limit of the caller's.
pub fn guarded_for<R>(limit: Duration, body: impl FnOnce() -> R) -> R {
    let _turn = turn::shared();
    let _watchdog = Watchdog::start(test_path(), limit);
    body()
}

/// A watchdog that barks unless it is dropped within its limit.
///
/// When the limit passes it writes to standard error which test hangs, where every thread of the process
/// waits and what its descendants do; then it kills the descendants and aborts the process.
///
/// Dropping it ends the watch and waits for its thread.
#[derive(Debug)]
#[must_use = "the watch ends when this is dropped"]
pub struct Watchdog {
    ended: Arc<Ended>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Ended {
    flag: Mutex<bool>,
    rung: Condvar,
}

impl Watchdog {
    /// Starts to watch what is called `name` for `limit`.
    ///
    /// # Panics
    /// When no thread can be started.
    pub fn start(name: impl Into<String>, limit: Duration) -> Self {
        let (name, ended) = (name.into(), Arc::new(Ended::default()));
        let theirs = Arc::clone(&ended);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                if !theirs.wait(Instant::now() + limit) {
                    bark(&name, limit);
                }
            })
            .expect("a thread for the watchdog");
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.ended.ring();
        if let Some(thread) = self.thread.take() {
            // It is either on its way out or about to abort the process: the wait is short.
            let _ = thread.join();
        }
    }
}

impl Ended {
    fn ring(&self) {
        *self.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_one();
    }

    /// Whether the end came before the deadline.
    fn wait(&self, deadline: Instant) -> bool {
        let mut ended = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            ended = self.rung.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cold]
fn bark(name: &str, limit: Duration) -> ! {
    let text = report::hang(name, limit);
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    // The children of an aborted test would stay for ever and keep its output open.
    for stat in crate::processes::family(process::id()) {
        let _ = Identity::from(&stat).kill(Signal::KILL);
    }
    process::abort();
}
