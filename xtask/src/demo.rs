//! `cargo xtask demo`: the main job on this checkout, as a first look.

use crate::examples;
use crate::run::Run;
use crate::workspace::Workspace;
use std::time::Duration;

/// Building it for the first time takes most of this.
const WATCHDOG: Duration = Duration::from_secs(20 * 60);

/// Builds and runs the example, and says what this demo does not show.
pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    if !examples::exists(workspace, examples::MAIN) {
        return Err(format!("there is nothing to show: this checkout has no example {}", examples::MAIN));
    }
    println!("counting the words of this checkout in a pool of processes ({})\n", examples::MAIN);
    let args = ["run", "--release", "--example", examples::MAIN, "--", "crates"];
    Run::cargo(&workspace.root, WATCHDOG).args(args).shown()?;
    println!(
        "\nThat was one program: a pool of worker processes and its progress. Workers that die, queues, shared memory \
         and managers are not part of this demo yet; ARCHITECTURE.md says which crates do something today."
    );
    Ok(())
}
