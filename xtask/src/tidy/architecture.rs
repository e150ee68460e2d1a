//! ARCHITECTURE.md says what is true: its crates are the crates of the workspace, its arrows are those of the
//! table.
//!
//! The page holds the table in a fenced block marked `arrows`, and names each crate of the list as
//! `crates/<name>`.

use super::arrows::{self, Row};
use super::files::Files;
use crate::workspace::Workspace;
use std::collections::BTreeSet;

const PAGE: &str = "ARCHITECTURE.md";

/// Compares both ways.
pub(crate) fn check(workspace: &Workspace, files: &Files) -> Vec<String> {
    let Some(page) = files.text(PAGE) else { return vec![format!("{PAGE} is missing")] };
    let dirs = workspace.members().map(|member| workspace.relative(&member.dir)).collect();
    let mut complaints = check_crates(page, &dirs);
    complaints.extend(check_arrows(page, arrows::TABLE));
    complaints
}

fn check_crates(page: &str, dirs: &BTreeSet<String>) -> Vec<String> {
    let said = crates_of(page);
    let real = dirs.iter().filter(|dir| dir.starts_with("crates/")).cloned().collect::<BTreeSet<_>>();
    let missing = real.difference(&said).map(|dir| format!("{PAGE} does not name {dir}"));
    let stale =
        said.difference(&real).map(|dir| format!("{PAGE} names {dir}, which is no crate of the workspace"));
    missing.chain(stale).collect()
}

/// Every `crates/<name>` in the page.
fn crates_of(page: &str) -> BTreeSet<String> {
    let names = page.split("crates/").skip(1);
    names
        .map(|rest| {
            rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .map(|name| format!("crates/{name}"))
        .collect()
}

fn check_arrows(page: &str, table: &str) -> Vec<String> {
    let Some(block) = block_of(page) else {
        return vec![format!("{PAGE} has no fenced block marked `arrows`")];
    };
    match (arrows::rows(block), arrows::rows(table)) {
        (Ok(said), Ok(real)) => compare(&said, &real),
        (Err(error), _) | (_, Err(error)) => vec![format!("{PAGE}, arrows: {error}")],
    }
}

fn block_of(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("\n```arrows\n")?;
    rest.split_once("```").map(|(block, _)| block)
}

fn compare(said: &[Row<'_>], real: &[Row<'_>]) -> Vec<String> {
    let set = |rows: &[Row<'_>]| rows.iter().flat_map(statements).collect::<BTreeSet<String>>();
    let (said, real) = (set(said), set(real));
    let missing = real.difference(&said).map(|arrow| format!("{PAGE} does not have `{arrow}`"));
    let stale =
        said.difference(&real).map(|arrow| format!("{PAGE} has `{arrow}`, which the table of xtask has not"));
    missing.chain(stale).collect()
}

/// A row as single statements, so that a difference is named and not a whole row.
fn statements<'a>(row: &'a Row<'_>) -> impl Iterator<Item = String> + 'a {
    let level = row.level.map_or_else(|| "beside".to_owned(), |level| format!("level {level}"));
    let arrows = row.uses.iter().map(|to| format!("{} -> {to}", row.name));
    arrows.chain([format!("{}: {level}", row.name)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn crates_are_compared_both_ways() {
        let page = "| `crates/raw` | words |\n[sys](crates/sys/src/lib.rs)";
        assert_eq!(check_crates(page, &dirs(&["crates/raw", "crates/sys", "examples"])), [""; 0]);
        assert!(check_crates(page, &dirs(&["crates/raw"]))[0].contains("names crates/sys"));
        assert!(
            check_crates(page, &dirs(&["crates/raw", "crates/sys", "crates/shm"]))[0].contains("crates/shm")
        );
    }

    #[test]
    fn arrows_are_compared_both_ways() {
        let page = |rows: &str| format!("text\n```arrows\n{rows}```\n");
        let table = "0 raw ->\n1 sys -> raw\n";
        assert_eq!(check_arrows(&page(table), table), [""; 0]);
        assert!(check_arrows(&page("0 raw ->\n1 sys ->\n"), table)[0].contains("does not have `sys -> raw`"));
        assert!(check_arrows(&page("0 raw -> sys\n1 sys -> raw\n"), table)[0].contains("has `raw -> sys`"));
        assert_eq!(check_arrows(&page("0 raw ->\n2 sys -> raw\n"), table).len(), 2);
        assert_eq!(check_arrows("no block", table).len(), 1);
        assert_eq!(check_arrows(&page("sys uses raw\n"), table).len(), 1);
    }
}
