//! Test binaries of the usual harness, run for their counts by the steps that are not the test command.

use crate::ci::Outcome;
use crate::run::Run;

/// Shows what the tests say, and counts them.
pub(crate) fn counted(run: &Run) -> Outcome {
    counted_by(run, |line| println!("{line}"))
}

/// Hands every line to `say`, and counts the tests.
pub(crate) fn counted_by(run: &Run, mut say: impl FnMut(&str)) -> Outcome {
    let mut outcome = Outcome::default();
    let result = run.lines(|line| {
        say(line);
        if let Some((passed, failed)) = summary(line) {
            outcome.passed += passed;
            outcome.failed += failed;
        }
    });
    outcome.complaints.extend(result.err());
    outcome
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
