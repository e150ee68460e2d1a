//! `cargo xtask demo`: the example of that name, as a first look.

use crate::run::Run;
use crate::workspace::Workspace;
use std::time::Duration;

/// Building it for the first time takes most of this.
const WATCHDOG: Duration = Duration::from_secs(20 * 60);

/// Builds and runs the example; `quick`: a small picture.
pub(crate) fn run(workspace: &Workspace, quick: bool) -> Result<(), String> {
    let args = ["run", "--quiet", "--release", "--example", "demo", "--"];
    println!("building the demo, which takes a minute or two for the first time");
    let cargo = Run::cargo(&workspace.root, WATCHDOG).args(args).args(quick.then_some("--quick"));
    cargo.args([workspace.target.join("demo.png")]).shown()
}
