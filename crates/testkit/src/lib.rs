//! What the tests of all crates of procession need: a watchdog, leak counters, child roles, kill points.
//!
//! * [`guarded`] runs a test under a watchdog, [`counted`] also fails it when something is left behind;
//! * [`roles`] runs the test's binary again as another process, with lines of text both ways;
//! * [`step`] kills a process at any instruction of a window, [`Storm`] chooses at random but repeatably;
//! * [`processes`] looks at other processes, and [`need`] at what the machine can do;
//! * [`mains`] is for tests of what `main` does, or of programs with one thread;
//! * [`resident`] measures the memory that rounds of work leave behind.
//!
//! A test in two processes, which may leave neither a descriptor nor a child behind:
//!
//! ```no_run
//! use procession_testkit::{counted, roles::{self, Role}};
//! use std::time::Duration;
//!
//! // #[test]
//! fn a_consumer_drains_what_was_sent() {
//!     if roles::role().as_deref() == Some("consumer") {
//!         let end = roles::handed("end");
//!         // … receive from it …
//!         return roles::say("drained");
//!     }
//!     counted(|| {
//!         let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
//!         let mut consumer = Role::new("consumer").hand("end", theirs).spawn();
//!         // … send to it …
//!         drop(ours);
//!         assert_eq!(consumer.hear(Duration::from_secs(10)).as_deref(), Some("drained"));
//!         consumer.wait_with_output(Duration::from_secs(10)).expect_success();
//!     });
//! }
//! ```
//!
//! A test that stays in one process is `guarded(|| { … })` and nothing more. In a binary with counted tests
//! every test is one or the other, because a test that is neither is counted with its neighbours.
//!
//! This crate fails tests: its functions panic with a text for whoever reads the test's output. It runs on
//! Linux only, depends on no other crate of the project, and is not published.

mod fork;
pub mod leaks;
pub mod mains;
mod path;
mod poll;
pub mod processes;
mod procfs;
mod report;
pub mod require;
pub mod resident;
pub mod roles;
pub mod step;
pub mod storm;
pub mod turn;
pub mod watchdog;

pub use fork::forked;
pub use leaks::{Counted, Leaks, counted};
pub use path::test_path;
pub use processes::{Identity, Signal};
pub use require::need;
pub use roles::{Role, role};
pub use storm::Storm;
pub use watchdog::{guarded, guarded_for};
