//! Sweeps of kills, in a process of their own.

use std::io::Write;
use std::time::Duration;

use procession_shm::domain::TICK;
use procession_testkit::roles::Role;
use procession_testkit::{guarded_for, need, role};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// A tick that never comes.
pub(crate) const NEVER: &str = "600000";

/// Runs the sweeps in a role of its own, whose tick is this; in any other role, the victim.
pub(crate) fn sweeper(tick: &str, victim: impl FnOnce(&str), sweeps: impl FnOnce()) {
    match role().as_deref() {
        Some("sweeper") => guarded_for(LIMIT * 60, || {
            if need("ptrace") {
                sweeps();
            }
        }),
        Some(role) => victim(role),
        // Ten times as many instructions, which would say nothing more: `ci` runs this file optimised.
        None if cfg!(debug_assertions) && std::env::var_os("PROCESSION_LONG").is_none() => {}
        None => guarded_for(LIMIT * 60, || {
            let output = Role::new("sweeper").env(TICK, tick).spawn().wait_with_output(LIMIT * 60);
            let _ = write!(std::io::stderr(), "{}", output.expect_success().stderr);
        }),
    }
}
