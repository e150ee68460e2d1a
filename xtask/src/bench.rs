//! `cargo xtask bench`: the criterion benches, in full, quickly, or each once to see that they work.

use crate::run::Run;
use crate::workspace::Workspace;
use std::time::Duration;

/// The member that holds the benches.
const PACKAGE: &str = "procession-benches";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// With all samples.
    Full,
    /// Fewer samples: a first impression, not a result.
    Quick,
    /// Each bench once, nothing measured.
    Smoke,
}

/// Runs the benches whose name contains `filter`, or all.
pub(crate) fn run(
    workspace: &Workspace,
    size: Size,
    filter: Option<&str>,
    limit: Duration,
) -> Result<(), String> {
    let benches: Vec<&str> =
        workspace.member(PACKAGE).into_iter().flat_map(|p| p.targets_of("bench")).map(|t| &*t.name).collect();
    if benches.is_empty() {
        println!("there is no bench yet");
        return Ok(());
    }
    Run::cargo(&workspace.root, limit).args(args(&benches, size, filter)).shown()?;
    if size != Size::Smoke {
        println!("results: {}", workspace.target.join("criterion").display());
    }
    Ok(())
}

/// Each bench once.
pub(crate) fn smoke(workspace: &Workspace, limit: Duration) -> Result<(), String> {
    run(workspace, Size::Smoke, None, limit)
}

fn args<'a>(benches: &[&'a str], size: Size, filter: Option<&'a str>) -> Vec<&'a str> {
    let mut args = vec!["bench", "--package", PACKAGE];
    args.extend(benches.iter().flat_map(|bench| ["--bench", bench]));
    args.push("--");
    args.extend(match size {
        Size::Full => None,
        Size::Quick => Some("--quick"),
        Size::Smoke => Some("--test"),
    });
    args.extend(filter);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bench_is_named_so_that_the_library_is_not_taken_for_one() {
        let expected = ["bench", "--package", PACKAGE, "--bench", "a", "--bench", "b", "--", "--test", "x"];
        assert_eq!(args(&["a", "b"], Size::Smoke, Some("x")), expected);
        assert_eq!(args(&["a"], Size::Full, None).last(), Some(&"--"));
    }
}
