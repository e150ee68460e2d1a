//! Capabilities can be taken away, by the environment and by a call, and never come back. One test, as it takes
//! them from the whole process.

mod support;

use procession_sys::caps::{self, Capability};

#[test]
fn what_is_taken_away_stays_away() {
    let _watchdog = support::watchdog();
    if support::role().is_some() {
        assert!(!caps::has(Capability::Pidfd) && !caps::has(Capability::RobustList));
        let found = caps::diagnostics();
        assert_eq!(found.unknown_words, ["pidfdd"]);
        let text = found.to_string();
        assert!(text.contains("\npidfd: switched off\nrobust_list: switched off\n"), "{text}");
        assert!(text.contains("no capability is called \"pidfdd\""), "{text}");
        return;
    }
    let mut again = support::again("what_is_taken_away_stays_away", "without");
    assert!(again.env(caps::SWITCH, "pidfd, robust_list,pidfdd").status().unwrap().success());

    for capability in Capability::ALL {
        caps::force_off(capability);
        assert!(!caps::has(capability));
    }
    assert!(caps::diagnostics().capabilities.iter().all(|(_, present)| !present));
}
