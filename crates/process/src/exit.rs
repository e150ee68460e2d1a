//! What a process does before it ends: hooks with priorities, within a time, and an end of its children.
//!
//! Hooks run when the process leaves by itself: a task returned or panicked, `main` returned or panicked, somebody called
//! `std::process::exit`. Not when a signal ends it, when it aborts, or where panics abort. They run on a thread of their own, so
//! that one that does not come to an end costs the limit and no more. Children that are left when the hooks of priority 0
//! and above have run are ended, as the drop of a handle does it; then come the other hooks.
//!
//! | what a hook does | what happens |
//! |---|---|
//! | it panics | the panic hook reports it; the next one runs |
//! | it takes longer than is left of the limit | the process ends without it, and without those after it |
//! | it calls `exit` | that waits, as std has it, so: as above |
//! | it adds a hook | that one runs too, if its turn is still to come at once |
//! | it ends the process by a signal | a value that the task returned has been reported before, and arrives |
//! | the parent dies meanwhile | a child ends at once, unless it may outlive its parent |
//!
//! Invariants: each hook runs at most once, and never in a forked copy of the process that it was given to. Held by the
//! contract suite, `tests/suite/exits.rs`, and `tests/lifetime.rs`.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use procession_sys::child::end_now;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::per_process::PerProcess;
use procession_sys::{Deadline, exit, zygote};

use crate::lines;
use crate::panics::catch_panic;
use crate::tree;

/// What is still to be done.
#[derive(Default)]
struct Hooks {
    list: Vec<Hook>,
    n_given: u64,
}

struct Hook {
    priority: i32,
    id: u64,
    run: Box<dyn FnOnce() + Send>,
}

static HOOKS: PerProcess<Mutex<Hooks>> = PerProcess::new();

/// Whether libc knows of us: true also in forked copies.
static IS_KNOWN: AtomicBool = AtomicBool::new(false);

/// How long all hooks together may take, in nanoseconds.
static LIMIT: AtomicU64 = AtomicU64::new(5_000_000_000);

/// The number of the process that has hooks or children. A forked copy does not even look at them: a thread that it has not may hold
/// their lock there.
static OWNER: AtomicU32 = AtomicU32::new(0);

fn hooks() -> MutexGuard<'static, Hooks> {
    // No code of others runs under this lock, and each change of a list is whole.
    HOOKS.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has this process call `hook` before it ends: first those of the highest priority, and of one priority the last that
/// was given first. Children that this process still has are ended before the hooks of priorities below 0.
///
/// It runs when the process leaves by itself: its task returns or panics, `main` does, or `std::process::exit` is called; on
/// a thread of its own, while other threads still run. It does not run when a signal ends the process or when it aborts.
/// What a task returned has been reported by then. All hooks together have 5 seconds, or what [`exit_limit`] says; then the
/// process ends without the rest.
///
/// The answer can run the hook earlier or cancel it; dropping the answer does neither.
///
/// ```
/// use procession_process::{Process, Stdio, at_exit};
///
/// fn task(_: ()) {
///     at_exit(0, || println!("second"));
///     at_exit(10, || println!("first"));
/// }
///
/// let child = Process::builder().stdout(Stdio::piped()).spawn(task, ()).unwrap();
/// assert_eq!(child.join_with_output().stdout, b"first\nsecond\n");
/// ```
#[doc(alias = "Finalize")]
pub fn at_exit(priority: i32, hook: impl FnOnce() + Send + 'static) -> ExitHook {
    let mut hooks = hooks();
    hooks.arm();
    hooks.n_given += 1;
    let id = hooks.n_given;
    // In the order in which they are taken, from the end.
    let place = hooks.list.partition_point(|other| other.priority <= priority);
    hooks.list.insert(place, Hook { priority, id, run: Box::new(hook) });
    ExitHook { id, epoch: epoch() }
}

impl Hooks {
    fn arm(&self) {
        if !IS_KNOWN.load(Ordering::Relaxed) {
            // Without memory for this there is little for anything else.
            IS_KNOWN.store(exit::at_exit(leave).is_ok(), Ordering::Relaxed);
        }
        OWNER.store(std::process::id(), Ordering::Relaxed);
    }
}

/// Has this process end its children before it ends.
pub(crate) fn arm() {
    if OWNER.load(Ordering::Relaxed) != std::process::id() {
        hooks().arm();
    }
}

/// Sets how long all [exit hooks](at_exit) of this process may take together (default 5 s). Counts for an exit that
/// begins after this call.
pub fn exit_limit(limit: Duration) {
    LIMIT.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A hook that was given to [`at_exit`].
#[derive(Debug)]
pub struct ExitHook {
    id: u64,
    epoch: Epoch,
}

impl ExitHook {
    /// Whether it is still to be run. Never so in a forked copy of the process that it was given to.
    pub fn is_pending(&self) -> bool {
        self.epoch == epoch() && hooks().list.iter().any(|hook| hook.id == self.id)
    }

    /// Takes it away; `false` if it has been run, is running or was taken away before.
    pub fn cancel(&self) -> bool {
        self.take().is_some()
    }

    /// Runs it now, on this thread; `false` if it has been run, is running or was taken away before.
    ///
    /// # Panics
    /// With a panic of the hook.
    pub fn run(&self) -> bool {
        self.take().map(|hook| (hook.run)()).is_some()
    }

    fn take(&self) -> Option<Hook> {
        if self.epoch != epoch() {
            return None;
        }
        let mut hooks = hooks();
        let place = hooks.list.iter().position(|hook| hook.id == self.id)?;
        Some(hooks.list.remove(place))
    }
}

/// How long the process stays for what its children have written and nobody was told yet.
const LINES: Duration = Duration::from_secs(1);
/// How often the thread that leaves looks after the parent.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Called by libc when the process leaves by itself.
fn leave() {
    if OWNER.load(Ordering::Relaxed) != std::process::id() {
        return;
    }
    let mut left = Duration::from_nanos(LIMIT.load(Ordering::Relaxed));
    for lowest in [0, i32::MIN] {
        let started = Instant::now();
        run_within(lowest, Deadline::after(left));
        left = left.saturating_sub(started.elapsed());
        if lowest == 0 {
            tree::end_children();
            lines::await_all(LINES);
        }
    }
    zygote::end();
}

/// Runs the hooks whose priority is at least `lowest`; returns when they have run, or at the deadline.
fn run_within(lowest: i32, deadline: Deadline) {
    if !hooks().list.iter().any(|hook| hook.priority >= lowest) {
        return;
    }
    let (done, is_done) = channel::<()>();
    let run = move || {
        run_all(lowest, deadline);
        drop(done);
    };
    if thread::Builder::new().name("procession-exit".into()).spawn(run).is_err() {
        // Without a thread, those that come to an end.
        return run_all(lowest, deadline);
    }
    while !deadline.has_passed() {
        let pause = deadline.remaining().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
        if is_done.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if tree::is_orphaned() {
            end_now(1);
        }
    }
}

fn run_all(lowest: i32, deadline: Deadline) {
    while !deadline.has_passed() {
        let Some(hook) = hooks().list.pop_if(|hook| hook.priority >= lowest) else { return };
        // The panic hook has told of it.
        let _ = catch_panic(hook.run);
    }
}
