//! Kill points: a victim is run instruction by instruction and killed at any of them.
//!
//! [`sweep_changes`] kills wherever survivors could see a difference: after each instruction that changed shared bytes or
//! was a system call, and one later. [`sweep`] kills after every instruction, which is for short windows.
//!
//! The victim is a role of the test (see [`roles`](crate::roles)). It opens a window with [`here`] and closes
//! it with [`end`]; in between every instruction is a kill point. The test then looks at what the dead left
//! behind. Outside of a tracer both are no-ops, so a victim can also be run as it is.
//!
//! ```no_run
//! use procession_testkit::{guarded, need, roles::{self, Role}, step};
//!
//! // #[test]
//! fn whatever_the_moment_the_queue_survives() {
//!     if roles::role().is_some() {
//!         step::here();
//!         // … the operation under test, on something handed over …
//!         step::end();
//!         return;
//!     }
//!     guarded(|| {
//!         if !need("ptrace") {
//!             return;
//!         }
//!         step::sweep_changes("puts", || Role::new("victim").into_command(), |n, outcome| {
//!             // … check the survivors: the victim died after n instructions …
//!         });
//!     });
//! }
//! ```
//!
//! Invariants: all calls about one victim are made by one thread, because the kernel binds a tracer to its
//! thread; the victim dies with that thread (`PTRACE_O_EXITKILL`) and is always reaped. Signals that are not
//! ours are passed on to the victim and are no steps.
//!
//! Only the thread that opened the window is stepped; others run freely. What the victim started is not
//! ended with it. A victim that blocks in a system call inside the window blocks its tracer: whoever wakes it
//! must not be the calling thread, and the watchdog ends what never wakes.

mod kills;
mod operand;
mod tracee;
mod watch;

use std::process::{Command, ExitStatus};
use std::{io, panic, thread};

use tracee::{Stop, Tracee};

pub use kills::{KILL_LOG, Kills, changes, death_told, sweep_changes};
pub use tracee::{end, here};

/// How a victim that was to be killed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was killed inside the window, after as many instructions as were asked for.
    Killed,
    /// It closed the window before that; it then ran on and ended well.
    Ended {
        /// How many instructions the window has had.
        steps: u64,
    },
    /// It ended by itself inside the window.
    Died {
        /// After how many instructions.
        steps: u64,
        /// How.
        status: ExitStatus,
    },
}

/// Runs a victim and counts the instructions between [`here`] and [`end`].
///
/// A repeated string instruction counts once per repetition.
///
/// # Blocking
/// Until the victim has ended; some 10,000 to 70,000 instructions pass in a second.
///
/// # Panics
/// When the victim cannot be traced, opens no window, or does not end well.
pub fn trace(spawn: impl FnOnce() -> Command) -> u64 {
    match kill_at(spawn, u64::MAX) {
        Outcome::Ended { steps } => steps,
        other => panic!("the victim did not close its window: {other:?}"),
    }
}

/// Runs a victim and kills it with SIGKILL after `n` instructions of its window; 0 is before the first.
///
/// # Blocking
/// Until the victim is reaped.
///
/// # Panics
/// When the victim cannot be traced, opens no window, or closes it and does not end well.
pub fn kill_at(spawn: impl FnOnce() -> Command, n: u64) -> Outcome {
    walk_to(spawn, Moment::Step(n)).outcome
}

/// Kills one victim after 0 instructions, the next after 1, then after 2 and so on until the window has no more, and
/// calls `check` with the number and the outcome after each death.
///
/// The last call has the outcome [`Outcome::Ended`]. Returns how many victims were killed.
///
/// # Blocking
/// As many times as [`kill_at`]; for n instructions in a window that is some n²/2 steps.
///
/// # Panics
/// As [`kill_at`] and `check` do; when a victim ends by itself inside the window.
pub fn sweep(mut spawn: impl FnMut() -> Command, mut check: impl FnMut(u64, Outcome)) -> u64 {
    let mut n = 0;
    loop {
        let outcome = kill_at(&mut spawn, n);
        check(n, outcome);
        match outcome {
            Outcome::Killed => n += 1,
            Outcome::Ended { .. } => return n,
            Outcome::Died { .. } => {
                panic!("a victim that was to be killed after {n} instructions: {outcome:?}")
            }
        }
    }
}

/// Whether a child of this process can be single-stepped, tried on one.
pub(crate) fn works() -> io::Result<()> {
    on_new_thread(tracee::probe)
}

/// When a victim is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// After so many instructions.
    Step(u64),
    /// So many instructions later than a change; the first has the number 0.
    Change { nth: usize, later: u64 },
    /// When it closes its window.
    End,
    /// Not at all.
    Never,
}

/// How far a victim came.
#[derive(Debug)]
struct Walked {
    outcome: Outcome,
    steps: u64,
    /// After how many instructions each change was there; none are looked for if it is killed by their number alone.
    changes: Vec<u64>,
}

impl Moment {
    fn has_come(self, steps: u64, changes: &[u64]) -> bool {
        match self {
            Self::Step(n) => steps >= n,
            Self::Change { nth, later } => changes.get(nth).is_some_and(|at| steps >= at + later),
            Self::End | Self::Never => false,
        }
    }

    /// Whether a victim as the traced one would come so far.
    fn is_in(self, traced: &Walked) -> bool {
        match self {
            Self::Step(n) => n <= traced.steps,
            Self::Change { nth, .. } => nth < traced.changes.len(),
            Self::End | Self::Never => true,
        }
    }

    fn needs_watch(self) -> bool {
        matches!(self, Self::Change { .. } | Self::Never)
    }
}

fn walk_to(spawn: impl FnOnce() -> Command, moment: Moment) -> Walked {
    let command = spawn();
    // A thread of its own has no other children: what it waits for is the victim and nothing else.
    let tracer = || Tracee::spawn(command).map(|victim| walk(victim, moment));
    match on_new_thread(tracer) {
        Ok(walked) => walked,
        Err(error) => panic!("starting the victim: {error}"),
    }
}

fn walk(mut victim: Tracee, moment: Moment) -> Walked {
    victim.open();
    let mut watch = moment.needs_watch().then(|| victim.watch().expect("the memory of a stopped victim"));
    let (mut steps, mut changes) = (0, Vec::new());
    let outcome = loop {
        if moment.has_come(steps, &changes) {
            victim.kill();
            break Outcome::Killed;
        }
        let before = watch.as_ref().map(|watch| victim.before(watch));
        match victim.step() {
            Stop::Step => steps += 1,
            Stop::Mark if moment == Moment::End => {
                victim.kill();
                break Outcome::Killed;
            }
            Stop::Mark => break ended(victim, steps),
            Stop::Ended(status) => break Outcome::Died { steps, status },
        }
        if watch.as_mut().zip(before).is_some_and(|(watch, before)| watch.has_changed(&before)) {
            changes.push(steps);
        }
    };
    Walked { outcome, steps, changes }
}

/// Lets a victim that has closed its window end.
fn ended(victim: Tracee, steps: u64) -> Outcome {
    let status = victim.release();
    assert!(status.success(), "the victim failed after its window of {steps} instructions: {status}");
    Outcome::Ended { steps }
}

fn on_new_thread<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let tracer = thread::Builder::new().name("tracer".to_owned());
        let tracer = tracer.spawn_scoped(scope, body).expect("a thread for the tracer");
        tracer.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}
