//! Which of our crates may depend on which: the table, and the arrows that the manifests really draw.
//!
//! Invariants: arrows go to lower levels only. A dev-dependency on `testkit` is allowed from everywhere;
//! other dev-dependencies follow the same table. ARCHITECTURE.md holds the same table for readers.

use crate::workspace::{Package, Workspace};

/// A crate of ours and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// `None`: beside the levels.
    pub(crate) level: Option<u8>,
    pub(crate) name: &'a str,
    pub(crate) uses: Vec<&'a str>,
}

/// The table as ARCHITECTURE.md has it too, one row a line: level (or `-`), name, arrow, what it may use.
pub(crate) const TABLE: &str = "\
0 macros ->
0 raw ->
0 codec ->
1 sys -> raw
2 shm -> sys raw codec macros
2 pipe -> sys codec
3 sync -> shm sys raw codec
4 queue -> sync shm sys raw codec
4 process -> pipe shm sync sys codec
5 pool -> process queue pipe sync shm sys codec
5 log -> process queue shm sys codec
6 manager -> pool process pipe queue sync shm sys codec macros
7 procession -> manager log pool process queue sync pipe shm sys codec raw macros
- testkit ->
- examples -> procession manager log pool process queue sync pipe shm sys codec raw macros testkit
- floor ->
- benches -> procession manager log pool process queue sync pipe shm sys codec raw macros testkit floor
- xtask ->
";

/// Reads a table; a line that is no row is an error.
pub(crate) fn rows(table: &str) -> Result<Vec<Row<'_>>, String> {
    table.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

fn row(line: &str) -> Result<Row<'_>, String> {
    let error = || format!("`{}` is no row like `4 queue -> sync shm`", line.trim());
    let (left, right) = line.split_once("->").ok_or_else(error)?;
    let mut left = left.split_whitespace();
    let (Some(level), Some(name), None) = (left.next(), left.next(), left.next()) else {
        return Err(error());
    };
    let level = if level == "-" { None } else { Some(level.parse().map_err(|_| error())?) };
    Ok(Row { level, name, uses: right.split_whitespace().collect() })
}

/// The name of one of our packages in the table: without `procession-`.
pub(crate) fn short(package: &str) -> &str {
    package.strip_prefix("procession-").unwrap_or(package)
}

/// Every member has a row, and every arrow between members is in the table.
pub(crate) fn check(workspace: &Workspace) -> Vec<String> {
    let members: Vec<&Package> = workspace.members().collect();
    rows(TABLE).map_or_else(|error| vec![error], |rows| check_against(&rows, &members))
}

fn check_against(rows: &[Row<'_>], members: &[&Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for row in rows {
        if !members.iter().any(|member| short(&member.name) == row.name) {
            complaints.push(format!(
                "{} is in the table of xtask/src/tidy/arrows.rs but not in the workspace",
                row.name
            ));
        }
    }
    for member in members {
        let from = short(&member.name);
        let Some(row) = rows.iter().find(|row| row.name == from) else {
            complaints.push(format!("{from} has no row in the table of xtask/src/tidy/arrows.rs"));
            continue;
        };
        for dependency in &member.dependencies {
            let to = short(&dependency.name);
            let is_ours = members.iter().any(|other| other.name == dependency.name);
            let allowed = row.uses.contains(&to) || (dependency.is_dev && to == "testkit");
            if is_ours && !allowed {
                let kind = if dependency.is_dev { "a dev-dependency" } else { "a dependency" };
                complaints.push(format!(
                    "{from} -> {to} is {kind} that the table does not allow: arrows go down only"
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependencies =
            dependencies.iter().map(|&(name, is_dev)| Dependency { name: name.into(), is_dev }).collect();
        Package { name: name.into(), dependencies, ..Package::default() }
    }

    fn complaints(packages: &[Package]) -> Vec<String> {
        let table = "0 raw ->\n1 sys -> raw\n- testkit ->\n";
        check_against(&rows(table).unwrap(), &packages.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_table_goes_down_only() {
        let rows = rows(TABLE).unwrap();
        let level =
            |name: &str| rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}")).level;
        for row in rows.iter().filter(|row| row.level.is_some()) {
            for to in &row.uses {
                assert!(level(to) < row.level && level(to).is_some(), "{} -> {to}", row.name);
            }
        }
    }

    #[test]
    fn an_arrow_outside_the_table_is_named() {
        let good = [
            package("procession-raw", &[("procession-testkit", true), ("serde", false)]),
            package("procession-sys", &[("procession-raw", false)]),
            package("procession-testkit", &[]),
        ];
        assert_eq!(complaints(&good), [""; 0]);
        let up = package("procession-raw", &[("procession-sys", false)]);
        let [_, sys, testkit] = good;
        let found = complaints(&[up, sys, testkit]);
        assert!(found.len() == 1 && found[0].starts_with("raw -> sys is a dependency"), "{found:?}");
    }

    #[test]
    fn testkit_is_for_tests_only_and_dev_arrows_follow_the_table() {
        let packages = [
            package("procession-raw", &[("procession-sys", true)]),
            package("procession-sys", &[("procession-testkit", false)]),
            package("procession-testkit", &[]),
        ];
        assert_eq!(complaints(&packages).len(), 2);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_named() {
        let found = complaints(&[
            package("procession-raw", &[]),
            package("procession-new", &[]),
            package("procession-sys", &[]),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_line_that_is_no_row_is_an_error() {
        for line in ["1 sys", "sys -> raw", "x sys -> raw", "1 sys more -> raw"] {
            assert!(rows(line).is_err(), "{line}");
        }
    }
}
