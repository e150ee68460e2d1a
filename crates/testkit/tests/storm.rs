//! Storms: repeatable, and they say how.

use std::time::Duration;

use procession_testkit::roles::{self, Role};
use procession_testkit::storm::SEED;
use procession_testkit::{Storm, guarded, role};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_failing_storm_says_its_seed() {
    if role().is_some() {
        let mut storm = Storm::seeded();
        roles::say(&storm.bits().to_string());
        assert!(storm.seed() != 77, "the storm hits");
        return;
    }
    guarded(|| {
        let child = Role::new("fails").env(SEED, "77").spawn();
        let output = child.wait_with_output(LIMIT);
        assert!(!output.status.success(), "{output}");
        assert!(output.stderr.contains("repeat with PROCESSION_SEED=77"), "{output}");
        assert_eq!(output.said, [Storm::from_seed(77).bits().to_string()]);
        let output = Role::new("passes").env(SEED, "78").spawn().wait_with_output(LIMIT).expect_success();
        assert!(!output.stderr.contains("repeat with"), "{output}");
    });
}

#[test]
fn a_chance_has_its_share() {
    guarded(|| {
        let mut storm = Storm::from_seed(5);
        let n_hits = (0..10_000).filter(|_| storm.chance(1, 4)).count();
        assert!((2_300..2_700).contains(&n_hits), "{n_hits}");
    });
}
