//! The step `fallbacks`: the contracts of everything that survives a death, each time without one of the mechanisms that
//! make it fast.
//!
//! Invariant: a mechanism that is switched off may make a test slower and nothing else. With a tick of ten seconds a wake
//! that was lost would be seen: the watchdog of a test ends long before many of them.

use std::sync::Mutex;
use std::thread;

use crate::ci::{Context, Outcome};
use crate::libtest;
use crate::run::Run;

/// A package and test targets.
type Suite = (&'static str, &'static [&'static str]);
/// What is missing, and the variable that takes it away.
type Fallback = (&'static str, &'static str, &'static str);

const SUITES: &[Suite] = &[
    (
        "procession-shm",
        &["array", "array_leases", "array_parts", "cell", "encoded", "list", "value", "waits"],
    ),
    ("procession-sync", &["contract"]),
    (
        "procession-queue",
        &[
            "contract",
            "handles",
            "handles_room",
            "jobs_contract",
            "jobs_handles",
            "jobs_many",
            "jobs_wait",
            "loan",
            "many",
            "values",
            "wait",
        ],
    ),
    ("procession", &["async_contract", "jobs_contract", "queue_contract", "queue_handles", "wait_contract"]),
    ("procession-process", &["sync_contract"]),
];

const FALLBACKS: &[Fallback] = &[
    // The slowest.
    ("a tick of less than ten seconds", "PROCESSION_TICK", "10000"),
    ("sleeping on many words", "PROCESSION_WITHOUT", "waitv"),
    ("pidfds", "PROCESSION_WITHOUT", "pidfd"),
    ("the robust list", "PROCESSION_WITHOUT", "robust_list"),
    ("the obituary", "PROCESSION_OBITUARY", "off"),
];

/// How many fallbacks run at once: their tests wait more than they work.
const LANES: usize = 2;

/// Runs every suite without each mechanism; a run without tests is no success.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    // All is built before anything runs, so that no test has a compiler beside it.
    SUITES.iter().try_for_each(|suite| cargo(context, suite).args(["--no-run"]).shown())?;
    let queue = Mutex::new(FALLBACKS.iter());
    let all = Mutex::new(Outcome::default());
    let lane = || {
        loop {
            let Some(fallback) = queue.lock().expect("no lane panics").next() else { return };
            for suite in SUITES {
                let (one, said) = run_one(context, fallback, suite);
                let mut all = all.lock().expect("no lane panics");
                print!("{said}");
                all.passed += one.passed;
                all.failed += one.failed;
                all.complaints.extend(one.complaints);
            }
        }
    };
    thread::scope(|scope| (0..LANES).for_each(|_| _ = scope.spawn(lane)));
    all.into_inner().map_err(|_| "a lane panicked".into())
}

fn run_one(
    context: &Context,
    (what, key, value): &Fallback,
    suite @ (package, _): &Suite,
) -> (Outcome, String) {
    let mut said = format!("--- without {what}: {key}={value}, {package}\n");
    let run = cargo(context, suite).env(key, *value).env("RUST_BACKTRACE", "0");
    let mut one = libtest::counted_by(&run, |line| said.extend([line, "\n"]));
    if one.passed + one.failed == 0 {
        one.complaints.push("not one test ran".into());
    }
    let about = |text: String| format!("{package} without {what}: {text}");
    one.complaints = one.complaints.into_iter().map(about).collect();
    (one, said)
}

fn cargo(context: &Context, (package, targets): &Suite) -> Run {
    Run::cargo(&context.workspace.root, context.limit(15))
        .args(["test", "--quiet", "--no-fail-fast", "--all-features", "--package", package])
        .args(targets.iter().flat_map(|target| ["--test", target]))
}
