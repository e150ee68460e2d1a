//! `cargo xtask tidy`: the rules that a compiler does not hold. It reads files and `cargo metadata`; it
//! builds nothing.
//!
//! Invariants: a check is a function from texts to complaints, so that its tests feed it bad samples; every
//! complaint says where and what to do; nothing is written unless `--bless` asks for it.

mod architecture;
mod arrows;
mod code;
mod files;
mod guide;
mod licences;
mod manifests;
mod pages;
mod unsafety;
mod words;

use crate::testing;
use crate::workspace::Workspace;
use files::Files;
pub(crate) use unsafety::LIST as UNSAFE_LIST;

/// The checks, in the order they are printed.
type Check = fn(&Workspace, &Files) -> Vec<String>;
const CHECKS: &[(&str, Check)] = &[
    ("dependency arrows", |workspace, _| arrows::check(workspace)),
    ("ARCHITECTURE.md", architecture::check),
    ("manifests", |workspace, files| manifests::check(workspace, files)),
    ("licences", licences::check),
    ("unsafe", unsafety::check),
    ("pages", |_, files| pages::check(files)),
    ("guide", |_, files| guide::check(files)),
    ("words", |_, files| words::check(files)),
    ("time budgets", |workspace, _| testing::budget::check(workspace)),
];

/// Runs every check; with `bless` first rewrites the list of unsafe files.
pub(crate) fn run(workspace: &Workspace, bless: bool) -> Result<(), String> {
    let mut files = Files::read(workspace)?;
    if bless {
        unsafety::bless(&mut files)?;
        println!("wrote {UNSAFE_LIST}");
    }
    let mut n_complaints = 0;
    for (name, check) in CHECKS {
        let complaints = check(workspace, &files);
        println!("tidy: {name}: {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        complaints.iter().for_each(|complaint| println!("  {complaint}"));
        n_complaints += complaints.len();
    }
    for warning in pages::warnings(&files) {
        println!("tidy: warning: {warning}");
    }
    if n_complaints == 0 { Ok(()) } else { Err(format!("{n_complaints} complaints, listed above")) }
}
