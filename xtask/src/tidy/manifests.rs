//! Versions live once, in the root manifest; no package builds with a script.
//!
//! The reader knows the few shapes of TOML that manifests have: `[section]`, `name = value`, `name.key =
//! value`.

use super::files::Files;
use crate::workspace::Workspace;

/// Looks at the manifest of every member.
pub(crate) fn check(workspace: &Workspace, files: &Files) -> Vec<String> {
    let mut complaints = Vec::new();
    for member in workspace.members() {
        let path = format!("{}/Cargo.toml", workspace.relative(&member.dir));
        match files.text(&path) {
            Some(text) => complaints.extend(check_manifest(&path, text)),
            None => complaints.push(format!("{path} is missing")),
        }
        if member.targets_of("custom-build").next().is_some() {
            complaints
                .push(format!("{path}: a build script; what it does belongs into the code or into xtask"));
        }
    }
    complaints
}

fn check_manifest(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut section = String::new();
    for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            let subject = section.split('.').collect::<Vec<_>>();
            let is_table = subject.iter().rev().nth(1).is_some_and(|part| part.ends_with("dependencies"));
            if is_table {
                complaints
                    .push(format!("{path}:{n}: [{section}]: write it on one line, with `workspace = true`"));
            }
        } else if is_dependencies(&section) && !inherits(line) {
            complaints
                .push(format!("{path}:{n}: `{line}`: inherit it: `.workspace = true`, version in the root"));
        } else if section == "package" && line.starts_with("version") && !inherits(line) {
            complaints.push(format!("{path}:{n}: `{line}`: `version.workspace = true`"));
        }
    }
    complaints.extend(missing_lints(path, text));
    complaints
}

fn missing_lints(path: &str, text: &str) -> Option<String> {
    let lints = text.split_once("[lints]").map(|(_, rest)| rest.trim_start());
    let inherits = lints.is_some_and(|rest| rest.starts_with("workspace = true"));
    (!inherits).then(|| format!("{path}: needs `[lints]` with `workspace = true`"))
}

fn is_dependencies(section: &str) -> bool {
    section.rsplit('.').next().is_some_and(|last| last.ends_with("dependencies"))
}

fn inherits(line: &str) -> bool {
    let compact: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let (name, value) = compact.split_once('=').unwrap_or((&compact, ""));
    let inherited = (name.ends_with(".workspace") && value == "true") || value.contains("workspace=true");
    inherited && !["version=", "path=", "git="].iter().any(|key| value.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_complaints(dependencies: &str) -> usize {
        let text =
            format!("[package]\nversion.workspace = true\n[lints]\nworkspace = true\n{dependencies}\n");
        check_manifest("Cargo.toml", &text).len()
    }

    #[test]
    fn inherited_dependencies_are_fine() {
        assert_eq!(n_complaints("[dependencies]\nserde.workspace = true"), 0);
        assert_eq!(
            n_complaints("[dev-dependencies]\n# why\nserde = { workspace = true, features = [\"rc\"] }"),
            0
        );
        assert_eq!(
            n_complaints("[target.'cfg(unix)'.dependencies]\nlibc.workspace = true\n[features]\na = []"),
            0
        );
    }

    #[test]
    fn versions_in_members_are_named() {
        assert_eq!(n_complaints("[dependencies]\nserde = \"1\""), 1);
        assert_eq!(n_complaints("[dependencies]\nserde = { path = \"../serde\" }"), 1);
        assert_eq!(n_complaints("[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\""), 1);
        assert_eq!(n_complaints("[build-dependencies]\nserde = { workspace = true, version = \"1\" }"), 1);
        assert_eq!(n_complaints("[dependencies.serde]\nversion = \"1\""), 1);
    }

    #[test]
    fn a_version_or_lints_of_its_own_are_named() {
        assert_eq!(check_manifest("p", "[package]\nversion = \"1\"\n[lints]\nworkspace = true").len(), 1);
        assert_eq!(check_manifest("p", "[package]\n[lints]\nunsafe_code = \"allow\"").len(), 1);
        assert_eq!(check_manifest("p", "[package]").len(), 1);
    }
}
