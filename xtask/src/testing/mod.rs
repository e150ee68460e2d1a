//! The step `test`: runs the test command of README.md, and judges more than its exit code.
//!
//! Invariants: what is built and run is that command and nothing else; an ignored test, a skipped test that
//! is not in the committed list, a crate over its time and a missing tool each fail the step.

pub(crate) mod budget;
mod contract;
mod needs;
mod report;
mod skips;

use crate::artifacts::{self, Program};
use crate::ci::{Context, Outcome};
use crate::readme;
use crate::run::Run;
use crate::workspace::Workspace;
use report::Report;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// Builds the tests, runs them, and prints the tables.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    needs::check(&context.workspace.root)?;
    let root = &context.workspace.root;
    let words = readme::command(root, readme::TEST_COMMAND)?
        .ok_or_else(|| format!("README.md has no command after `{}`", readme::TEST_COMMAND))?;
    if words.get(1).map(String::as_str) != Some("test") {
        return Err(format!("`{}` is no `cargo test`", words.join(" ")));
    }
    println!("building `{}`, the test command of README.md", words.join(" "));
    let started = Instant::now();
    let programs = artifacts::build(Run::cargo(root, context.limit(40)).args(no_run(&words)))?;
    println!("built {} test programs in {} s", programs.len(), started.elapsed().as_secs());

    let log = context.workspace.target.join("skipped-tests.txt");
    skips::clear(&log)?;
    let mut report = Report::new(names(&context.workspace, &programs));
    let result = run_tests(context, &words[1..], &log, &mut report);
    report.finish();
    judge(context, &report, &log, result)
}

fn run_tests(context: &Context, args: &[String], log: &Path, report: &mut Report) -> Result<(), String> {
    let mut run = Run::cargo(&context.workspace.root, context.limit(40))
        .args(args.iter().cloned())
        .env("PROCESSION_SKIP_LOG", log)
        .env("PROCESSION_REQUIRE", needs::REQUIRED.join(","));
    if context.long {
        run = run.env("PROCESSION_LONG", "1");
    }
    let started = Instant::now();
    run.lines(|line| {
        println!("{line}");
        report.line(line, started.elapsed());
    })
}

fn judge(
    context: &Context,
    report: &Report,
    log: &Path,
    result: Result<(), String>,
) -> Result<Outcome, String> {
    let root = &context.workspace.root;
    let crates = report.crates();
    let skipped = skips::read(log)?;
    let mut complaints: Vec<String> = result.err().into_iter().collect();
    complaints.extend(report.complaints());
    complaints.extend(skips::judge(&skipped, &skips::allowed(root)?));
    complaints.extend(budget::judge(crates, context.long)?);

    println!("\n{}", budget::table(crates));
    println!("{}", contract::tables(report.tests()));
    if report.n_torn() > 0 {
        println!("the lines of {} tests were torn by other output: a table may lack them", report.n_torn());
    }
    skipped.iter().for_each(|skip| println!("skipped: {skip}"));
    let sum = |count: fn(&report::Crate) -> usize| crates.iter().map(count).sum::<usize>();
    // A test that skips returns, and libtest counts it as passed.
    let n_skipped = skips::n_tests(&skipped);
    let passed = sum(|c| c.passed).saturating_sub(n_skipped);
    Ok(Outcome { passed, failed: sum(|c| c.failed), skipped: n_skipped, complaints, ..Outcome::default() })
}

/// The arguments that build what the command would run.
fn no_run(words: &[String]) -> Vec<String> {
    let args = words[1..].iter().take_while(|word| *word != "--").cloned();
    args.chain(["--no-run".to_owned()]).collect()
}

/// Which package the tests of a program belong to: by the file name of the program, and by library for
/// doctests.
fn names(workspace: &Workspace, programs: &[Program]) -> HashMap<String, String> {
    let mut names = HashMap::new();
    for member in workspace.members() {
        let libs = member.targets_of("lib").chain(member.targets_of("proc-macro"));
        names.extend(libs.map(|lib| (lib.name.clone(), member.name.clone())));
        let own = programs.iter().filter(|program| program.package_id == member.id);
        names
            .extend(own.map(|program| (artifacts::file_name(&program.path).to_owned(), member.name.clone())));
    }
    names
}
