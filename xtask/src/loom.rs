//! The step `loom`: the word protocols of `procession-raw` under a model checker.
//!
//! Invariant: everything is built with `--cfg loom` in a target directory of its own, so that no other step has to
//! build anew because of this one.

use crate::ci::{Context, Outcome};
use crate::run::Run;

/// Builds the models and runs them; a run without models is no success.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    let args = ["test", "-p", "procession-raw", "--release", "--test", "loom", "--target-dir"];
    let run = Run::cargo(&context.workspace.root, context.limit(10))
        .args(args)
        .args([context.workspace.target.join("loom")])
        .env("RUSTFLAGS", "--cfg loom")
        .env("RUST_BACKTRACE", "0");
    let mut outcome = Outcome::default();
    let result = run.lines(|line| {
        println!("{line}");
        if let Some((passed, failed)) = summary(line) {
            outcome.passed += passed;
            outcome.failed += failed;
        }
    });
    outcome.complaints.extend(result.err());
    if outcome.passed + outcome.failed == 0 {
        outcome.complaints.push("not one model ran".into());
    }
    Ok(outcome)
}

/// How many passed and failed, from a line like `test result: ok. 3 passed; 0 failed; ..`.
fn summary(line: &str) -> Option<(usize, usize)> {
    let words: Vec<&str> = line.strip_prefix("test result: ")?.split([' ', ';']).collect();
    let count = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some((count("passed")?, count("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_summary() {
        assert_eq!(summary("test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured"), Some((10, 2)));
        assert_eq!(summary("test lock::one ... ok"), None);
        assert_eq!(summary("test result: passed"), None);
    }
}
