//! How long the tests of a crate may run, so that a slow test is a decision and not an accident.
//!
//! A number is to be about three times what a quiet machine with two cores needs, building of doctests
//! included and building of everything else not. `PROCESSION_BUDGET_FACTOR` stretches all for a slow machine.

use super::report::Crate;
use crate::workspace::Workspace;
use std::time::Duration;

/// Seconds for each member of the workspace.
const SECONDS: &[(&str, u64)] = &[
    ("procession-macros", 120),
    ("procession-raw", 180),
    ("procession-codec", 180),
    ("procession-sys", 240),
    ("procession-shm", 600),
    ("procession-pipe", 400),
    ("procession-sync", 400),
    ("procession-queue", 400),
    ("procession-process", 400),
    ("procession-pool", 400),
    ("procession-log", 120),
    ("procession-manager", 300),
    ("procession", 1200),
    ("procession-testkit", 120),
    ("procession-examples", 180),
    ("procession-benches", 30),
    ("procession-floor", 120),
    ("xtask", 60),
];

/// How much more time `ci --long` has.
const LONG: f64 = 20.0;

/// Every member has a budget, and no budget is left over.
pub(crate) fn check(workspace: &Workspace) -> Vec<String> {
    let has = |name: &str| SECONDS.iter().any(|(other, _)| *other == name);
    let missing = workspace.members().map(|member| &*member.name).filter(|name| !has(name));
    let stale = SECONDS.iter().map(|(name, _)| *name).filter(|name| workspace.member(name).is_none());
    let place = "xtask/src/testing/budget.rs";
    let missing = missing.map(|name| format!("{name} has no time budget in {place}"));
    missing.chain(stale.map(|name| format!("{place} has {name}, which is no member"))).collect()
}

/// The crates that took longer than they may.
pub(crate) fn judge(crates: &[Crate], long: bool) -> Result<Vec<String>, String> {
    let factor = factor(std::env::var("PROCESSION_BUDGET_FACTOR").ok().as_deref())?;
    let factor = if long { factor * LONG } else { factor };
    Ok(crates.iter().filter_map(|c| over(c, factor)).collect())
}

/// Tests and seconds of each crate.
pub(crate) fn table(crates: &[Crate]) -> String {
    let mut text =
        format!("{:<24}{:>8}{:>8}{:>10}{:>10}\n", "crate", "passed", "failed", "seconds", "budget");
    for c in crates {
        let (seconds, budget) = (c.time.as_secs_f64(), seconds(&c.name));
        text += &format!("{:<24}{:>8}{:>8}{seconds:>10.1}{budget:>10}\n", c.name, c.passed, c.failed);
    }
    text
}

fn over(c: &Crate, factor: f64) -> Option<String> {
    let budget = Duration::from_secs(seconds(&c.name)).mul_f64(factor);
    (c.time > budget).then(|| {
        let (took, may) = (c.time.as_secs_f64(), budget.as_secs_f64());
        format!(
            "the tests of {} took {took:.0} s and may take {may:.0} s: make them faster, or move the large sizes behind \
             PROCESSION_LONG; on a slow machine set PROCESSION_BUDGET_FACTOR",
            c.name
        )
    })
}

fn seconds(name: &str) -> u64 {
    SECONDS.iter().find(|(other, _)| *other == name).map_or(0, |(_, seconds)| *seconds)
}

fn factor(text: Option<&str>) -> Result<f64, String> {
    let factor = text.map_or(Ok(1.0), str::parse::<f64>);
    factor.ok().filter(|factor| *factor > 0.0 && *factor <= 1000.0).ok_or_else(|| {
        format!(
            "PROCESSION_BUDGET_FACTOR is `{}`, which is no number between 0 and 1000",
            text.unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(name: &str, seconds: u64) -> Crate {
        Crate { name: name.into(), time: Duration::from_secs(seconds), ..Crate::default() }
    }

    #[test]
    fn a_crate_over_its_budget_is_named() {
        let (name, most) = SECONDS[0];
        assert_eq!(over(&took(name, most), 1.0), None);
        let text = over(&took(name, most + 1), 1.0).unwrap();
        assert!(text.contains(&format!("{name} took {} s and may take {most} s", most + 1)), "{text}");
        assert_eq!(over(&took(name, most + 1), 2.0), None);
        assert!(over(&took("unknown", 1), 1.0).is_some());
    }

    #[test]
    fn the_factor_is_a_positive_number() {
        assert_eq!(factor(None), Ok(1.0));
        assert_eq!(factor(Some("2.5")), Ok(2.5));
        for bad in ["", "x", "0", "-1", "NaN", "inf"] {
            assert!(factor(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_without_budget_and_budgets_without_member_are_named() {
        let json = r#"{"workspace_members":["n"],"packages":[{"id":"n","name":"new","manifest_path":"/n/Cargo.toml"}]}"#;
        let found = check(&Workspace::parse(json).unwrap());
        assert_eq!(found.len(), 1 + SECONDS.len());
        assert!(found[0].starts_with("new has no time budget"));
    }
}
