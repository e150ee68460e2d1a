//! Commands that README.md promises, read from it, so that what is run is what is written.
//!
//! A command stands alone in the fenced block after its marker, an HTML comment. It is split at spaces and
//! run without a shell; a line that needs a shell is refused.

use std::fs;
use std::path::Path;

/// The marker of the command that runs all tests.
pub(crate) const TEST_COMMAND: &str = "<!-- test command -->";
/// The marker of the command of the main example.
pub(crate) const MAIN_JOB: &str = "<!-- main job -->";

/// The words of the command after `marker`; `None` without the marker.
pub(crate) fn command(root: &Path, marker: &str) -> Result<Option<Vec<String>>, String> {
    let text = fs::read_to_string(root.join("README.md")).map_err(|e| format!("reading README.md: {e}"))?;
    parse(&text, marker).map_err(|error| format!("README.md, after `{marker}`: {error}"))
}

fn parse(text: &str, marker: &str) -> Result<Option<Vec<String>>, String> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != marker);
    if lines.next().is_none() {
        return Ok(None);
    }
    let mut lines = lines.skip_while(|line| line.is_empty());
    if !lines.next().is_some_and(|line| line.starts_with("```")) {
        return Err("a fenced block follows".into());
    }
    let block: Vec<&str> = lines.take_while(|line| !line.starts_with("```")).collect();
    let mut commands = block.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (commands.next(), commands.next()) {
        (Some(line), None) if line.contains(['|', '&', ';', '<', '>', '$', '`', '\'', '"', '\\', '*']) => {
            Err(format!("`{line}` needs a shell"))
        }
        (Some(line), None) if line.starts_with("cargo ") => {
            Ok(Some(line.split_whitespace().map(str::to_owned).collect()))
        }
        (Some(line), None) => Err(format!("`{line}` is no command of cargo")),
        _ => Err("the block holds one command".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(body: &str) -> Result<Option<Vec<String>>, String> {
        parse(&format!("# Title\n{TEST_COMMAND}\n\n```console\n{body}\n```\n"), TEST_COMMAND)
    }

    #[test]
    fn the_command_after_the_marker() {
        let words = block("# all of them\ncargo test --workspace").unwrap().unwrap();
        assert_eq!(words, ["cargo", "test", "--workspace"]);
        assert_eq!(parse("```\ncargo test\n```", TEST_COMMAND), Ok(None));
        let two = format!("{TEST_COMMAND}\n```\ncargo test\n```\n{MAIN_JOB}\n```\ncargo run\n```\n");
        assert_eq!(parse(&two, MAIN_JOB).unwrap().unwrap(), ["cargo", "run"]);
    }

    #[test]
    fn what_is_not_one_plain_command_is_an_error() {
        for bad in ["", "cargo test\ncargo doc", "cargo test && true", "make test"] {
            assert!(block(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{TEST_COMMAND}\ncargo test"), TEST_COMMAND).is_err());
    }
}
