//! What the tests need from the machine. Elsewhere a test may skip without them; under `ci` they are
//! required.

use crate::run::Run;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The needs that no test may skip for, as tests name them.
pub(crate) const REQUIRED: &[&str] = &["ptrace", "python3"];

/// Says early, and once, what is missing.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut version = String::new();
    Run::new("python3", root, Duration::from_secs(60))
        .args(["--version"])
        .lines(|line| version = line.to_owned())
        .map_err(|error| format!("python3 is required: {error}"))?;
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    ptrace(scope.trim())?;
    println!("needs: {version}, ptrace of own children");
    Ok(())
}

/// `scope` is what Yama says, or nothing where the kernel has no Yama. A seccomp filter that forbids ptrace
/// is found by the tests, which fail then.
fn ptrace(scope: &str) -> Result<(), String> {
    match scope {
        "3" => {
            Err("ptrace is required, and kernel.yama.ptrace_scope is 3, which forbids it to everybody".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_forbids_ptrace_is_refused() {
        assert!(ptrace("3").is_err());
        assert_eq!((ptrace("1"), ptrace("")), (Ok(()), Ok(())));
    }
}
