//! Builds with cargo and says which programs came out, and whose they are.

use crate::run::Run;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A program that cargo built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The id of its package, as in `cargo metadata`.
    pub(crate) package_id: String,
    /// The name of its target: of the example, test file, library.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// Runs `build`, a cargo command that builds, and shows what cargo says to people.
pub(crate) fn build(build: Run) -> Result<Vec<Program>, String> {
    let mut programs = Vec::new();
    build.args(["--message-format=json-render-diagnostics"]).lines(|line| {
        if line.starts_with("{\"reason\":") {
            programs.extend(program(line));
        } else {
            println!("{line}");
        }
    })?;
    Ok(programs)
}

/// The name of the file of a program: cargo puts a hash in it, so it says which one.
pub(crate) fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn program(line: &str) -> Option<Program> {
    let value: Value = serde_json::from_str(line).ok()?;
    let path = value["executable"].as_str()?;
    let package_id = value["package_id"].as_str()?.to_owned();
    Some(Program { package_id, name: value["target"]["name"].as_str()?.to_owned(), path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_an_executable_are_programs() {
        let line = r#"{"reason":"compiler-artifact","package_id":"p 1","target":{"name":"t"},"executable":"/x/t-1"}"#;
        let expected = Program { package_id: "p 1".into(), name: "t".into(), path: "/x/t-1".into() };
        assert_eq!(program(line), Some(expected));
        assert_eq!(program(&line.replace("\"/x/t-1\"", "null")), None);
        assert_eq!(program("{\"reason\":"), None);
        assert_eq!(file_name(Path::new("/x/t-1")), "t-1");
    }
}
