//! `cargo xtask ci`: everything that must be green, step by step, on one machine.
//!
//! Invariants: a red step does not hide the next one, all run and a table says which failed; the exit code is
//! red if one step is; the last line is `N passed, N failed, N skipped` and counts tests, and a failed step
//! that has no failed test counts as one failure, so that it never reads green when the run is red.

use crate::run::Run;
use crate::workspace::Workspace;
use crate::{bench, examples, fallbacks, kills, loom, testing, tidy};
use std::time::{Duration, Instant};

/// Over this the run warns: the project promises to stay below on a machine with two cores.
const COMFORTABLE: Duration = Duration::from_secs(25 * 60);
/// Over this the run fails; beyond the promise, because a machine may be busy or build everything anew.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What a step works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) workspace: Workspace,
    /// Everything at full size.
    pub(crate) long: bool,
}

impl Context {
    /// A watchdog of so many minutes, longer for full sizes.
    pub(crate) fn limit(&self, minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes * if self.long { 10 } else { 1 })
    }

    fn cargo(&self) -> Run {
        Run::cargo(&self.workspace.root, self.limit(30))
    }
}

/// What came of a step that could be judged: it is green without complaints. The counts are of tests.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) complaints: Vec<String>,
    /// Printed again at the end of the run.
    pub(crate) table: String,
}

struct Step {
    name: &'static str,
    about: &'static str,
    only_long: bool,
    run: fn(&Context) -> Result<Outcome, String>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", about: "rustfmt would change nothing", only_long: false, run: fmt },
    Step { name: "tidy", about: "the rules that no compiler holds", only_long: false, run: run_tidy },
    Step { name: "clippy", about: "no warnings, in no target", only_long: false, run: clippy },
    Step {
        name: "test",
        about: "the test command of README.md, doctests included",
        only_long: false,
        run: testing::run,
    },
    Step {
        name: "fallbacks",
        about: "the contracts again, each time without one mechanism of the kernel",
        only_long: false,
        run: fallbacks::run,
    },
    Step {
        name: "kills",
        about: "optimised victims killed wherever something changed; --long: after every instruction",
        only_long: false,
        run: kills::run,
    },
    Step {
        name: "loom",
        about: "the word protocols under a model checker",
        only_long: false,
        run: loom::run,
    },
    Step { name: "doc", about: "the documentation builds without warnings", only_long: false, run: doc },
    Step {
        name: "examples",
        about: "every example runs, and the main job",
        only_long: false,
        run: examples::run,
    },
    Step { name: "bench", about: "every bench runs once", only_long: false, run: run_bench },
    Step { name: "book", about: "the guide builds, by mdbook from the registry", only_long: true, run: book },
    Step {
        name: "deny",
        about: "cargo-deny on the licences, if it is installed",
        only_long: true,
        run: deny,
    },
];

/// The names of the steps with what they hold, for the usage text.
pub(crate) fn usage() -> String {
    let long = |step: &Step| if step.only_long { " (only with --long)" } else { "" };
    STEPS.iter().map(|step| format!("    {:<10}{}{}\n", step.name, step.about, long(step))).collect()
}

/// Runs the steps of these names, or all; says whether all were green.
pub(crate) fn run(workspace: Workspace, names: &[String], long: bool) -> Result<bool, String> {
    let steps = chosen(names, long)?;
    let context = Context { workspace, long };
    let started = Instant::now();
    let results: Vec<Finished> = steps.iter().map(|step| finish(step, &context)).collect();
    Ok(summary(&results, started.elapsed(), long))
}

fn chosen(names: &[String], long: bool) -> Result<Vec<&'static Step>, String> {
    if let Some(name) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        return Err(format!("no step is called `{name}`; the steps are:\n{}", usage()));
    }
    let is_chosen = |step: &&Step| match names {
        [] => long || !step.only_long,
        names => names.iter().any(|name| name == step.name),
    };
    Ok(STEPS.iter().filter(is_chosen).collect())
}

struct Finished {
    name: &'static str,
    time: Duration,
    outcome: Outcome,
}

fn finish(step: &Step, context: &Context) -> Finished {
    println!("\n=== {}: {}", step.name, step.about);
    let started = Instant::now();
    let outcome =
        (step.run)(context).unwrap_or_else(|error| Outcome { complaints: vec![error], ..Outcome::default() });
    outcome.complaints.iter().for_each(|complaint| println!("{}: {complaint}", step.name));
    let word = if outcome.complaints.is_empty() { "ok" } else { "FAILED" };
    println!("=== {}: {word}, {} s", step.name, started.elapsed().as_secs());
    Finished { name: step.name, time: started.elapsed(), outcome }
}

fn summary(results: &[Finished], time: Duration, long: bool) -> bool {
    let tables = results.iter().map(|result| &result.outcome.table).filter(|table| !table.is_empty());
    tables.for_each(|table| print!("\n{table}"));
    println!("\n{:<12}{:<10}{:>8}", "step", "result", "seconds");
    for Finished { name, time, outcome } in results {
        let word = if outcome.complaints.is_empty() { "ok" } else { "FAILED" };
        println!("{name:<12}{word:<10}{:>8.1}", time.as_secs_f64());
    }
    for Finished { name, outcome, .. } in
        results.iter().filter(|result| !result.outcome.complaints.is_empty())
    {
        println!("\n{name} failed; alone: cargo xtask ci {name}");
        outcome.complaints.iter().for_each(|complaint| println!("  {complaint}"));
    }
    let too_long = !long && time > LONGEST;
    if !long && time > COMFORTABLE {
        let (word, limit) = if too_long { ("FAILED", LONGEST) } else { ("warning", COMFORTABLE) };
        println!("\n{word}: ci took {} s, which is over {} s", time.as_secs(), limit.as_secs());
    }
    let (passed, failed, skipped) = counts(results, too_long);
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

fn counts(results: &[Finished], too_long: bool) -> (usize, usize, usize) {
    let outcomes = || results.iter().map(|result| &result.outcome);
    let red_without_test = outcomes().filter(|o| !o.complaints.is_empty() && o.failed == 0).count();
    (
        outcomes().map(|o| o.passed).sum(),
        outcomes().map(|o| o.failed).sum::<usize>() + red_without_test + usize::from(too_long),
        outcomes().map(|o| o.skipped).sum(),
    )
}

fn fmt(context: &Context) -> Result<Outcome, String> {
    context.cargo().args(["fmt", "--all", "--", "--check"]).shown().map(|()| Outcome::default())
}

fn run_tidy(context: &Context) -> Result<Outcome, String> {
    tidy::run(&context.workspace, false).map(|()| Outcome::default())
}

fn clippy(context: &Context) -> Result<Outcome, String> {
    let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    context.cargo().args(args).shown().map(|()| Outcome::default())
}

fn doc(context: &Context) -> Result<Outcome, String> {
    let run = context
        .cargo()
        .args(["doc", "--workspace", "--all-features", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    run.shown().map(|()| Outcome::default())
}

fn run_bench(context: &Context) -> Result<Outcome, String> {
    bench::smoke(&context.workspace, context.limit(30)).map(|()| Outcome::default())
}

/// Installs mdbook below `target/`, and builds the guide there.
fn book(context: &Context) -> Result<Outcome, String> {
    let root = &context.workspace.root;
    let place = root.join("target/mdbook");
    context
        .cargo()
        .args(["install", "mdbook", "--locked", "--no-default-features", "--root"])
        .args([&place])
        .shown()?;
    let program = place.join("bin/mdbook");
    Run::new(&program, root, context.limit(5))
        .args(["build", "docs", "--dest-dir"])
        .args([&place.join("book")])
        .shown()?;
    Ok(Outcome::default())
}

fn deny(context: &Context) -> Result<Outcome, String> {
    if context.cargo().args(["deny", "--version"]).lines(|_| ()).is_err() {
        println!("cargo-deny is not installed: nothing checked here; `tidy` has checked the licences");
        return Ok(Outcome::default());
    }
    context.cargo().args(["deny", "check", "licenses"]).shown().map(|()| Outcome::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(passed: usize, failed: usize, complaints: &[&str]) -> Finished {
        let complaints = complaints.iter().map(|&text| text.to_owned()).collect();
        Finished {
            name: "x",
            time: Duration::ZERO,
            outcome: Outcome { passed, failed, skipped: 1, complaints, ..Outcome::default() },
        }
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let names = |names: &[&str], long| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            chosen(&names, long).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["doc", "fmt"], false).unwrap(), ["fmt", "doc"]);
        assert_eq!(names(&[], false).unwrap().len() + 2, names(&[], true).unwrap().len());
        assert!(names(&["typo"], false).unwrap_err().contains("typo"));
    }

    #[test]
    fn a_red_step_is_never_counted_green() {
        assert_eq!(counts(&[finished(3, 0, &[]), finished(4, 0, &[])], false), (7, 0, 2));
        assert_eq!(counts(&[finished(3, 2, &["red"]), finished(0, 0, &["red"])], false), (3, 3, 2));
        assert_eq!(counts(&[finished(3, 0, &[])], true), (3, 1, 1));
        assert!(!summary(&[finished(1, 0, &["red"])], Duration::ZERO, false));
        assert!(!summary(&[finished(1, 0, &[])], LONGEST * 2, false));
        assert!(summary(&[finished(1, 0, &[])], LONGEST * 2, true));
    }
}
