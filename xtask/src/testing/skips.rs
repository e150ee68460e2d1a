//! Skipped tests: each wrote a line to a log, and each must be in the committed list.
//!
//! The log holds `test path`, `need` and `reason`, parted by tabs; the list the first two, below a comment
//! that says why. Invariant: a skip for something that `ci` requires fails even if somebody listed it.

use super::needs;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The committed list.
const LIST: &str = "xtask/allowed-skips.txt";

/// A test that did not run its body, and why.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    test: String,
    need: String,
    reason: String,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs {}: {}", self.test, self.need, self.reason)
    }
}

/// Removes the log of an earlier run.
pub(crate) fn clear(log: &Path) -> Result<(), String> {
    match fs::remove_file(log) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("removing {}: {error}", log.display()))
        }
        _ => Ok(()),
    }
}

/// The skips of this run; a test that was skipped twice for the same need counts once.
pub(crate) fn read(log: &Path) -> Result<Vec<Skip>, String> {
    match fs::read_to_string(log) {
        Ok(text) => Ok(text.lines().map(skip).collect::<BTreeSet<Skip>>().into_iter().collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("reading {}: {error}", log.display())),
    }
}

/// How many tests skipped: one that lacks two things is one test.
pub(crate) fn n_tests(skips: &[Skip]) -> usize {
    skips.iter().map(|skip| &skip.test).collect::<BTreeSet<_>>().len()
}

/// The committed list.
pub(crate) fn allowed(root: &Path) -> Result<Vec<(String, String)>, String> {
    let text = fs::read_to_string(root.join(LIST)).map_err(|e| format!("reading {LIST}: {e}"))?;
    parse_list(&text)
}

/// The skips that fail the run.
pub(crate) fn judge(skips: &[Skip], allowed: &[(String, String)]) -> Vec<String> {
    let judge = |skip: &Skip| {
        if needs::REQUIRED.contains(&skip.need.as_str()) {
            Some(format!("skipped although `ci` requires {}: {skip}", skip.need))
        } else if !allowed.iter().any(|(test, need)| *test == skip.test && *need == skip.need) {
            Some(format!("skipped and not in {LIST}: {skip}"))
        } else {
            None
        }
    };
    skips.iter().filter_map(judge).collect()
}

fn skip(line: &str) -> Skip {
    let mut parts = line.splitn(3, '\t').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Skip { test: next(), need: next(), reason: next() }
}

fn parse_list(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut explained = false;
    let mut list = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            explained = line.starts_with('#');
        } else if let (Some((test, need)), true) = (line.split_once('\t'), explained) {
            list.push((test.to_owned(), need.to_owned()));
        } else {
            return Err(format!("{LIST}: `{line}` is no `test<tab>need` below a comment that says why"));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_required_skips_fail() {
        let skips =
            [skip("a::b\tcgroup\tnot root"), skip("a::c\tcgroup\tnot root"), skip("a::d\tptrace\tforbidden")];
        let allowed = parse_list("# containers\na::b\tcgroup\na::d\tptrace\n").unwrap();
        let found = judge(&skips, &allowed);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("a::c") && found[1].contains("requires ptrace"), "{found:?}");
    }

    #[test]
    fn a_test_that_lacks_two_things_is_one_test() {
        assert_eq!(n_tests(&[skip("a\tcgroup\tx"), skip("a\tperf\tx"), skip("b\tperf\tx")]), 2);
    }

    #[test]
    fn a_torn_line_is_an_unknown_skip() {
        assert_eq!(judge(&[skip("half")], &parse_list("# x\nhalf\tneed").unwrap()).len(), 1);
    }

    #[test]
    fn entries_need_a_comment_and_a_need() {
        assert!(parse_list("a::b\tcgroup").is_err());
        assert!(parse_list("# why\n\na::b\tcgroup").is_err());
        assert!(parse_list("# why\na::b").is_err());
        assert_eq!(parse_list("# head\n\n# why\na\tx\nb\tx\n").unwrap().len(), 2);
    }
}
