//! The step `loom`: the word protocols of `procession-raw` under a model checker.
//!
//! Invariant: everything is built with `--cfg loom` in a target directory of its own, so that no other step has to
//! build anew because of this one.

use crate::ci::{Context, Outcome};
use crate::libtest;
use crate::run::Run;

/// Builds the models and runs them; a run without models is no success.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    let args = ["test", "-p", "procession-raw", "--release", "--test", "loom", "--target-dir"];
    let run = Run::cargo(&context.workspace.root, context.limit(10))
        .args(args)
        .args([context.workspace.target.join("loom")])
        .env("RUSTFLAGS", "--cfg loom")
        .env("RUST_BACKTRACE", "0");
    let outcome = libtest::counted(&run);
    if outcome.passed + outcome.failed == 0 {
        return Err("not one model ran".into());
    }
    Ok(outcome)
}
