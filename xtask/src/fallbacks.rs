//! The step `fallbacks`: the contracts of everything that survives a death, each time without one of the mechanisms that
//! make it fast.
//!
//! Invariant: a mechanism that is switched off may make a test slower and nothing else. With a tick of ten seconds a wake
//! that was lost would be seen: the watchdog of a test ends long before many of them.

use crate::ci::{Context, Outcome};
use crate::libtest;
use crate::run::Run;

/// Packages and test targets.
const SUITES: &[(&str, &[&str])] = &[
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

/// What is missing, and the variable that takes it away.
const FALLBACKS: &[(&str, &str, &str)] = &[
    ("sleeping on many words", "PROCESSION_WITHOUT", "waitv"),
    ("pidfds", "PROCESSION_WITHOUT", "pidfd"),
    ("the robust list", "PROCESSION_WITHOUT", "robust_list"),
    ("the obituary", "PROCESSION_OBITUARY", "off"),
    ("a tick of less than ten seconds", "PROCESSION_TICK", "10000"),
];

/// Runs every suite without each mechanism; a run without tests is no success.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    let mut all = Outcome::default();
    for (what, key, value) in FALLBACKS {
        println!("--- without {what}: {key}={value}");
        for (package, targets) in SUITES {
            let run = Run::cargo(&context.workspace.root, context.limit(15))
                .args(["test", "--quiet", "--no-fail-fast", "--all-features", "--package", package])
                .args(targets.iter().flat_map(|target| ["--test", target]))
                .env(key, value)
                .env("RUST_BACKTRACE", "0");
            let one = libtest::counted(run);
            if one.passed + one.failed == 0 {
                all.complaints.push(format!("{package}: not one test ran without {what}"));
            }
            all.passed += one.passed;
            all.failed += one.failed;
            all.complaints.extend(one.complaints.iter().map(|text| format!("without {what}: {text}")));
        }
    }
    Ok(all)
}
