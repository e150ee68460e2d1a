//! The contract suites: one table each, implementation by start method, with the number of tests that passed.
//!
//! A test belongs to a suite if its path holds `contract::<suite>::<implementation>::<start method>::<case>`.

use super::report::Test;
use std::collections::{BTreeMap, BTreeSet};

/// Passed and run, by implementation and start method.
type Cells<'a> = BTreeMap<(&'a str, &'a str), (usize, usize)>;

/// The tables of all suites, in order of name.
pub(crate) fn tables(tests: &[Test]) -> String {
    let mut suites: BTreeMap<&str, Cells<'_>> = BTreeMap::new();
    for test in tests {
        if let Some((suite, implementation, method)) = place(&test.path) {
            let (passed, run) = suites.entry(suite).or_default().entry((implementation, method)).or_default();
            *passed += usize::from(test.passed);
            *run += 1;
        }
    }
    if suites.is_empty() {
        return "contract suites: none ran\n".into();
    }
    suites.iter().map(|(suite, cells)| table(suite, cells)).collect()
}

fn place(path: &str) -> Option<(&str, &str, &str)> {
    let mut parts = path.split("::").skip_while(|part| *part != "contract").skip(1);
    let place = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().map(|_case| place)
}

fn table(suite: &str, cells: &Cells<'_>) -> String {
    let methods: BTreeSet<&str> = cells.keys().map(|(_, method)| *method).collect();
    let implementations: BTreeSet<&str> = cells.keys().map(|(implementation, _)| *implementation).collect();
    let mut text = format!("{:<24}", format!("contract {suite}"));
    text.extend(methods.iter().map(|method| format!("{method:>14}")));
    text.push('\n');
    for implementation in implementations {
        text += &format!("{:<24}", format!("  {implementation}"));
        text.extend(
            methods.iter().map(|method| format!("{:>14}", cell(cells.get(&(implementation, *method))))),
        );
        text.push('\n');
    }
    text
}

fn cell(counts: Option<&(usize, usize)>) -> String {
    match counts {
        None => "-".into(),
        Some((passed, run)) if passed == run => passed.to_string(),
        Some((passed, run)) => format!("{passed} of {run}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(path: &str, passed: bool) -> Test {
        Test { path: path.into(), passed }
    }

    #[test]
    fn one_table_per_suite_with_counts() {
        let tests = [
            test("contract::codec::postcard::none::round_trip", true),
            test("contract::codec::postcard::none::limits", true),
            test("deep::contract::pipe::socket::spawn::order", true),
            test("deep::contract::pipe::socket::fork::order", false),
            test("deep::contract::pipe::thread::spawn::order", true),
            test("contract::too::short::path", true),
            test("contracts::a::b::c::d", true),
        ];
        let text: Vec<String> = tables(&tests)
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "contract codec none",
            "postcard 2",
            "contract pipe fork spawn",
            "socket 0 of 1 1",
            "thread - 1",
        ];
        assert_eq!(text, expected);
        assert_eq!(tables(&[]), "contract suites: none ran\n");
    }
}
