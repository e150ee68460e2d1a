//! Leak counting: each kind of leak is named, what comes back late is no leak, and neighbours do not count.

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::mem;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use procession_testkit::roles::{self, Role, RoleOutput};
use procession_testkit::{Counted, Identity, counted, guarded, role, turn};
use support::{Page, page_file};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs the calling test again as somebody who leaks, and says how that ended.
fn verdict(leak: &str) -> RoleOutput {
    Role::new(leak).spawn().wait_with_output(LIMIT)
}

fn assert_named(leak: &str, words: &[&str]) {
    let output = verdict(leak);
    assert!(!output.status.success(), "{leak} was not noticed: {output}");
    let named = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(output.stderr.contains("1 leaked and did not come back"), "{leak}: {output}");
    assert!(output.stderr.lines().any(named), "{leak} is not named by {words:?}: {output}");
}

/// Counts with a short patience, since what leaks here never comes back.
fn count() -> Counted {
    Counted::new().limit(Duration::from_millis(100)).names(own_prefix())
}

fn own_prefix() -> String {
    format!("testkit-{}-", process::id())
}

/// A name that differs from run to run.
fn own_name(dir: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    dir.join(format!("{}{}", own_prefix(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

#[test]
fn a_descriptor_is_named() {
    if role().is_some() {
        return count().run(|| mem::forget(File::open("/proc/self/stat").expect("a file")));
    }
    guarded(|| assert_named("forgets", &["descriptor ", " -> /proc/", "/stat"]));
}

#[test]
fn a_socket_is_named() {
    if role().is_some() {
        return count().run(|| {
            let (one, two) = UnixStream::pair().expect("a pair");
            drop(one);
            mem::forget(two);
        });
    }
    guarded(|| assert_named("forgets", &["descriptor ", " -> socket:["]));
}

#[test]
fn a_mapping_is_named() {
    if role().is_some() {
        return count().run(|| mem::forget(Page::map(page_file("kept-for-ever"))));
    }
    guarded(|| assert_named("maps", &["mapping ", "/memfd:kept-for-ever", "4096 bytes"]));
}

#[test]
fn names_are_named() {
    let dir = match role().as_deref() {
        Some("shm") => PathBuf::from("/dev/shm"),
        Some(_) => std::env::temp_dir(),
        None => {
            return guarded(|| {
                assert_named("shm", &["name /dev/shm/testkit-"]);
                assert_named("temporary", &["name ", &std::env::temp_dir().display().to_string()]);
            });
        }
    };
    let _sweep = Sweep(dir.clone());
    count().run(|| drop(File::create(own_name(&dir)).expect("a name")));
}

/// Removes this process's names after it has been shown that they are noticed.
struct Sweep(PathBuf);

impl Drop for Sweep {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).expect("the directory").flatten() {
            if entry.file_name().to_string_lossy().starts_with(&own_prefix()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[test]
fn a_child_is_named() {
    match role().as_deref() {
        None => guarded(|| assert_named("keeps", &["child ", "Sleeping", "--exact a_child_is_named"])),
        Some("keeps") => {
            // The children end with this process, when the other end of their pair closes.
            let (_ours, theirs) = UnixStream::pair().expect("a pair");
            count().warm_ups(0).run(|| {
                let life = theirs.try_clone().expect("a descriptor");
                let child = Role::new("stays").hand("life", life).into_command().spawn();
                drop(child.expect("a child"));
            });
        }
        Some(_) => {
            let _ = UnixStream::from(roles::handed("life")).read(&mut [0]);
        }
    }
}

#[test]
fn a_zombie_is_named() {
    if role().is_some() {
        return count().warm_ups(0).run(|| {
            let child = Command::new("/proc/self/exe").arg("--list").stdout(Stdio::null()).spawn();
            let child = Identity::of(child.expect("a child").id()).expect("nobody reaps it");
            assert!(child.wait_ended(LIMIT));
        });
    }
    guarded(|| assert_named("never reaps", &["child ", "Zombie"]));
}

#[test]
fn what_is_left_to_the_children_is_named_too() {
    match role().as_deref() {
        None => guarded(|| assert_named("counts", &["child ", "Sleeping"])),
        Some("counts") => {
            let mut between = Role::new("between").spawn();
            count().run(|| {
                between.say("another");
                assert!(between.hear(LIMIT).is_some());
            });
        }
        Some("between") => {
            let mut children = Vec::new();
            while roles::hear().is_some() {
                children.push(Role::new("below").spawn());
                roles::say("started");
            }
        }
        Some(_) => {
            let _ = roles::hear();
        }
    }
}

#[test]
fn what_comes_back_late_is_no_leak() {
    match role().as_deref() {
        None => counted(|| {
            let mut child = Role::new("waits").spawn();
            assert_eq!(child.hear(LIMIT).as_deref(), Some("here"));
            let kept = (child, page_file("late"));
            // Not joined: the count begins while all of it is still there.
            thread::spawn(move || drop(kept));
        }),
        Some(_) => {
            roles::say("here");
            let _ = roles::hear();
        }
    }
}

#[test]
fn what_is_made_once_is_no_leak_after_a_warm_up() {
    static KEPT: OnceLock<File> = OnceLock::new();
    let body = || {
        KEPT.get_or_init(|| File::open("/proc/self/status").expect("a file"));
    };
    match role().as_deref() {
        None => guarded(|| {
            verdict("warm").expect_success();
            verdict("allowed").expect_success();
            assert_named("cold", &["descriptor ", "/status"]);
        }),
        Some("warm") => count().run(body),
        Some("allowed") => count().warm_ups(0).allow("/status").run(body),
        Some(_) => count().warm_ups(0).run(body),
    }
}

#[test]
fn a_count_has_the_process_for_itself() {
    fn elsewhere(ask: fn() -> bool) -> bool {
        thread::scope(|scope| scope.spawn(ask).join().expect("no panic"))
    }
    let may_count = || turn::try_exclusive().is_some();
    let may_run = || turn::try_shared().is_some();
    guarded(|| assert!(!elsewhere(may_count), "a guarded test excludes a count"));
    counted(|| assert!(!elsewhere(may_count), "a count excludes a count"));
    counted(|| assert!(!elsewhere(may_run), "a count excludes a guarded test"));
}

#[test]
#[should_panic(expected = "inside another turn")]
fn a_count_inside_a_guarded_test_is_refused() {
    guarded(|| counted(|| ()));
}

#[test]
fn a_failed_neighbour_spoils_nobody() {
    let failed = thread::spawn(|| counted(|| panic!("on purpose"))).join();
    assert!(failed.is_err());
    counted(|| ());
}

/// Busy neighbours for the counts above.
mod neighbours {
    use super::{Page, guarded, page_file};

    fn churn() {
        guarded(|| {
            for _ in 0..2000 {
                let file = page_file("neighbour");
                drop(Page::map(&file));
            }
        });
    }

    #[test]
    fn first() {
        churn();
    }

    #[test]
    fn second() {
        churn();
    }

    #[test]
    fn third() {
        churn();
    }
}
