//! The step `kills`: the tests that kill a victim wherever something changed, optimised, and the table of what they did.
//!
//! Invariants: every test target of a name that ends in `_steps` or `_kills` runs, in its package, built as a release is;
//! a sweep writes its row when all of its survivors went on, so that a row means: 0 stuck, 0 torn.

use crate::ci::{Context, Outcome};
use crate::libtest;
use crate::run::Run;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::fs;

const ENDINGS: [&str; 2] = ["_steps", "_kills"];

/// Builds and runs the tests; a target without a row is no success.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    let log = context.workspace.target.join("kill-points.txt");
    let _ = fs::remove_file(&log);
    let mut all = Outcome::default();
    for (package, targets) in targets(&context.workspace) {
        println!("--- {package}: {}", targets.join(" "));
        let tests = targets.iter().flat_map(|target| ["--test", target]);
        let mut run = Run::cargo(&context.workspace.root, context.limit(30))
            .args(["test", "--release", "--no-fail-fast", "--package", package])
            .args(tests)
            .env("PROCESSION_KILL_LOG", &log)
            .env("PROCESSION_REQUIRE", "ptrace")
            .env("RUST_BACKTRACE", "0");
        if context.long {
            run = run.env("PROCESSION_LONG", "1");
        }
        let one = libtest::counted(&run);
        all.passed += one.passed;
        all.failed += one.failed;
        all.complaints.extend(one.complaints);
    }
    let mut rows = fs::read_to_string(&log).unwrap_or_default().lines().filter_map(row).collect::<Vec<_>>();
    rows.sort();
    let has_row = |target: &&str| rows.iter().any(|row| row.suite == **target);
    let silent = targets(&context.workspace).into_values().flatten().filter(|target| !has_row(target));
    all.complaints.extend(silent.map(|target| format!("`{target}` has no kill points")));
    all.table = table(&rows, all.failed);
    Ok(all)
}

/// The test targets, by package.
fn targets(workspace: &Workspace) -> BTreeMap<&str, Vec<&str>> {
    let mut targets: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for member in workspace.members() {
        let tests = member.targets_of("test").map(|target| &*target.name);
        for name in tests.filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending))) {
            targets.entry(&member.name).or_default().push(name);
        }
    }
    targets
}

/// A sweep, as it was recorded.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    suite: String,
    test: String,
    scenario: String,
    n_steps: u64,
    n_changes: u64,
    n_killed: u64,
    n_told: u64,
    /// Victims were also killed every so many instructions; 0: only where something changed.
    stride: u64,
}

/// A line of the log; the number between kills and deaths told is that of victims that ended too early to be killed.
fn row(line: &str) -> Option<Row> {
    let [suite, test, scenario, n_steps, n_changes, n_killed, _, n_told, stride] =
        line.split('\t').collect::<Vec<_>>().try_into().ok()?;
    Some(Row {
        suite: suite.into(),
        test: test.into(),
        scenario: scenario.into(),
        n_steps: n_steps.parse().ok()?,
        n_changes: n_changes.parse().ok()?,
        n_killed: n_killed.parse().ok()?,
        n_told: n_told.parse().ok()?,
        stride: stride.parse().ok()?,
    })
}

fn table(rows: &[Row], n_failed: usize) -> String {
    let wide = rows.iter().map(|row| row.suite.len() + row.test.len() + 2).max().unwrap_or(0).max(20);
    let mut text = format!(
        "{:<wide$}{:>13}{:>9}{:>8}{:>6}  scenario\n",
        "kill points", "instructions", "changes", "kills", "told"
    );
    for row in rows {
        let name = format!("{}::{}", row.suite, row.test);
        let every = match row.stride {
            0 => String::new(),
            1 => ", every instruction".to_owned(),
            stride => format!(", one in {stride} instructions"),
        };
        text += &format!(
            "{name:<wide$}{:>13}{:>9}{:>8}{:>6}",
            row.n_steps, row.n_changes, row.n_killed, row.n_told
        );
        text += &format!("  {}{every}\n", row.scenario);
    }
    let sum = |count: fn(&Row) -> u64| rows.iter().map(count).sum::<u64>();
    let (killed, told) = (sum(|row| row.n_killed), sum(|row| row.n_told));
    let verdict = if n_failed == 0 { "0 stuck, 0 torn" } else { "and scenarios that failed" };
    text + &format!("{killed} kills in {} scenarios: {verdict}, {told} deaths told\n", rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_make_a_table() {
        let log = "lock_steps\tfree\tlocks\t90\t4\t10\t0\t3\t0\na\tb\tc\t2\t1\t3\t1\t0\t1\n";
        let rows: Vec<Row> = log.lines().filter_map(row).collect();
        let text = table(&rows, 0);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().skip(1).map(words).collect();
        let expected = [
            "lock_steps::free 90 4 10 3 locks",
            "a::b 2 1 3 0 c, every instruction",
            "13 kills in 2 scenarios: 0 stuck, 0 torn, 3 deaths told",
        ];
        assert_eq!(lines, expected);
        assert!(!table(&rows, 1).contains("0 stuck"));
        assert_eq!((row("half\ta"), row("")), (None, None));
    }

    #[test]
    fn targets_are_found_by_name() {
        let json = r#"{"workspace_members":["p"],"packages":[{"id":"p","name":"p","manifest_path":"/p/Cargo.toml","targets":[
            {"kind":["test"],"name":"a_steps","src_path":"/p/a.rs"},{"kind":["test"],"name":"b_kills","src_path":"/p/b.rs"},
            {"kind":["test"],"name":"step","src_path":"/p/c.rs"},{"kind":["bin"],"name":"c_steps","src_path":"/p/d.rs"}]}]}"#;
        let workspace = Workspace::parse(json).unwrap();
        assert_eq!(targets(&workspace), BTreeMap::from([("p", vec!["a_steps", "b_kills"])]));
    }
}
