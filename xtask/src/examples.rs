//! The step `examples`: every example builds, runs and ends, and so does the main job that README.md names.
//!
//! An example runs without arguments unless the comment at its head says otherwise: `//! ci: --words 3` are
//! its arguments, `//! ci: stdin: text` is a line of its input; both may stand more than once.

use crate::artifacts::{self, Program};
use crate::ci::{Context, Outcome};
use crate::readme;
use crate::run::Run;
use crate::workspace::{Target, Workspace};
use std::fs;
use std::time::{Duration, Instant};

/// The member that holds the examples.
const PACKAGE: &str = "procession-examples";
/// The example that does the main job.
pub(crate) const MAIN: &str = "word_count";
/// How long an example may run.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Builds and runs all of them.
pub(crate) fn run(context: &Context) -> Result<Outcome, String> {
    let workspace = &context.workspace;
    let mut complaints = Vec::new();
    let targets: Vec<&Target> =
        workspace.member(PACKAGE).into_iter().flat_map(|p| p.targets_of("example")).collect();
    if targets.is_empty() {
        println!("there is no example yet");
    } else {
        let args = ["build", "--package", PACKAGE, "--examples"];
        let programs = artifacts::build(Run::cargo(&workspace.root, context.limit(30)).args(args))?;
        complaints.extend(targets.iter().filter_map(|target| run_one(workspace, target, &programs).err()));
    }
    complaints.extend(main_job(context).err());
    Ok(Outcome { complaints, ..Outcome::default() })
}

/// Whether there is an example of that name.
pub(crate) fn exists(workspace: &Workspace, name: &str) -> bool {
    workspace.member(PACKAGE).is_some_and(|package| package.targets_of("example").any(|t| t.name == name))
}

fn run_one(workspace: &Workspace, target: &Target, programs: &[Program]) -> Result<(), String> {
    let name = &target.name;
    let program = programs.iter().find(|program| program.name == *name);
    let program = program.ok_or_else(|| format!("cargo built no program for the example {name}"))?;
    let source =
        fs::read_to_string(&target.source).map_err(|e| format!("reading the example {name}: {e}"))?;
    let header = Header::parse(&source);
    let started = Instant::now();
    println!("--- example {name} {}", header.args.join(" "));
    Run::new(&program.path, &workspace.root, WATCHDOG)
        .args(header.args)
        .stdin(header.stdin)
        .lines(|line| println!("{line}"))
        .map_err(|error| format!("example {name}: {error}"))?;
    println!("--- example {name}: ok, {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// What the head of an example says about running it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    args: Vec<String>,
    stdin: String,
}

impl Header {
    fn parse(source: &str) -> Self {
        let mut header = Self::default();
        for line in source.lines().take_while(|line| line.starts_with("//!")) {
            let Some(rest) = line.strip_prefix("//! ci:") else { continue };
            match rest.trim_start().strip_prefix("stdin:") {
                Some(text) => header.stdin += &format!("{}\n", text.strip_prefix(' ').unwrap_or(text)),
                None => header.args.extend(rest.split_whitespace().map(str::to_owned)),
            }
        }
        header
    }
}

/// Runs the main job as README.md has it, on a folder of the checkout, and lets it check its own answer.
fn main_job(context: &Context) -> Result<(), String> {
    let workspace = &context.workspace;
    let exists = exists(workspace, MAIN);
    let Some(words) = readme::command(&workspace.root, readme::MAIN_JOB)? else {
        if exists {
            return Err(format!("README.md has no command after `{}`", readme::MAIN_JOB));
        }
        println!("there is no main job yet: neither an example {MAIN} nor a command in README.md");
        return Ok(());
    };
    if !exists {
        return Err(format!("README.md names the main job, and there is no example {MAIN}"));
    }
    let run = Run::cargo(&workspace.root, context.limit(20)).args(on_checkout(&words)?);
    println!("--- main job: `{}`", run.to_text());
    run.lines(|line| println!("{line}"))
}

/// The arguments of cargo with `PATH` put in, and the wish for a check.
fn on_checkout(words: &[String]) -> Result<Vec<String>, String> {
    let put = |word: &String| if word == "PATH" { "crates".to_owned() } else { word.clone() };
    if !words.iter().any(|word| word == "PATH") || !words.iter().any(|word| word == MAIN) {
        return Err(format!("`{}` runs no {MAIN} on PATH", words.join(" ")));
    }
    Ok(words[1..].iter().map(put).chain(["--check".to_owned()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_example_gives_arguments_and_input() {
        let source = "//! Counts.\n//! ci: --words 3\n//! ci: stdin: one  two\n//! ci: stdin:\nfn main() {}\n//! ci: no\n";
        let expected = Header { args: vec!["--words".into(), "3".into()], stdin: "one  two\n\n".into() };
        assert_eq!(Header::parse(source), expected);
        assert_eq!(Header::parse("fn main() {}"), Header::default());
    }

    #[test]
    fn the_main_job_gets_a_folder_and_a_check() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let args = on_checkout(&words("cargo run --release --example word_count -- PATH")).unwrap();
        assert_eq!(args, words("run --release --example word_count -- crates --check"));
        assert!(on_checkout(&words("cargo run --example word_count")).is_err());
        assert!(on_checkout(&words("cargo run --example other -- PATH")).is_err());
    }
}
